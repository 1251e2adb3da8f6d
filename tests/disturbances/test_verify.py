"""verify.yml names what is wrong. Each fault is made, seen red, and repaired."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import pytest
from site_in_lab import changes


@dataclass(frozen=True)
class Fault:
    """How to break something, how to repair it, and what must be said of it then, each at the start of a line.

    needs: a unit that not every drawing has.
    """

    host: str
    make: str
    repair: str
    says: list[str]
    needs: str = ""


PSQL = "runuser -u postgres -- psql -q shop"
TLS = "/etc/appliance/tls"

#: Sets of faults that do not hide each other; a set is one run.
FAULTS = {
    "the firewall and the host": [
        Fault(
            "web1",
            "nft insert rule inet appliance input tcp dport 8099 accept"
            " && systemd-run -q --unit verify-listener python3 -m http.server 8099 --directory /mnt",
            "systemctl restart appliance-firewall; systemctl stop verify-listener",
            [r"web1: all other ports: 8099/tcp \(python3\) is open from db1, outsider"],
        ),
        Fault(
            "db1",
            "nft insert rule inet appliance input tcp dport 5432 accept",
            "systemctl restart appliance-firewall",
            ["db1: port 5432/tcp: open from outsider, though no arrow says so"],
        ),
        Fault(
            "db1",
            "systemd-run -q --unit verify-fails false",
            "systemctl reset-failed verify-fails",
            ["db1: failed units: verify-fails.service"],
        ),
        Fault(
            "db1",
            "mount -t tmpfs -o size=1m tmpfs /mnt && fallocate -l 1m /mnt/full",
            "umount /mnt",
            ["db1: disk: .*/mnt 100 % used"],
        ),
        Fault(
            "web1",
            "systemctl stop shop-feed.socket shop-feed",
            "systemctl start shop-feed.socket",
            ["web1: shop feed: /run/shop/feed.sock: "],
            needs="shop-feed",
        ),
        Fault("web1", "touch /run/reboot-required", "rm /run/reboot-required", ["web1 +reboot +note +pending"]),
        Fault(
            "db1",
            f"{PSQL} -c \"update django_migrations set name = '-' || name where app = 'sessions'\"",
            f"{PSQL} -c \"update django_migrations set name = ltrim(name, '-') where app = 'sessions'\"",
            ["web1: shop migrations: some are not applied"],
        ),
        Fault(
            "web1",
            f"cp -a {TLS}/shop /root/verify-shop && openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 10"
            f" -subj /CN=shop.example.test -addext subjectAltName=DNS:shop.example.test -keyout {TLS}/shop/privkey.pem"
            f" -out {TLS}/shop/fullchain.pem && systemctl reload nginx",
            f"cp -a /root/verify-shop/. {TLS}/shop/ && rm -r /root/verify-shop && systemctl reload nginx",
            [
                r"web1: certificates: ca \d+ days, shop 9 days",
                "web1: https://shop.example.test: SSLCertVerificationError.*self-signed",
            ],
        ),
    ],
    "stopped services": [
        Fault(
            "web1",
            "systemctl stop nginx",
            "systemctl start nginx",
            [r"web1: port 443/tcp: shut from db1, outsider \(nothing listens\)", "web1: https://shop.example.test: ConnectionRefused"],
        ),
        Fault(
            "web1",
            "systemctl stop redis-server@cache",
            "systemctl start redis-server@cache",
            ["web1: shop redis: /run/redis-cache/redis.sock: "],
            needs="redis-server@cache",
        ),
        Fault(
            "web1",
            "systemctl stop memcached-shop memcached-pages",
            "systemctl start memcached-shop memcached-pages",
            [
                "web1: memcached shop: /run/memcached-shop/memcached.sock: ",
                "web1: store of pages: /run/memcached-pages/memcached.sock: ",
            ],
            needs="memcached-pages",
        ),
        Fault(
            "web1",
            "systemctl stop shop.socket 'shop@*.service'",
            "systemctl start shop.socket",
            ["web1: shop on its socket: /run/shop/shop.sock: "],
        ),
        Fault(
            "db1",
            "systemctl stop postgresql@17-main",
            "systemctl start postgresql@17-main",
            [
                "web1: shop database: .*Connection refused",
                "db1: database: ",
                r"db1: port 5432/tcp: shut from web1 \(nothing listens\), though the arrow 'app to db' is drawn",
            ],
        ),
    ],
    "no firewall, a foreign database": [
        Fault(
            "web1",
            "nft delete table inet appliance",
            "systemctl restart appliance-firewall",
            ["web1: firewall: ", "web1: all other ports: 9/tcp is refused to db1, outsider instead of dropped"],
        ),
        Fault(
            "db1",
            f"cp -a {TLS}/postgresql /root/verify-postgresql && openssl req -x509 -nodes -newkey ec -pkeyopt"
            f" ec_paramgen_curve:P-256 -days 400 -subj /CN=elsewhere -keyout {TLS}/postgresql/privkey.pem"
            f" -out {TLS}/postgresql/fullchain.pem && systemctl reload postgresql@17-main",
            f"cp -a /root/verify-postgresql/. {TLS}/postgresql/ && rm -r /root/verify-postgresql && systemctl reload postgresql@17-main",
            ["web1: shop database: .*certificate verify failed"],
        ),
    ],
    "an arrow that the firewall forgot": [
        Fault(
            "db1",
            "nft insert rule inet appliance input tcp dport 5432 ct state new drop",
            "systemctl restart appliance-firewall",
            [r"db1: port 5432/tcp: shut from web1 \(no answer\), though the arrow 'app to db' is drawn"],
        ),
    ],
}


def test_site_as_drawn_passes_in_time_and_unchanged(site):
    """A monitoring system may call it every few minutes."""
    began = time.monotonic()
    for arguments in ((), ("--check",), ("--limit", "db1")):
        assert set(changes(site.play("playbooks/verify.yml", *arguments)).values()) == {0}
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_fault_is_named(site, faults, wait_for):
    """A proof that cannot fail proves nothing."""
    faults = [fault for fault in faults if fault.needs in ("", *site.units)]
    try:
        for fault in faults:
            site.on(fault.host, fault.make)
        done = site.play("playbooks/verify.yml", check=False)
    finally:
        for fault in reversed(faults):
            site.on(fault.host, fault.repair, check=False)
        wait_for("/readyz", 30)
    assert done.returncode == 2, done.stdout
    for says in (says for fault in faults for says in fault.says):
        assert re.search(rf"^\s*{says}", done.stdout, re.MULTILINE), f"{says}\n{done.stdout}"


def test_host_that_is_down_is_named(site):
    """Of the others the table still tells."""
    site.lab("cut", "db1")
    try:
        done = site.play("playbooks/verify.yml", check=False)
    finally:
        site.lab("restore", "db1")
    assert done.returncode != 0
    assert "db1: reachable: " in done.stdout, done.stdout
    assert "web1: https://shop.example.test: 503 " in done.stdout, done.stdout
