"""verify.yml expects what is drawn, no more and no less, and says plainly what it found."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import types
from urllib.parse import urlsplit

import pytest
from conftest import ROOT
from plugins import load_module

ADDRESSES = {"web1": ["10.0.0.1"], "app1": ["10.0.0.2", "fd00::2"], "db1": ["10.0.0.9"]}
GROUPS = {"all": list(ADDRESSES), "gateway": ["web1"], "app": ["app1"], "cache": ["web1"], "db": ["db1"]}
PORTS = {"origin": 8443, "cache": 6379, "queue": 6380, "memcached": 11211, "database": 5432}
APP = {"redis": {"cache": True, "queue": False}, "database": {}}


def arrow(name, ports, to, hosts=(), networks=(), world=False, protocol="tcp"):
    """An arrow as appliance_flows makes it."""
    return {
        "name": name,
        "protocol": protocol,
        "ports": ports,
        "from_hosts": list(hosts),
        "from_networks": list(networks),
        "from_world": world,
        "to_hosts": list(to),
    }


ARROWS = [
    arrow("world to gateway", [443], ["web1"], world=True),
    arrow("app to db", [5432], ["db1"], hosts=["app1"]),
    arrow("operators to all", [22], ADDRESSES, networks=["192.0.2.0/24", "10.0.0.8/30"]),
]


def state(*listeners, addresses=(), rows=()):
    """What a host tells: listeners are (port, address, protocol)."""
    found = [{"port": port, "address": address, "protocol": protocol, "process": "some"} for port, address, protocol in listeners]
    return {"listeners": found, "addresses": list(addresses), "rows": list(rows), "asked_at": 100.0, "clock": 101.0}


SSH, HTTPS, POSTGRESQL = (22, "0.0.0.0", "tcp"), (443, "*", "tcp"), (5432, "10.0.0.9", "tcp")  # noqa: S104
STATES = {"web1": state(SSH, HTTPS), "app1": state(SSH), "db1": state(SSH, POSTGRESQL)}


@pytest.fixture(scope="module")
def verify():
    """The filters."""
    return load_module(ROOT / "roles/verify/filter_plugins/verify.py")


@pytest.fixture(scope="module")
def report(verify):
    """Rows of one host after a run in which every port answered as drawn, but for what `change` says."""

    def rows(host, change=None, arrows=ARROWS, states=STATES, idle=None):
        tries = []
        for source in (*ADDRESSES, "outsider"):
            for target in verify.verify_targets(source, ADDRESSES, arrows, states, 2):
                answer = "open" if target["arrow"] else "silent"
                change_key = (source, target["host"], target["port"])
                tries.append({**target, "source": source, "answer": (change or {}).get(change_key, answer)})
        found = verify.verify_port_rows(host, arrows, states, idle or [], tries)
        return {row["check"]: (row["ok"], row["detail"]) for row in found}

    return rows


def tried(verify, source, host, **changed):
    """What a source tries on a host: (port, whether it must be open)."""
    arguments = {"addresses": ADDRESSES, "arrows": ARROWS, "states": STATES, "seconds": 2} | changed
    targets = verify.verify_targets(source, **arguments)
    return {(one["address"], one["port"]): bool(one["arrow"]) for one in targets if one["host"] == host}


# The expectation


def test_only_the_arrow_s_own_source_may_enter(verify):
    """The database is the app's, not the gateway's."""
    assert tried(verify, "app1", "db1")["10.0.0.9", 5432] is True
    assert tried(verify, "web1", "db1")["10.0.0.9", 5432] is False
    assert tried(verify, "outsider", "db1")["10.0.0.9", 5432] is False


def test_host_inside_a_named_network_may_enter(verify):
    """The network is drawn, and the host is in it."""
    assert tried(verify, "db1", "web1")["10.0.0.1", 22] is True
    assert tried(verify, "app1", "web1")["10.0.0.1", 22] is False


def test_everybody_tries_a_drawn_port_that_nobody_listens_on(verify):
    """A service that is down must not make its port go untested."""
    assert ("10.0.0.9", 5432) in tried(verify, "web1", "db1", states={})


def test_listener_that_is_not_drawn_is_tried(verify):
    """It is what the firewall is for."""
    states = {**STATES, "web1": state(SSH, HTTPS, (9100, "*", "tcp"))}
    assert tried(verify, "db1", "web1", states=states)["10.0.0.1", 9100] is False


def test_one_port_without_a_listener_is_tried(verify):
    """Without it, a host on which all listeners are drawn would pass with no firewall at all."""
    assert tried(verify, "db1", "web1")["10.0.0.1", 9] is False


def test_ipv6_is_tried_by_whoever_has_it(verify):
    """The firewall's two halves can differ."""
    assert ("fd00::2", 22) in tried(verify, "outsider", "app1")
    assert ("fd00::2", 22) not in tried(verify, "db1", "app1")


