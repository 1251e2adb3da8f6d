"""An appliance that is in use is upgraded in place, and nobody notices. (That the way back is refused: test_releases.py.)"""

from __future__ import annotations

import os
import subprocess

import pytest
from site_in_lab import ROOT, changes
from visitors import PATIENT, Load

#: Any commit: UPGRADE_FROM=v1.0 pytest tests/full/test_upgrade.py
BEFORE = os.environ.get("UPGRADE_FROM", "HEAD^")


@pytest.fixture(scope="module")
def former(tmp_path_factory):
    """The project as it was before, with the secrets of this one."""
    clone = tmp_path_factory.mktemp("former") / "appliance"
    subprocess.run(["git", "clone", "-q", "--shared", "--no-checkout", str(ROOT), str(clone)], check=True)
    commit = subprocess.run(["git", "rev-parse", BEFORE], cwd=ROOT, check=True, text=True, capture_output=True).stdout.strip()
    subprocess.run(["git", "checkout", "-q", commit], cwd=clone, check=True)
    (ROOT / ".secrets").mkdir(mode=0o700, exist_ok=True)
    (clone / ".secrets").symlink_to(ROOT / ".secrets")
    return clone


@pytest.fixture(scope="module")
def site(raise_site, copy_of, former):
    """The monolith, raised by the former appliance."""
    site = raise_site(copy_of("inventories/monolith", "upgrade", {"group_vars/all/patient.yml": PATIENT}))
    site.play(root=former)
    return site


def test_upgrade_under_load_is_not_noticed(site):
    """Whatever changed in nginx, units and the release tool."""
    with Load(site, again=True) as load:
        site.play()
        load.pass_by(100)
    assert load.failures == []
    assert load.answers > 500
    site.play("playbooks/verify.yml")
    again = site.play()
    assert set(changes(again).values()) == {0}, again.stdout[-4000:]
