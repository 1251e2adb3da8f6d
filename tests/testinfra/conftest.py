"""Layer by layer, asked on the hosts themselves."""

from __future__ import annotations

import os

import pytest
from site_in_lab import ROOT, Site


@pytest.fixture(scope="session")
def site():
    """The site under test; molecule names it."""
    return Site(ROOT / "inventories" / os.environ.get("MOLECULE_SCENARIO_NAME", "monolith"))


@pytest.fixture(scope="session")
def secrets(site):
    """Every secret the control node holds for this site, by name."""
    return {
        path.name: path.read_text().strip()
        for path in site.secrets.iterdir()
        if path.is_file() and not path.name.endswith((".crt", ".lock"))
    }