def test_public_address_that_the_inventory_does_not_know_is_tried(verify):
    """An address from a router's advertisement reaches the world; a container bridge's may be another machine's."""
    states = {"web1": state(HTTPS, addresses=["10.0.0.1", "172.17.0.1", "8.8.8.8"])}
    addresses = {address for address, _ in tried(verify, "db1", "web1", states=states)}
    assert addresses == {"10.0.0.1", "8.8.8.8"}


def test_arrow_that_stays_on_its_host_is_not_tried(verify):
    """It opens nothing."""
    arrows = [arrow("gateway to app", [8443], ["web1"], hosts=["web1"])]
    assert ("10.0.0.1", 8443) not in tried(verify, "db1", "web1", arrows=arrows)


@pytest.mark.parametrize(
    ("apps", "pages", "idle"),
    [
        ({"shop": APP}, "", {6380, 8443, 11211}),
        ({"shop": APP | {"redis": {"cache": False, "queue": False}}}, "", {6379, 6380, 8443, 11211}),
        ({"shop": APP | {"redis": {"cache": False, "queue": False}}}, "cache", {6380, 8443, 11211}),
        ({"shop": APP | {"redis": {"cache": False, "queue": False}}}, "memcached", {6379, 6380, 8443}),
        ({"shop": APP | {"database": {"external": {"host": "db"}}}}, "", {5432, 6380, 8443, 11211}),
    ],
)
def test_ports_that_nothing_asks_for_are_idle(verify, apps, pages, idle):
    """Arrows may be drawn ahead of need."""
    found = verify.verify_idle_ports(["web1", "app1"], GROUPS, apps, PORTS, pages)
    assert set(found["web1"]) == idle
    assert set(found["app1"]) == idle - {8443}, "an app host without a gateway has an origin"


# The verdict


def test_all_as_drawn_passes(report):
    """The table says who got where."""
    rows = report("db1")
    assert all(ok for ok, _ in rows.values())
    assert rows["port 5432/tcp"][1] == "some; open from app1; shut from web1, outsider"
    assert rows["all other ports"][1] == "shut from web1, app1, outsider"


def test_hole_in_the_firewall_is_named(report):
    """Open to somebody for whom no arrow is drawn."""
    ok, detail = report("db1", {("outsider", "db1", 5432): "open"})["port 5432/tcp"]
    assert not ok
    assert detail == "open from outsider, though no arrow says so"


@pytest.mark.parametrize(("answer", "why"), [("silent", "no answer"), ("refused", "nothing listens")])
def test_arrow_that_is_shut_is_named(report, answer, why):
    """Drawn, but not to be had."""
    ok, detail = report("db1", {("app1", "db1", 5432): answer})["port 5432/tcp"]
    assert not ok
    assert detail == f"shut from app1 ({why}), though the arrow 'app to db' is drawn"


def test_listener_that_answers_unasked_is_named(report):
    """With the process behind it."""
    states = {**STATES, "web1": state(SSH, HTTPS, (9100, "*", "tcp"))}
    ok, detail = report("web1", {("outsider", "web1", 9100): "open"}, states=states)["all other ports"]
    assert not ok
    assert detail == "9100/tcp (some) is open from outsider, though no arrow says so"


def test_refusal_gives_away_that_no_firewall_is_in_force(report):
    """A packet to a port at which nobody listens should vanish."""
    ok, detail = report("web1", {("db1", "web1", 9): "refused"})["all other ports"]
    assert not ok
    assert "no firewall is in force" in detail


