"""After an acknowledged write nobody is shown the old page or row for longer than a second, whatever breaks meanwhile.

NEVER_STALE_PAIRS   how many writes are followed by a look; default 10000, some ten minutes
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time

import pytest
from site_in_lab import ROOT

PAIRS = int(os.environ.get("NEVER_STALE_PAIRS", "10000"))
DOMAIN = "shop.example.test"

MAKE_USERS = """
import json, sys
from accounts.models import User
for user in json.loads(sys.stdin.read()):
    User.objects.create_user(user["username"], password=user["password"])
"""


@pytest.fixture(scope="module")
def site(raise_site, copy_of):
    """The advanced monolith: page cache in gateway and Redis, cachalot on."""
    site = raise_site(copy_of("inventories/monolith_advanced", "never-stale"))
    site.play()
    return site


def make_users(site, host):
    """People with accounts; their names stand on no page but their own."""
    people = [{"username": f"person-{secrets.token_hex(6)}", "password": secrets.token_urlsafe(16)} for _ in range(6)]
    site.on(host, f"shop-manage shell -c '{MAKE_USERS}'", input=json.dumps(people))
    return people


def products(site):
    """Products that are in the shop."""
    return [row["slug"] for row in json.loads(site.get(DOMAIN, "/api/products/").text)["results"]]


@pytest.fixture(scope="module")
def users(site):
    return make_users(site, "web1")


@pytest.fixture(scope="module")
def slugs(site):
    return products(site)


class Trial:
    """Clients inside the lab's network, at work until all pairs are made."""

    def __init__(self, site, users, slugs, pairs, gateways=("web1",)):
        self.site, self.result = site, None
        plan = {
            "addresses": [site.variables(gateway)["ansible_host"] for gateway in gateways],
            "authority": f"{DOMAIN}:{site.public_port}",
            "domain": DOMAIN,
            "ca": str(site.secrets / "ca.crt"),
            "users": users,
            "slugs": slugs,
            "pairs": pairs,
            "writers": 12,
            "readers": 12,
            "patience": 1.0,
            "seconds": 3000,
        }
        command = [sys.executable, "molecule/lab", "exec", "--from", "outsider", str(site.inventory), "--", sys.executable]
        self.process = subprocess.Popen(
            [*command, str(ROOT / "tests/full/never_stale.py")],
            cwd=ROOT, env=site.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.process.stdin.write(json.dumps(plan))
        self.process.stdin.close()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        self.result = self.process.stdout.read()

    @property
    def running(self):
        return self.process.poll() is None

    def finish(self):
        self._reader.join()
        assert self.process.wait() == 0
        result = json.loads(self.result)
        print(json.dumps(result["seen"], indent=1))
        return result


def prove(result, pairs):
    """Nothing stale, nobody else's page; and the trial was one: copies were served, and nearly all pairs were made."""
    assert result["problems"] == []
    assert result["stale"] == []
    assert result["foreign"] == []
    assert result["seen"]["pairs"] >= 0.9 * pairs
    assert result["seen"]["X-Cache HIT"] >= 0.3 * pairs


DISTURBANCES = {
    "PostgreSQL is restarted": ("db1", "systemctl restart postgresql@17-main"),
    "Redis is flushed": ("web1", "redis-cli -s /run/redis-cache/redis.sock --user admin --pass {redis} FLUSHALL >/dev/null"),
    "Redis is killed": ("web1", "systemctl kill -s KILL redis-server@cache"),
    "Redis is cut off": ("web1", "systemctl kill -s STOP redis-server@cache; sleep 6; systemctl kill -s CONT redis-server@cache"),
    "the feed is killed": ("web1", "systemctl kill -s KILL shop-feed"),
    "the feed's connection is cut": (
        "db1",
        "runuser -u postgres -- psql -qtAc \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%feed%'\"",
    ),
    "nginx is reloaded": ("web1", "systemctl reload nginx"),
    "nginx is restarted": ("web1", "systemctl restart nginx"),
    "the app is restarted": ("web1", "systemctl restart 'shop@*'"),
}


def test_no_read_is_stale_and_no_page_is_somebody_elses(site, users, slugs):
    """While in between the database restarts and Redis is flushed, killed and cut off."""
    password = (site.secrets / "redis_admin_password").read_text().strip()
    trial = Trial(site, users, slugs, PAIRS)
    happened = []
    while trial.running:
        for name, (host, command) in DISTURBANCES.items():
            time.sleep(8)
            if not trial.running:
                break
            site.on(host, command.replace("{redis}", password))
            happened.append(name)
    result = trial.finish()
    print(f"happened: {len(happened)}")
    prove(result, PAIRS)
    assert set(happened) >= set(list(DISTURBANCES)[:4])


def test_the_trial_would_notice(site, users, slugs):
    """Without triggers nothing tells of changes; then the same clients must find stale pages, or they prove nothing."""
    switch = 'runuser -u postgres -- psql -q shop -c "ALTER TABLE catalog_review {} TRIGGER ALL"'
    # The page is tagged while its table is watched; a write that is not recorded is what a lost purge would be.
    body = 'runuser -u postgres -- psql -qtA shop -c "SELECT pg_get_functiondef(tgfoid) FROM pg_trigger'
    body += " WHERE tgrelid = 'catalog_review'::regclass AND tgname = 'gateway_cache_insert'\""
    definition = site.on("db1", body) + ";"
    silent = re.sub(r"IF found IS NOT NULL THEN", "IF false THEN", definition)
    assert silent != definition
    try:
        site.on("db1", "runuser -u postgres -- psql -q shop", input=silent)
        result = Trial(site, users, slugs[:5], 100).finish()
    finally:
        site.on("db1", "runuser -u postgres -- psql -q shop", input=definition)
        site.on("db1", switch.format("DISABLE") + " && " + switch.format("ENABLE"))
    assert result["stale"]


def test_dump_brought_back_ends_all_pages_and_rows_of_before(site, slugs):
    """What was written after the dump is gone from the database, so it must be gone from pages and query results, too."""
    page, api = f"/products/{slugs[0]}/", f"/api/products/{slugs[0]}/reviews/"
    psql = "runuser -u postgres -- "
    text = f"after-the-dump-{secrets.token_hex(8)}"
    site.on("db1", f"{psql} pg_dump -Fc -f /var/lib/postgresql/never-stale.dump shop")
    add = (
        "INSERT INTO catalog_review (product_id, name, rating, text, is_published, created_at)"
        f" SELECT id, 'x', 4, '{text}', true, now() FROM catalog_product WHERE slug = '{slugs[0]}'"
    )
    site.on("db1", f"{psql} psql -q shop", input=add)
    time.sleep(1)
    for _ in range(3):
        assert text in site.get(DOMAIN, page).text
        assert text in site.get(DOMAIN, api).text
    assert site.get(DOMAIN, page).headers["X-Cache"].startswith("HIT")
    stop, after = threading.Event(), []

    def go_on_looking():
        while not stop.wait(0.05):
            site.get(DOMAIN, page)

    looker = threading.Thread(target=go_on_looking)
    looker.start()
    try:
        site.on("db1", f"{psql} pg_restore --clean --if-exists -d shop /var/lib/postgresql/never-stale.dump")
        time.sleep(1)
        for _ in range(20):
            after += [site.get(DOMAIN, page), site.get(DOMAIN, api)]
    finally:
        stop.set()
        looker.join()
    assert [answer.status for answer in after] == [200] * 40
    assert [answer.headers.get("X-Cache") for answer in after if text in answer.text] == []
    deadline = time.monotonic() + 20
    while not site.get(DOMAIN, page).headers["X-Cache"].startswith("HIT"):
        assert time.monotonic() < deadline, "pages are kept no more"
        time.sleep(0.5)


def test_rows_written_past_django_are_seen(site, slugs):
    """psql by hand: no signal, no middleware, no Django at all."""
    for number in range(10):
        slug = slugs[number]
        name = f"Renamed {secrets.token_hex(4)}"
        for _ in range(2):
            site.get(DOMAIN, f"/products/{slug}/")
        site.on("db1", "runuser -u postgres -- psql -q shop", input=f"UPDATE catalog_product SET name = '{name}' WHERE slug = '{slug}'")
        time.sleep(1)
        assert name in site.get(DOMAIN, f"/products/{slug}/").text
        assert name in site.get(DOMAIN, f"/api/products/{slug}/").text


def test_copy_of_no_gateway_is_stale(raise_site, copy_of):
    """Two gateways: whoever wrote by one reads by any; each has copies of its own, and both share others in Redis."""
    site = raise_site(copy_of("tests/inventories/two_gateways", "two-gateways"))
    site.play()
    gateways = ("edge1", "edge2")
    result = Trial(site, make_users(site, "app1"), products(site), PAIRS // 5, gateways).finish()
    prove(result, PAIRS // 5)
    assert all(result["seen"][f"HIT by {site.variables(gateway)['ansible_host']}"] for gateway in gateways)
    assert result["seen"]["X-Cache SHARED"]
