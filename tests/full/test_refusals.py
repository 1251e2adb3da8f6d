"""Wrong input is refused before any host changes, in words that name the variable and the remedy."""

from __future__ import annotations

import shutil

import pytest
from site_in_lab import ROOT, changes

APP = {"source": {"path": f"{ROOT}/django_app"}, "domains": ["shop.example.test"]}


@pytest.fixture(scope="module")
def site(raise_site, copy_of):
    """Bare machines: whatever is refused must leave them bare."""
    return raise_site(copy_of("inventories/monolith", "refusals"))


def test_check_on_bare_hosts_creates_nothing_on_the_control_node(site):
    """Looking must be free of consequences, secrets above all."""
    made_here = {path for folder in (".cache/appliance", ".secrets") for path in (ROOT / folder).rglob("*")}
    site.play("site.yml", "--check", "--diff")
    assert {path for folder in (".cache/appliance", ".secrets") for path in (ROOT / folder).rglob("*")} == made_here
    assert not site.secrets.exists()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"appliance_apps": {"shop": {**APP, "domains": []}}}, ["appliance_apps.shop.domains: missing", "type e.g. domains:"]),
        ({"appliance_apps": {"shop": {**APP, "domain": ["x"]}}}, ["appliance_apps.shop.domain: unknown key", "Did you mean domains?"]),
        ({"appliance_apps": {"shop": {**APP, "source": {"path": "nowhere"}}}}, ["appliance_apps.shop.source.path", "nowhere"]),
        (
            {"appliance_apps": {"shop": {**APP, "source": {"git": str(ROOT), "version": "no-such-ref"}}}},
            ["appliance_apps.shop.source.version", "no-such-ref"],
        ),
        ({"appliance_flows": [{"from": "gatewy", "to": "app", "ports": [22]}]}, ["appliance_flows[0].from", "Did you mean gateway?"]),
        (
            {"appliance_apps": {"shop": {**APP, "redis": {"cache": True}, "memcached": {"cache": True}}}},
            ["appliance_apps.shop: redis.cache and memcached.cache both give the app its CACHE_URL"],
        ),
        ({"gateway_cache_backend": "valkey"}, ["gateway_cache_backend: valkey is not known; type redis, memcached or none"]),
        (
            {"appliance_apps": {"shop": {**APP, "cache": {"mode": "ttl", "paths": ["catalog"]}}}},
            ["[shop].cache.paths: catalog is no URL prefix"],
        ),
        ({"appliance_minimum_memory_mb": 10**9}, ["MB of memory and needs 1000000000"]),
        ({"appliance_minimum_disk_mb": 10**9}, ["MB free and needs 1000000000"]),
        ({"base_memory_mb": 512}, ["and it has 512 (docs/sizing.md)", "take the risk: appliance_memory_overcommit_mb:"]),
        ({"postgresql_max_connections": 12}, ["postgresql_max_connections: 12 are fewer than the apps may open"]),
    ],
    ids=[
        "missing domain",
        "unknown key",
        "path",
        "git ref",
        "arrow",
        "two caches",
        "store",
        "page cache",
        "memory",
        "disk",
        "overcommit",
        "connections",
    ],
)
def test_wrong_inventory_is_refused(site, variables, words):
    """Each by its name."""
    text = site.refuses(variables)
    for word in words:
        assert word in text


def test_app_that_needs_a_newer_python_is_refused(site, tmp_path):
    """pip would find out in the middle of a release."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "django_app", project)
    manifest = project / "pyproject.toml"
    manifest.write_text(manifest.read_text().replace('requires-python = ">=3.11"', 'requires-python = ">=3.99"'))
    assert "requires Python >=3.99" in site.refuses({"appliance_apps": {"shop": {**APP, "source": {"path": str(project)}}}})


def test_foreign_distribution_is_refused(site):
    """It says which are supported."""
    site.on(
        "web1", "cp /etc/os-release /run/os-release && sed -i 's/^ID=.*/ID=ubuntu/; s/^NAME=.*/NAME=Ubuntu/; s/13/24/g' /etc/os-release"
    )
    try:
        assert "is not supported; reinstall the host with Debian" in site.refuses({})
    finally:
        site.on("web1", "cat /run/os-release > /etc/os-release")


def test_host_out_of_reach_stops_the_run_for_all(site):
    """Half a drawing serves nobody."""
    site.lab("cut", "db1")
    try:
        text = site.refuses({})
        assert "db1 cannot be reached by SSH at 192.168.10.22: check ansible_host" in text
    finally:
        site.lab("restore", "db1")


def test_second_operator_without_the_secrets_changes_nothing(site):
    """A second clone must not generate new passwords for running services."""
    site.play()
    aside = site.secrets.with_name("aside")
    site.secrets.rename(aside)
    try:
        text = site.refuses({})
        assert "was set up with secrets that are not here" in text
        assert "shop_database_password" in text
        assert not site.secrets.exists(), "nothing may be generated"
    finally:
        shutil.rmtree(site.secrets, ignore_errors=True)
        aside.rename(site.secrets)


def test_requirements_that_do_not_install_leave_the_release_serving(site):
    """pip's own words are shown, and visitors notice nothing."""
    app = {**APP, "redis": {"cache": True}, "requirements_extra": ["no-such-package-at-all==9"]}
    with site.told({"appliance_apps": {"shop": app}}):
        done = site.play(check=False)
        assert done.returncode != 0
        assert "no-such-package-at-all" in done.stdout
        assert site.get("shop.example.test").status == 200
    site.play()
    assert set(changes(site.play()).values()) == {0}