def test_service_that_nobody_can_try_must_listen(verify):
    """A host that stands alone is judged by what it tells."""
    arrows = [arrow("world to gateway", [443], ["web1"], world=True)]
    alone, deaf = state(SSH, HTTPS), state(SSH)
    (row,) = verify.verify_port_rows("web1", arrows, {"web1": alone}, [], [])
    assert (row["ok"], row["detail"]) == (True, "there is nobody to try it from")
    (row,) = verify.verify_port_rows("web1", arrows, {"web1": deaf}, [], [])
    assert (row["ok"], row["detail"]) == (False, "nothing listens, though an arrow is drawn")


def test_port_that_answers_without_a_listener_passes(report):
    """Containers' ports are forwarded by the kernel; ss does not show them."""
    assert report("web1", states={**STATES, "web1": state(SSH)})["port 443/tcp"][0] is True


def test_idle_arrow_is_a_note(report):
    """Neither proven nor wrong."""
    arrows = [*ARROWS, arrow("app to cache", [6380], ["web1"], hosts=["app1"])]
    ok, detail = report("web1", {("app1", "web1", 6380): "refused"}, arrows=arrows, idle=[6380])["port 6380/tcp"]
    assert ok is None
    assert "nothing in this inventory asks for it" in detail


def test_silent_udp_service_passes_only_with_a_listener(report):
    """No answer to a datagram is no proof of anything; no listener is."""
    arrows = [*ARROWS, arrow("app to db", [514], ["db1"], hosts=["app1"], protocol="udp")]
    silent = {("app1", "db1", 514): "silent"}
    assert report("db1", silent, arrows=arrows)["port 514/udp"][0] is False
    states = {**STATES, "db1": state(SSH, POSTGRESQL, (514, "*", "udp"))}
    assert report("db1", silent, arrows=arrows, states=states)["port 514/udp"][0] is True


@pytest.mark.parametrize(("clock", "ok"), [(99.0, True), (103.0, True), (90.0, False), (120.0, False)])
def test_clock_is_compared_with_the_moments_before_and_after(verify, clock, ok):
    """The time that an answer takes is no error of the clock."""
    row = verify.verify_clock_row("web1", state() | {"clock": clock}, asked_after=105.0, seconds=3)
    assert row["ok"] is ok


def test_chrony_s_word_comes_first(verify):
    """It measures in milliseconds."""
    told = state(rows=[{"check": "clock", "ok": False, "detail": "chrony: not synchronised"}])
    assert verify.verify_clock_row("web1", told, asked_after=102.0, seconds=3)["ok"] is False


def test_host_that_could_not_be_asked_is_in_the_table(verify):
    """A missing row would look like a passed one."""
    rows = verify.verify_rows(["web1", "db1"], ["web1"], [], {}, {}, {"web1": [], "db1": []}, 3)
    assert [(row["host"], row["check"], row["ok"]) for row in rows] == [("web1", "reachable", False)]


def test_outsider_that_could_not_try_is_in_the_table(verify):
    """Ports that nobody tried from outside are not proven shut."""
    probe = verify.verify_outside_probe([{"host": "web1"}], {"rc": 1, "stdout": "", "stderr": "first\nlab v is down\n"})
    rows = verify.verify_rows([], [], [], {}, {"outsider": probe}, {}, 3)
    assert verify.verify_problems(rows) == ["outsider: ports: not tried: first lab v is down"]


def test_table_is_aligned_and_has_no_line_too_long(verify):
    """It is read on a terminal."""
    rows = [
        {"host": "web1", "check": "disk", "ok": True, "detail": "fine"},
        {"host": "db1", "check": "database", "ok": False, "detail": "word " * 60},
        {"host": "db1", "check": "reboot", "ok": None, "detail": "pending"},
    ]
    lines = verify.verify_table(rows, width=100).splitlines()
    assert lines[:2] == ["host  check     result  detail", "web1  disk      ok      fine"]
    assert lines[-2:] == ["db1   reboot    note    pending", "3 checks, 1 FAILED"]
    assert max(map(len, lines)) <= 100
    assert verify.verify_problems(rows) == ["db1: database: " + "word " * 60]


# The modules


@pytest.fixture(scope="module")
def sockets():
    """What tries ports."""
    return load_module(ROOT / "roles/verify/module_utils/appliance_sockets.py")


