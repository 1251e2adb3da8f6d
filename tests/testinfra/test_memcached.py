"""Memcached serves each of its users an instance of his own, by a socket for his group; nobody else, and nothing over the network."""

from __future__ import annotations

import time

import pytest

CACHE = "web1"
NAMES = ["shop", "pages"]
#: Connects as whoever runs it; what it says comes by standard input.
TALK = """python3 -c '
import socket, sys
link = socket.socket(socket.AF_UNIX)
link.settimeout(2)
link.connect("/run/memcached-{}/memcached.sock")
link.sendall(sys.stdin.read().replace(chr(10), chr(13) + chr(10)).encode())
print(link.recv(4096).decode())'"""


@pytest.fixture(autouse=True, scope="module")
def _only_with_memcached(site):
    if "memcached-shop" not in site.cache_units:
        pytest.skip("this drawing has no Memcached")


@pytest.fixture
def talk(site):
    """Say something to an instance, as root or by a prefix like runuser; what it answers, or the error."""

    def talk(name, *lines, as_=""):
        return site.on(CACHE, f"{as_} {TALK.format(name)}", check=False, input="\n".join(lines) + "\n").strip()

    return talk


@pytest.mark.parametrize("name", NAMES)
def test_socket_is_for_its_group(talk, name):
    """One account, with the group and without."""
    assert "VERSION" in talk(name, "version", as_=f"runuser -u nobody -g memcached-{name} --")
    assert "PermissionError" in talk(name, "version", as_="runuser -u nobody --")


@pytest.mark.parametrize(("user", "name"), [("www-data", "shop"), ("shop", "pages"), ("shop", "shop")])
def test_neither_writes_into_the_other_s(talk, user, name):
    """A page of the app's making would be everybody's; a pickle of the gateway's making is code in the app.

    The app's unit has its group; its account, which other programs may have, has not.
    """
    assert "PermissionError" in talk(name, "version", as_=f"runuser -u {user} --")


def test_gateway_reaches_its_own(talk):
    """The twin of the one above."""
    assert "VERSION" in talk("pages", "version", as_="runuser -u www-data --")


def test_app_s_cache_is_its_instance(site, talk):
    """Django's own word against Memcached's."""
    before = stat(talk, "shop", "total_items")
    code = "from django.core.cache import cache; cache.set('appliance-test', 1, 5); assert cache.get('appliance-test') == 1"
    site.on(CACHE, f'shop-manage shell -c "{code}"')
    assert stat(talk, "shop", "total_items") > before


def stat(talk, name, key):
    """One of an instance's numbers."""
    values = dict(line.split()[1:3] for line in talk(name, "stats").splitlines() if line.startswith("STAT"))
    return int(values[key])


@pytest.mark.parametrize("command", ["watch fetchers", "lru_crawler metadump all", "stats cachedump 1 10", "shutdown"])
def test_nobody_is_told_what_others_keep(talk, command):
    """Keys may hold addresses of people."""
    assert talk("shop", command).splitlines()[0].startswith(("CLIENT_ERROR", "ERROR"))


@pytest.mark.parametrize("name", NAMES)
def test_instance_does_not_see_the_other_s_socket(site, name):
    """Both run as one user, so a break-in into one would else reach the other."""
    seen = site.on(CACHE, f"nsenter -t $(systemctl show -P MainPID memcached-{name}) -m ls /run").split()
    assert f"memcached-{name}" in seen
    assert not {f"memcached-{one}" for one in NAMES if one != name} & set(seen)


def test_nothing_listens_on_the_network(site):
    """It would serve whoever comes; UDP even in somebody else's name."""
    assert "memcached" not in site.on(CACHE, "ss -Hltunp")


def test_package_s_own_instance_does_not_run(site):
    """It listens on a port of loopback, for every user of the host."""
    assert site.on(CACHE, "systemctl is-active memcached; systemctl is-enabled memcached", check=False).split() == ["inactive", "masked"]


@pytest.mark.parametrize("name", NAMES)
def test_unit_is_sandboxed(site, name):
    """The smaller the score, the less a break-in reaches."""
    text = site.on(CACHE, f"systemd-analyze security --no-pager memcached-{name}")
    assert float(text.rsplit("service: ", 1)[1].split()[0]) <= 1.5


@pytest.mark.parametrize("name", NAMES)
def test_instance_comes_back_after_kill_9(site, talk, name):
    """And the app uses it again."""
    before = site.on(CACHE, f"systemctl show -P MainPID memcached-{name}").strip()
    site.on(CACHE, f"kill -9 {before}")
    deadline = time.monotonic() + 15
    while "VERSION" not in talk(name, "version"):
        assert time.monotonic() < deadline, "it did not come back"
        time.sleep(0.3)
    assert site.on(CACHE, f"systemctl show -P MainPID memcached-{name}").strip() != before
