"""The feed tells gateways what changed in the database, and nobody else anything."""

from __future__ import annotations

import json
import time

import pytest

APP, DATABASE = "web1", "db1"
ASK = "curl -s --max-time 5 --unix-socket /run/shop/feed.sock 'http://shop/changes?since={}'"


@pytest.fixture(scope="module", autouse=True)
def feed(site):
    if "shop-feed" not in site.units:
        pytest.skip("this drawing keeps no pages")


def ask(site, since=""):
    return json.loads(site.on(APP, ASK.format(since)))


def test_change_is_told_as_soon_as_it_is_committed(site):
    """A row that nobody shows, by psql and past Django."""
    cursor = ask(site)["cursor"]
    word = f"test-{time.time():.0f}"
    site.on(DATABASE, "runuser -u postgres -- psql -q shop", input=f"INSERT INTO gateway_cache_change (keys) VALUES ('{{{word}}}')")
    told = ask(site, cursor)
    assert [keys for _, keys in told["changes"]] == [[word]]
    assert ask(site, told["cursor"])["changes"] == []


def test_content_is_that_of_the_serving_release(site):
    """A page of another release must not pass for one of this."""
    probe = "curl -s -o /dev/null -D - --unix-socket /run/shop/shop.sock -H 'Host: shop.example.test' -H 'X-Appliance-Probe: 1' http://shop/healthz"
    headers = dict(line.split(": ", 1) for line in site.on(APP, probe).splitlines() if ": " in line)
    assert ask(site)["content"] == {name.lower(): value.strip() for name, value in headers.items()}["x-appliance-content"]


def test_only_the_web_server_may_ask(site):
    """What is changed when is nobody else's concern; the app's own user has no business there either."""
    command = "runuser -u {} -- " + ASK.format("") + " >/dev/null && echo yes || echo no"
    assert [site.on(APP, command.format(user)).strip() for user in ("www-data", "nobody", "shop")] == ["yes", "no", "no"]


def test_database_s_password_is_root_s(site):
    """It stands in no unit, no argument and no file that others read."""
    assert site.on(APP, "stat -c '%a %U' /etc/appliance/apps/shop/feed.env").strip() == "600 root"
    password = (site.secrets / "shop_database_password").read_text().strip()
    arguments = "tr '\\0' ' ' </proc/$(systemctl show -P MainPID shop-feed)/cmdline"
    seen = site.on(APP, f"systemctl cat shop-feed.service shop-feed.socket; {arguments}")
    assert "feed.py" in seen
    assert password not in seen


def test_unit_is_sandboxed(site):
    """The smaller the score, the less a break-in reaches."""
    text = site.on(APP, "systemd-analyze security --no-pager shop-feed.service")
    assert float(text.rsplit("service: ", 1)[1].split()[0]) <= 1.5


def test_feed_comes_back_after_kill_9(site):
    """Until then nothing is served that it did not confirm."""
    site.on(APP, "kill -9 $(systemctl show -P MainPID shop-feed)")
    assert ask(site)["content"]


def test_silent_database_is_no_news(site):
    """503 rather than what was true a moment ago; and the answer comes back with the database."""
    status = "curl -s -o /dev/null -w '%{http_code}' --max-time 9 --unix-socket /run/shop/feed.sock http://shop/changes"
    assert site.on(APP, status).strip() == "200"
    site.on(DATABASE, "systemctl stop postgresql@17-main")
    try:
        assert site.on(APP, status).strip() == "503"
    finally:
        site.on(DATABASE, "systemctl start postgresql@17-main")
    deadline = time.monotonic() + 20
    while site.on(APP, status).strip() != "200":
        assert time.monotonic() < deadline
        time.sleep(0.5)
