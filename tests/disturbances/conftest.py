"""Disturbances of the site that molecule has raised."""

from __future__ import annotations

import os

import pytest
from site_in_lab import ROOT, Site


@pytest.fixture(scope="session")
def site():
    """The site under test; APPLIANCE_INVENTORY chooses it."""
    return Site(ROOT / os.environ.get("APPLIANCE_INVENTORY", "inventories/monolith"))


DOMAIN = "shop.example.test"


@pytest.fixture
def get(site):
    """Fetch a page of the reference app."""
    return lambda path="/", **options: site.get(DOMAIN, path, **options)


@pytest.fixture
def wait_for(site):
    """Wait until a page answers 200; returns the seconds it took."""
    return lambda path="/", seconds=60: site.wait_for(DOMAIN, path, seconds)
