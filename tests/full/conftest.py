"""Sites of their own for the long tests."""

from __future__ import annotations

import re
import shutil

import pytest
import yaml
from site_in_lab import ROOT, Site


@pytest.fixture(scope="module")
def raise_site():
    """Factory of sites that are taken down at the end of the module."""
    sites = []

    def build(inventory, **options):
        site = Site(inventory, **options)
        sites.append(site)
        return site.up()

    yield build
    for site in sites:
        site.down()


@pytest.fixture(scope="module")
def copy_of(tmp_path_factory):
    """Factory of inventories changed for one test: copy_of('inventories/monolith', name, {'group_vars/all/x.yml': {...}})."""

    def build(original, name, files=None):
        target = tmp_path_factory.mktemp("inventory") / name
        shutil.copytree(ROOT / original, target)
        for path in target.rglob("*.yml"):  # sources are relative to the inventory
            path.write_text(re.sub(r"path: \S*django_app", f"path: {ROOT}/django_app", path.read_text()))
        for path, content in (files or {}).items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(yaml.safe_dump(content))
        return target

    return build
