"""What is not drawn is closed, from boot on, and no ruleset locks its operator out."""

from __future__ import annotations

import json
import time

import pytest

TABLE = "inet appliance"
PORT = 18081


@pytest.fixture
def listener(machine):
    """A service that nobody drew."""
    machine.run(f"systemd-run -q --collect --unit=undrawn -p RuntimeMaxSec=60 python3 -m http.server {PORT}")
    for _ in range(50):
        if machine.run(f"ss -Hltn sport = {PORT}"):
            break
        time.sleep(0.1)
    yield
    machine.run("systemctl stop undrawn; systemctl reload appliance-firewall")


def test_port_that_is_not_drawn_is_closed(machine, neighbour, listener):
    """Seen from the other host; the twin opens the port, and then the same attempt gets through."""
    address = machine.variables["ansible_host"]
    attempt = f"timeout 3 bash -c '</dev/tcp/{address}/{PORT}' && echo open || echo closed"
    assert neighbour.run(attempt).endswith("closed")
    machine.run(f"nft insert rule {TABLE} input tcp dport {PORT} accept")
    assert neighbour.run(attempt) == "open"


def test_kernel_has_what_the_boot_file_says(machine):
    """A table that was changed by hand would be gone after a reboot, or worse, would not."""
    show = f"nft -s list table {TABLE}"
    assert machine.run(show) == machine.run(f"unshare --net sh -c 'nft -f /etc/appliance/firewall.nft && {show}'")


def test_firewall_is_loaded_before_anything_listens(machine):
    """Sockets and services come after sysinit.target, networks after network-pre.target."""
    assert {"sysinit.target", "network-pre.target"} <= set(machine.run("systemctl show -P Before appliance-firewall").split())
    assert machine.run("systemctl is-enabled appliance-firewall; systemctl is-active appliance-firewall").split() == ["enabled", "active"]


def test_reload_leaves_tables_of_others_alone(machine):
    """Debian's own unit flushes them all."""
    machine.run("nft add table inet somebody_else")
    try:
        machine.run("systemctl reload appliance-firewall")
        assert "somebody_else" in machine.run("nft list tables")
    finally:
        machine.run("nft delete table inet somebody_else")


def test_table_comes_back_after_debians_unit_flushed_it(machine):
    """Somebody edits /etc/nftables.conf and reloads, as the manual says."""
    was_active = machine.run("systemctl is-active nftables || true") == "active"
    try:
        machine.run("systemctl restart nftables; for _ in $(seq 50); do nft list tables | grep -q appliance && break; sleep 0.1; done")
        assert TABLE in machine.run("nft list tables")
    finally:
        if not was_active:
            machine.run("systemctl stop nftables; systemctl start appliance-firewall")
    assert TABLE in machine.run("nft list tables")


def test_forwarding_is_closed(machine):
    """A host with two interfaces is no router."""
    assert "policy drop" in machine.run(f"nft list chain {TABLE} forward")


def test_ruleset_that_locks_the_operator_out_takes_itself_back(any_machine, site):
    """A run with no arrow for SSH fails, and the host is as before within half a minute, with nobody's help."""
    before = any_machine.run(f"nft -s list table {TABLE}")
    boot = any_machine.run("cat /etc/appliance/firewall.nft")
    rules = json.dumps({"firewall_rules": [{"name": "nobody", "protocol": "tcp", "ports": [22], "sources": ["203.0.113.1"]}]})
    run = site.play("site.yml", "--limit", any_machine.name, "--tags", "firewall", "-e", rules, check=False)
    assert run.returncode != 0
    assert "No new SSH connection confirmed" in run.stdout
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        if any_machine.run(f"nft -s list table {TABLE}", check=False) == before:
            break
        time.sleep(1)
    assert any_machine.run(f"nft -s list table {TABLE}") == before
    assert any_machine.run("cat /etc/appliance/firewall.nft") == boot
