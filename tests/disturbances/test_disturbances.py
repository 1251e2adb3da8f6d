"""The service comes back by itself, or says in time that it cannot."""

from __future__ import annotations

import re
import time

import pytest

#: An argument that no page has: such a request is never answered from the page cache.
FRESH = "/?past-the-cache"
#: Units that not every drawing has.
SOME = ("redis-server@cache", "memcached-shop", "memcached-pages", "shop-feed")


def main_pid(site, host, unit):
    """The main process of a unit."""
    text = site.on(host, f"systemctl show -P MainPID '{unit}'")
    return int(re.findall(r"^(\d+)$", text, re.M)[-1])


def app_unit(site):
    """The instance of the app that runs."""
    text = site.on("web1", "systemctl list-units --no-legend --plain 'shop@*.service' --state=active")
    return re.search(r"shop@\S+\.service", text)[0]


@pytest.mark.parametrize(
    ("host", "unit"),
    [("web1", "nginx"), ("web1", "app"), ("db1", "postgresql@17-main")] + [("web1", unit) for unit in SOME],
)
def test_service_comes_back_after_kill_9(site, wait_for, host, unit):
    """Debian's own units do not all restart."""
    if unit in SOME and unit not in site.units:
        pytest.skip("not in this drawing")
    unit = app_unit(site) if unit == "app" else unit
    before = main_pid(site, host, unit)
    assert before, f"{unit} does not run"
    site.on(host, f"kill -9 {before}")
    deadline = time.monotonic() + 30
    while main_pid(site, host, unit) in (0, before):
        assert time.monotonic() < deadline, f"{unit} did not come back"
        time.sleep(0.3)
    assert wait_for(FRESH, 10) < 10


def test_worker_comes_back_after_kill_9(site, wait_for):
    """The server's master starts another; the others' answers alone would hide that it did not."""
    master = main_pid(site, "web1", app_unit(site))

    def workers():
        return set(site.on("web1", f"pgrep -P {master}").split())

    before = workers()
    victim = min(before)
    site.on("web1", f"kill -9 {victim}")
    deadline = time.monotonic() + 10
    while victim in workers() or len(workers()) < len(before):
        assert time.monotonic() < deadline, f"worker {victim} was not replaced"
        time.sleep(0.3)
    assert wait_for(FRESH, 10) < 10


def test_database_cut_off_is_told_in_time_and_heals(site, get, wait_for):
    """A page that needs the database must not hang; what does not need it stays."""
    style = re.search(r'href="(/static/[^"]+\.css)"', get("/").text)[1]
    site.lab("cut", "db1")
    time.sleep(0.5)  # a process that asked the database less than a quarter of a second ago need not ask it again for rows that it has
    try:
        for _ in range(6):  # each of the persistent connections learns it on its own
            began = time.monotonic()
            answer = get(FRESH, timeout=15)
            assert answer.status == 503
            assert time.monotonic() - began < 5
        assert get(style).status == 200
        assert get("/healthz").status == 200
    finally:
        site.lab("restore", "db1")
    assert wait_for(FRESH, 10) < 10


def test_pages_stay_while_the_cache_is_stopped(site, get):
    """It makes things faster; it is not needed."""
    units = " ".join(site.cache_units)
    site.on("web1", f"systemctl stop {units}")
    try:
        assert [get(path).status for path in ("/", FRESH) * 4] == [200] * 8
    finally:
        site.on("web1", f"systemctl start {units}")


def test_both_hosts_rebooted_at_once_come_back(site, wait_for):
    """Within a minute, nothing failed, the firewall in place before any service."""
    site.lab("reboot", "web1")
    site.lab("reboot", "db1")
    assert wait_for(FRESH, 60) < 60
    for host in ("web1", "db1"):
        assert "0 loaded units" in site.on(host, "systemctl list-units --failed --plain")
        assert "policy drop" in site.on(host, "nft list chain inet appliance input")