@pytest.fixture(scope="module")
def look():
    """What looks around on a host."""
    sys.modules.setdefault("ansible.module_utils.appliance_sockets", types.ModuleType("appliance_sockets"))
    return load_module(ROOT / "roles/verify/library/appliance_state.py")


def test_listener_is_open_and_its_absence_is_refused(sockets):
    """On loopback nothing drops."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        target = {"address": "127.0.0.1", "port": port, "protocol": "tcp", "seconds": 1}
        assert sockets.attempts([target]) == ["open"]
    assert sockets.attempts([target, target]) == ["refused", "refused"]


def test_udp_service_that_answers_is_open(sockets):
    """One that says nothing is silent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        target = {"address": "127.0.0.1", "port": server.getsockname()[1], "protocol": "udp", "seconds": 0.2}
        assert sockets.attempt(target) == "silent"


def test_listeners_are_read_from_ss(look):
    """Wildcards, devices and IPv6 in every spelling; loopback is nobody else's business."""
    text = """\
udp   UNCONN 0 0            127.0.0.53%lo:53        0.0.0.0:*    users:(("resolved",pid=9,fd=1))
udp   UNCONN 0 0      10.0.0.1%host0:68        0.0.0.0:*    users:(("networkd",pid=9,fd=1))
udp   UNCONN 0 0      [fe80::1]%host0:546           [::]:*    users:(("networkd",pid=9,fd=1))
tcp   LISTEN 0 128          0.0.0.0:22         0.0.0.0:*    users:(("sshd",pid=7,fd=3))
tcp   LISTEN 0 128             [::]:22            [::]:*    users:(("sshd",pid=7,fd=4))
tcp   LISTEN 0 511                *:443              *:*    users:(("nginx",pid=8,fd=5),("nginx",pid=9,fd=5))
tcp   LISTEN 0 10             [::1]:6010           [::]:*
tcp   LISTEN 0 10  [::ffff:127.0.0.1]:8005            *:*
tcp   LISTEN 0 10          10.0.0.1:2049       0.0.0.0:*
"""
    found = [(one["protocol"], one["address"], one["port"], one["process"]) for one in look.parse_listeners(text)]
    assert found == [
        ("udp", "10.0.0.1", 68, "networkd"),
        ("tcp", "0.0.0.0", 22, "sshd"),  # noqa: S104
        ("tcp", "::", 22, "sshd"),
        ("tcp", "*", 443, "nginx"),
        ("tcp", "10.0.0.1", 2049, "kernel"),
    ]


def test_check_that_breaks_is_a_row(look):
    """One odd host must not hide what the other checks found."""

    def broken():
        raise ValueError("first\nlast line")
        yield

    assert look.rows_of(("disk", broken)) == [{"check": "disk", "ok": False, "detail": "last line"}]


class Redis(threading.Thread):
    """One connection to something that speaks like Redis: what it was told is in `heard`."""

    def __init__(self, server, answers, context=None):
        super().__init__(daemon=True)
        self.server, self.answers, self.context, self.heard = server, answers, context, []

    def run(self):
        link, _ = self.server.accept()
        try:
            link = self.context.wrap_socket(link, server_side=True) if self.context else link
            for answer in self.answers:
                self.heard.append(link.recv(4096))
                link.sendall(answer)
        except ssl.SSLError:
            pass
        finally:
            link.close()


def test_redis_is_asked_as_the_app_s_user(look, tmp_path):
    """Its sign-in is what the app depends on."""
    path = tmp_path / "redis.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        redis = Redis(server, [b"+OK\r\n", b"+PONG\r\n"])
        redis.start()
        assert look.Checks.ping(urlsplit(f"unix://shop:secret@{path}?db=0"), "shop", "secret") == "+PONG"
        redis.join(5)
        assert redis.heard == [b"*3\r\n$4\r\nAUTH\r\n$4\r\nshop\r\n$6\r\nsecret\r\n", b"*1\r\n$4\r\nPING\r\n"]
        refusing = Redis(server, [b"-WRONGPASS invalid username-password pair\r\n"])
        refusing.start()
        assert look.Checks.ping(urlsplit(f"unix://shop:other@{path}"), "shop", "other").startswith("-WRONGPASS")


