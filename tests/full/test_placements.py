"""The same roles raise other drawings: everything on one machine, and each box on a machine of its own."""

from __future__ import annotations

import re

import pytest
from site_in_lab import ROOT, changes


@pytest.mark.parametrize("name", ["single", "split"])
def test_drawing_converges_verifies_and_changes_nothing_again(raise_site, name):
    """Groups decide; no role knows how many machines there are."""
    site = raise_site(ROOT / "tests/inventories" / name)
    site.play()
    site.play("playbooks/verify.yml")
    again = site.play()
    assert set(changes(again).values()) == {0}, again.stdout[-4000:]
    page = site.get("shop.example.test")
    assert page.status == 200
    style = re.search(r'href="(/static/[^"]+\.css)"', page.text)[1]
    assert site.get("shop.example.test", style).headers["Cache-Control"].count("immutable") == 1
