"""Each layer is installed, runs, starts at boot and is where the drawing has it; asked with testinfra."""

from __future__ import annotations

import re

import pytest

BOXES = {"web1": ["gateway", "cache", "app"], "db1": ["db"]}
#: box -> (package, unit, what it listens on)
LAYERS = {
    "gateway": ("nginx", "nginx", ["tcp://0.0.0.0:80", "tcp://0.0.0.0:443"]),
    "app": (None, "shop.socket", ["unix:///run/shop/shop.sock"]),
    "db": ("postgresql-17", "postgresql@17-main", ["tcp://{db}:5432"]),
}
#: unit -> package; each in a network namespace of its own, so its socket is a file to us
CACHES = {"redis-server@cache": "redis-server", "memcached-shop": "memcached", "memcached-pages": "memcached"}


@pytest.mark.parametrize("box", LAYERS)
def test_layer_is_up_where_it_is_drawn_and_nowhere_else(site, machine, host, box):
    """A box's software on another host would be surface for nothing."""
    package, unit, sockets = LAYERS[box]
    drawn = box in BOXES[machine.name]
    assert host.service(unit).is_running is drawn
    assert not package or host.package(package).is_installed is drawn
    for socket in sockets:
        assert host.socket(socket.format(db=site.variables("db1")["ansible_host"])).is_listening is drawn


@pytest.mark.parametrize("unit", CACHES)
def test_cache_is_the_one_that_is_asked_for(site, machine, host, unit):
    """Redis or Memcached, and neither where nothing uses it."""
    here = site.cache_units if "cache" in BOXES[machine.name] else []
    assert host.service(unit).is_running is (unit in here)
    assert host.package(CACHES[unit]).is_installed is any(CACHES[one] == CACHES[unit] for one in here)


def test_firewall_is_up_on_every_host(host):
    """No host is without."""
    unit = host.service("appliance-firewall")
    assert unit.is_running
    assert unit.is_enabled


def test_nothing_has_failed(host):
    """A failed unit is a service that somebody misses."""
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""


def test_app_runs_as_its_own_user(site, machine, host):
    """Each app is a tenant."""
    if "app" not in BOXES[machine.name]:
        pytest.skip("no app here")
    comm = {"gunicorn": "gunicorn", "uwsgi": "uwsgi-core"}[site.shop.get("server", "gunicorn")]
    users = {process.user for process in host.process.filter(comm=comm)}
    assert users == {"shop"}


def test_app_is_confined(machine, host):
    """A hole in the app is not one in the host."""
    if "app" not in BOXES[machine.name]:
        pytest.skip("no app here")
    unit = host.check_output("systemctl list-units --plain --no-legend --state=active 'shop@*' | cut -d' ' -f1")
    assert float(re.search(r"exposure level for \S+: ([\d.]+)", host.check_output(f"systemd-analyze security --no-pager {unit}"))[1]) <= 1.5


def test_manage_command_is_the_app(machine, host):
    """As its user, with its environment, against its database; whoever types it is root."""
    if "app" not in BOXES[machine.name]:
        pytest.skip("no app here")
    code = "import getpass; from django.db import connection as c; c.ensure_connection(); print(getpass.getuser(), c.settings_dict['NAME'])"
    assert host.check_output(f'shop-manage shell -v 0 -c "{code}"').split() == ["shop", "shop"]
