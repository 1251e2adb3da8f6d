"""`make diagram` draws what the inventory says, and README shows that very drawing."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from conftest import ROOT
from plugins import load_module

APPS = {"shop": {"domains": ["shop.example.test"], "redis": {"cache": True}}}
FLOWS = [
    {"from": "world", "to": "gateway", "ports": [80, 443]},
    {"from": "gateway", "to": "app", "ports": [8443]},
    {"from": ["gateway", "app"], "to": "cache", "ports": [6379, 6380]},
    {"from": "app", "to": "db", "ports": [5432]},
    {"from": "operators", "to": "all", "ports": [22]},
]


@pytest.fixture(scope="module")
def diagram():
    """The program."""
    return load_module(ROOT / "docs/diagram.py")


@pytest.fixture
def draw(diagram):
    """Draw boxes placed on hosts: draw(gateway=["web1"], …)."""

    def lines(apps=APPS, flows=FLOWS, backend="none", **boxes):
        hosts = list(dict.fromkeys(host for box in boxes.values() for host in box))
        common = {"appliance_apps": apps, "appliance_flows": flows, "appliance_networks": {"operators": ["192.0.2.0/24"]}}
        common["gateway_cache_backend"] = backend
        hostvars = {host: {**common, "ansible_host": f"10.0.0.{number}"} for number, host in enumerate(hosts, 1)}
        drawing = diagram.Drawing({"all": hosts, "ungrouped": [], **boxes}, hostvars)
        return [line.strip() for line in drawing.render().splitlines()]

    return lines


def test_readme_shows_the_monolith_as_it_is():
    """A drawing that drifts from the inventory misleads; print it anew with `make diagram`."""
    shown = re.search(r"^```mermaid\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    command = [sys.executable, "docs/diagram.py", "inventories/monolith"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert shown, "README.md has no ```mermaid block"
    assert shown[1] == printed


def test_arrows_between_machines_name_their_ports(draw):
    """These are what the firewall opens."""
    lines = draw(gateway=["gw1"], cache=["gw1"], app=["app1"], db=["db1"])
    assert 'world -->|"80, 443"| firewall' in lines
    assert 'nginx -->|"8443"| origin' in lines
    assert 'app_shop -->|"6379"| redis_cache' in lines
    assert 'app_shop -->|"5432"| postgresql' in lines
    assert 'net_operators -->|"22"| on_db1' in lines


def test_arrows_within_a_machine_name_no_port(draw):
    """They open none."""
    lines = draw(gateway=["one"], cache=["one"], app=["one"], db=["one"])
    assert "app_shop -.-> postgresql" in lines
    assert "nginx -.-> app_shop_server" in lines
    assert not any("5432" in line or "6379" in line for line in lines)
    assert not any(line.startswith("origin") for line in lines)


def test_machine_is_drawn_around_its_boxes(draw):
    """Which boxes share a machine decides which arrows cross a network."""
    lines = draw(gateway=["web1"], cache=["web1"], app=["web1"], db=["db1"])
    assert 'subgraph on_web1["web1 10.0.0.1"]' in lines
    assert 'subgraph on_db1["PostgreSQL: db1 10.0.0.2"]' in lines
    alone = draw(gateway=["gw1", "gw2"], cache=["c1"], app=["app1"], db=["db1"])
    assert 'subgraph on_gw1_gw2["Gateway: gw1 10.0.0.1, gw2 10.0.0.2"]' in alone
    assert 'subgraph on_c1["Cache: c1 10.0.0.3"]' in alone


def test_software_follows_from_the_apps(draw):
    """The contract decides what runs in the boxes."""
    app = {"server": "uwsgi", "env": {"TEMPLATE_ENGINE": "mako"}, "database": {"external": {"host": "db.example.org"}}}
    lines = draw(apps={"shop": app}, flows=FLOWS[:3], gateway=["web1"], cache=["web1"], app=["web1"])
    assert 'app_shop_server["uWSGI"]' in lines
    assert 'app_shop_templates["Mako templates"]' in lines
    assert 'db_shop[("PostgreSQL<br>db.example.org")]' in lines
    assert not any("Redis" in line for line in lines), "no app asked for it"


KEPT = {"cache": {"mode": "tags"}}
MEMCACHED = {"memcached": {"cache": True}}


def test_page_cache_is_drawn_where_its_pages_are(draw):
    """In the gateway, and where gateways share them."""
    boxes = {box: ["a"] for box in ("gateway", "cache", "app", "db")}
    lines = draw(apps={"shop": {**APPS["shop"], **KEPT, "env": {"CACHALOT": "1"}}}, backend="redis", **boxes)
    assert 'nginx["nginx<br>TLS, static files, page cache"]' in lines
    assert 'redis_cache[("Redis<br>cache, pages")]' in lines
    assert 'app_shop["Django app<br>with cachalot"]' in lines
    without = draw(backend="redis", **boxes)
    assert 'nginx["nginx<br>TLS, static files"]' in without
    assert 'redis_cache[("Redis<br>cache")]' in without
    assert 'app_shop["Django app"]' in without


def test_memcached_is_drawn_once_for_each_who_uses_it(draw):
    """Pages and an app's cache stand apart, and an app reaches only its own."""
    flows = [*FLOWS, {"from": ["gateway", "app"], "to": "cache", "ports": [11211]}]
    boxes = {"gateway": ["a", "b"], "cache": ["a"], "app": ["a"], "db": ["a"]}
    lines = draw(apps={"shop": {**MEMCACHED, **KEPT}}, flows=flows, backend="memcached", **boxes)
    assert 'memcached_pages[("Memcached<br>pages")]' in lines
    assert 'memcached_shop[("Memcached<br>shop")]' in lines
    assert 'nginx -->|"11211"| memcached_pages' in lines
    assert "app_shop -.-> memcached_shop" in lines
    assert not any(line.startswith("app_shop -") and line.endswith("memcached_pages") for line in lines)


@pytest.mark.parametrize(("apps", "backend"), [(APPS, "none"), ({"shop": {**MEMCACHED, **KEPT}}, "memcached"), ({"shop": {}}, "none")])
def test_every_end_of_an_arrow_is_drawn(draw, apps, backend):
    """Mermaid would invent a box for an unknown end, without a word."""
    for boxes in (
        {"gateway": ["a"], "cache": ["a"], "app": ["a"], "db": ["a"]},
        {"gateway": ["a"], "cache": ["b"], "app": ["c"], "db": ["d"]},
        {"gateway": ["a", "b"], "cache": ["a"], "app": ["b", "c"], "db": ["d"]},
    ):
        lines = draw(apps=apps, backend=backend, **boxes)
        drawn = {match[1] for line in lines if (match := re.match(r"(?:subgraph )?(\w+)[\[(]", line))}
        ends = {end for line in lines if (match := re.match(r"(\w+) -.*-?> ?(?:\|.*\| )?(\w+)$", line)) for end in match.groups()}
        assert ends
        assert ends <= drawn
