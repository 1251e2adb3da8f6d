"""Each layer is installed, runs, starts at boot and is where the drawing has it; asked with testinfra."""

from __future__ import annotations

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