@pytest.mark.parametrize(("address", "trusted"), [("127.0.0.1", True), ("192.0.2.1", False)])
def test_redis_elsewhere_must_prove_who_it_is(look, tmp_path, address, trusted):
    """Over the network the certificate must name the address that the app connects to."""
    files = {name: str(tmp_path / name) for name in ("key.pem", "ca.pem")}
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2", "-subj", "/CN=redis",
         "-addext", f"subjectAltName=IP:{address}", "-keyout", files["key.pem"], "-out", files["ca.pem"]],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["ca.pem"], files["key.pem"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        Redis(server, [b"+OK\r\n", b"+PONG\r\n"], context).start()
        url = urlsplit(f"rediss://shop:secret@127.0.0.1:{server.getsockname()[1]}/0?ssl_ca_certs={files['ca.pem']}")
        if trusted:
            assert look.Checks.ping(url, "shop", "secret") == "+PONG"
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                look.Checks.ping(url, "shop", "secret")


def test_memcached_is_asked_after_the_password(look):
    """On a port nobody else is served."""
    here, there = socket.socketpair()
    there.sendall(b"STORED\r\nVERSION 1.6.38\r\n")
    assert look.ask_memcached(here, "gateway", "secret") == "VERSION 1.6.38"
    assert there.recv(4096) == b"set auth 0 0 14\r\ngateway secret\r\nversion\r\n"
    here, there = socket.socketpair()
    there.sendall(b"CLIENT_ERROR authentication failure\r\n")
    assert look.ask_memcached(here, "gateway", "other") == "CLIENT_ERROR authentication failure"


class Answers(threading.Thread):
    """HTTP answers on a unix socket, a connection each."""

    def __init__(self, path, *answers):
        super().__init__(daemon=True)
        self.answers, self.server = answers, socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        self.start()

    def run(self):
        for answer in self.answers:
            link, _ = self.server.accept()
            with link:
                link.recv(4096)
                link.sendall(answer.replace("\n", "\r\n").encode())


@pytest.mark.parametrize(
    ("caches", "fine"),
    [(["MISS", "HIT"], True), (["HIT"], True), (["MISS", "MISS", "MISS", "MISS"], False), (["BYPASS"] * 4, False)],
)
def test_page_cache_must_answer_a_page_asked_for_again(look, tmp_path, monkeypatch, caches, fine):
    """It may be switched on and never hold a page."""
    Answers(tmp_path / "door", *(f"HTTP/1.1 200 OK\nX-Cache: {one}\nContent-Length: 0\n\n" for one in caches))
    monkeypatch.setattr(look.Checks, "front_door", lambda self, domain: look.UnixHTTPConnection(str(tmp_path / "door"), 5))
    app = {"name": "shop", "domains": ["shop.example.test"], "cache": {"mode": "tags", "path": "/"}}
    ((_, ok, detail),) = look.Checks({}).page_cache(app)
    assert ok is fine, detail


@pytest.mark.parametrize(
    ("mode", "status", "body", "fine"),
    [
        ("tags", 200, {"content": "abc", "epoch": "1.1.1.1", "changes": []}, True),
        ("tags", 200, {"content": "abc", "epoch": "", "changes": []}, False),
        ("ttl", 200, {"content": "abc", "epoch": "", "changes": []}, True),
        ("tags", 503, "the database is away", False),
    ],
)
def test_feed_must_have_asked_the_database(look, tmp_path, monkeypatch, mode, status, body, fine):
    """Gateways keep pages for less than a second without it."""
    text = body if isinstance(body, str) else json.dumps(body)
    Answers(tmp_path / "feed", f"HTTP/1.1 {status} X\nContent-Length: {len(text)}\n\n{text}")
    connection = look.UnixHTTPConnection
    monkeypatch.setattr(look, "UnixHTTPConnection", lambda path, seconds: connection(str(tmp_path / "feed"), seconds))
    ((_, ok, detail),) = look.Checks({}).feed({"name": "shop", "domains": ["shop.example.test"], "cache": {"mode": mode, "path": "/"}})
    assert ok is fine, detail


def test_targets_travel_as_json(verify):
    """The lab's outsider gets them on standard input."""
    targets = verify.verify_targets("outsider", ADDRESSES, ARROWS, STATES, 2)
    assert json.loads(json.dumps(targets)) == targets
