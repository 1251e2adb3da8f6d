"""Each layer is installed, runs, starts at boot and is where the drawing has it; asked with testinfra."""

from __future__ import annotations

import pytest

#: box -> (package, unit, what it listens on)
LAYERS = {
    "gateway": ("nginx", "nginx", ["tcp://0.0.0.0:80", "tcp://0.0.0.0:443"]),
    "cache": ("redis-server", "redis-server@cache", []),  # in a network namespace of its own: its socket is a file to us
    "app": ("python3-venv", "shop.socket", ["unix:///run/shop/shop.sock"]),
    "db": ("postgresql-17", "postgresql@17-main", ["tcp://192.168.10.22:5432"]),
}
BOXES = {"web1": ["gateway", "cache", "app"], "db1": ["db"]}


@pytest.mark.parametrize("box", LAYERS)
def test_layer_is_up_where_it_is_drawn_and_nowhere_else(machine, host, box):
    """A box's software on another host would be surface for nothing."""
    package, unit, sockets = LAYERS[box]
    drawn = box in BOXES[machine.name]
    assert host.service(unit).is_running is drawn
    if package != "python3-venv":
        assert host.package(package).is_installed is drawn
    for socket in sockets:
        assert host.socket(socket).is_listening is drawn


def test_firewall_is_up_on_every_host(host):
    """No host is without."""
    unit = host.service("appliance-firewall")
    assert unit.is_running
    assert unit.is_enabled


def test_nothing_has_failed(host):
    """A failed unit is a service that somebody misses."""
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""


def test_app_runs_as_its_own_user(machine, host):
    """Each app is a tenant."""
    if "app" not in BOXES[machine.name]:
        pytest.skip("no app here")
    users = {process.user for process in host.process.filter(comm="gunicorn")}
    assert users == {"shop"}
