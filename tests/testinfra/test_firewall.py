"""What is not drawn is closed, from boot on, and no ruleset locks its operator out."""

from __future__ import annotations

import json
import time

import pytest
import testinfra

testinfra_hosts = ["ansible://all"]
TABLE = "inet appliance"
PORT = 18081


@pytest.fixture
def name(host):
    """The host's name in the inventory."""
    return host.backend.get_pytest_id().rpartition("/")[2]


@pytest.fixture
def root(host):
    """Run a command as root; its output."""

    def run(command):
        with host.sudo():
            return host.check_output(command)

    return run


@pytest.fixture
def neighbour(request, name):
    """Another host of the drawing."""
    inventory = request.config.option.ansible_inventory
    hosts = testinfra.get_hosts(["ansible://all"], ansible_inventory=inventory)
    others = [one for one in hosts if one.backend.get_pytest_id().rpartition("/")[2] != name]
    return others[0] if others else pytest.skip("this drawing has one host")


@pytest.fixture
def listener(root):
    """A service that nobody drew."""
    root(f"systemd-run -q --collect --unit=undrawn -p RuntimeMaxSec=60 python3 -m http.server {PORT}")
    for _ in range(50):
        if root(f"ss -Hltn sport = {PORT}"):
            break
        time.sleep(0.1)
    yield
    root("systemctl stop undrawn; systemctl reload appliance-firewall")


def test_port_that_is_not_drawn_is_closed(root, site, name, neighbour, listener):
    """Seen from the other host; the twin opens the port, and then the same attempt gets through."""
    address = site.variables(name)["ansible_host"]
    attempt = f"timeout 3 bash -c '</dev/tcp/{address}/{PORT}'"
    assert neighbour.run(attempt).failed
    root(f"nft insert rule {TABLE} input tcp dport {PORT} accept")
    assert neighbour.run(attempt).succeeded


def test_kernel_has_what_the_boot_file_says(root):
    """A table that was changed by hand would be gone after a reboot, or worse, would not."""
    show = f"nft -s list table {TABLE}"
    assert root(show) == root(f"unshare --net sh -c 'nft -f /etc/appliance/firewall.nft && {show}'")


def test_firewall_is_loaded_before_anything_listens(root):
    """Sockets and services come after sysinit.target, networks after network-pre.target."""
    assert {"sysinit.target", "network-pre.target"} <= set(root("systemctl show -P Before appliance-firewall").split())
    assert root("systemctl is-enabled appliance-firewall; systemctl is-active appliance-firewall").split() == ["enabled", "active"]


def test_reload_leaves_tables_of_others_alone(root):
    """Debian's own unit flushes them all."""
    root("nft add table inet somebody_else")
    try:
        root("systemctl reload appliance-firewall")
        assert "somebody_else" in root("nft list tables")
    finally:
        root("nft delete table inet somebody_else")


def test_table_comes_back_after_debians_unit_flushed_it(root):
    """Somebody edits /etc/nftables.conf and reloads, as the manual says."""
    was_active = root("systemctl is-active nftables || true") == "active"
    try:
        root("systemctl restart nftables; for _ in $(seq 50); do nft list tables | grep -q appliance && break; sleep 0.1; done")
        assert TABLE in root("nft list tables")
    finally:
        if not was_active:
            root("systemctl stop nftables; systemctl start appliance-firewall")
    assert TABLE in root("nft list tables")


def test_forwarding_is_closed(root):
    """A host with two interfaces is no router."""
    assert "policy drop" in root(f"nft list chain {TABLE} forward")


def test_ruleset_that_locks_the_operator_out_takes_itself_back(root, site, name):
    """A run with no arrow for SSH fails, and the host is as before within half a minute, with nobody's help."""
    before = root(f"nft -s list table {TABLE}")
    boot = root("cat /etc/appliance/firewall.nft")
    rules = json.dumps({"firewall_rules": [{"name": "nobody", "protocol": "tcp", "ports": [22], "sources": ["203.0.113.1"]}]})
    began = time.monotonic()
    run = site.play("playbooks/base.yml", "--limit", name, "--tags", "firewall", "-e", rules, check=False)
    assert run.returncode != 0
    assert "No new SSH connection confirmed" in run.stdout
    while time.monotonic() < began + 60:
        if site.on(name, "nft -s list table inet appliance", check=False).strip() == before.strip():
            break
        time.sleep(1)
    assert root(f"nft -s list table {TABLE}") == before
    assert root("cat /etc/appliance/firewall.nft") == boot
