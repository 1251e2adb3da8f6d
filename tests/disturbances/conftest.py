"""Disturbances of the site that molecule has raised."""

from __future__ import annotations

import pytest
from site_in_lab import Site


@pytest.fixture(scope="session")
def site():
    """The site under test."""
    return Site.under_test()


DOMAIN = "shop.example.test"


@pytest.fixture
def get(site):
    """Fetch a page of the reference app."""
    return lambda path="/", **options: site.get(DOMAIN, path, **options)


@pytest.fixture
def wait_for(site):
    """Wait until a page answers 200; returns the seconds it took."""
    return lambda path="/", seconds=60: site.wait_for(DOMAIN, path, seconds)
