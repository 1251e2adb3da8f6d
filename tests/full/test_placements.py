"""The same roles raise other drawings: everything on one machine, and each box on a machine of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest
from site_in_lab import ROOT, changes


def secret_of(file):
    """The text of a secret that must not be seen; of a key, its first line."""
    text = file.read_text().strip() or "an empty file holds no secret"
    return text.splitlines()[1] if "PRIVATE KEY" in text else text


@pytest.fixture(scope="module", params=["single", "split"])
def site(request, raise_site):
    """A drawing, raised; and what Ansible said in doing so."""
    site = raise_site(ROOT / "tests/inventories" / request.param)
    site.said = site.play("site.yml", "-v", "--diff").stdout
    yield site
    site.down()


def test_output_holds_no_secret(site):
    """It ends in terminals, logs of CI and tickets."""
    assert not [file.name for file in site.secrets.iterdir() if file.suffix != ".crt" and file.is_file() and secret_of(file) in site.said]


def test_drawing_is_proven(site):
    """Every arrow is open, everything else is shut."""
    site.play("playbooks/verify.yml")


def test_second_run_changes_nothing(site):
    """Checked first, then done."""
    for option in (["--check", "--diff"], []):
        again = site.play("site.yml", *option)
        assert set(changes(again).values()) == {0}, again.stdout[-4000:]


def test_front_door_is_the_same(site):
    """The whole suite of the front door; an upload is read back, wherever the app keeps it."""
    environment = {**site.env, "APPLIANCE_INVENTORY": str(site.inventory)}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "tests/system"], cwd=ROOT, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout[-6000:]
