"""What the gateway answers, adds and refuses, whatever the app behind it does."""

from __future__ import annotations

import contextlib
import re
import time

import pytest

#: Each is in force once, whoever sets it.
SECURITY_HEADERS = {
    "Strict-Transport-Security": r"max-age=\d{7,}",
    "X-Content-Type-Options": r"nosniff",
    "X-Frame-Options": r"(DENY|SAMEORIGIN)",
    "Referrer-Policy": r"(same-origin|no-referrer|strict-origin(-when-cross-origin)?)",
    "Cross-Origin-Opener-Policy": r"same-origin",
    "Permissions-Policy": r".*camera=\(\).*",
}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/catalog/", 200),
        ("/about/", 200),
        ("/about", 308),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/account/", 302),
        ("/status/", 302),
        ("/static/none.css", 404),
        ("/media/none.jpg", 404),
        ("/no-such-page/", 404),
    ],
)
def test_status(door, path, status):
    """The pages that everybody may ask for."""
    assert door.raw(path).status == status


@pytest.mark.parametrize("path", ["/", "/static/none.css", "/no-such-page/", "/about/", "/account/"])
@pytest.mark.parametrize("name", SECURITY_HEADERS)
def test_security_header_is_there_once(door, path, name):
    """A second copy with another value would make browsers drop or mix both."""
    values = door.raw(path).headers.get_all(name)
    assert values is not None
    assert len(values) == 1
    assert re.fullmatch(SECURITY_HEADERS[name], values[0])


def test_version_of_the_server_is_not_told(door):
    """Neither nginx's nor the app server's."""
    for path in ("/", "/static/none.css"):
        answer = door.raw(path)
        assert answer.headers["Server"] == "nginx"
        assert "X-Powered-By" not in answer.headers


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1", "shop.example.test.evil.test", "localhost"])
def test_unknown_host_is_refused(door, host):
    """Even over a connection that was opened with the right name."""
    answer = door.raw("/", host=host)
    assert answer.status == 421
    assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize("host", ["a b", "{host}/x", "{host}@evil.test", "{host}\\evil", "{host}, evil.test"])
def test_malformed_host_is_refused(door, host):
    """No page, and no redirect that repeats it."""
    assert door.raw("/", host=host.format(host=door.host)).status in (400, 421)


@pytest.mark.parametrize("host", ["{host}.", "{HOST}", "{host}:99", "{host}:evil.test"])
def test_host_reaches_the_app_in_one_form(door, host):
    """Otherwise links, caches and CSRF checks would follow what a client makes up."""
    plain, odd = door.raw("/account/"), door.raw("/account/", host=host.format(host=door.host, HOST=door.host.upper()))
    assert (odd.status, odd.headers["Location"]) == (302, plain.headers["Location"])


def test_plain_http_on_the_tls_port_is_led_to_https(door):
    """Who types http:// with the port is not left with an error; path and query stay."""
    with door.tcp() as connection:
        connection.sendall(f"GET /catalog/?page=2 HTTP/1.1\r\nHost: {door.authority}\r\nConnection: close\r\n\r\n".encode())
        answer = connection.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 308 ")
    assert f"Location: {door.url}/catalog/?page=2\r\n" in answer


def test_other_names_lead_to_the_sites_own(visitor, door):
    """With path and query, and for a POST with its method (308)."""
    answer = visitor.get(door.url.replace("://", "://www.") + "/catalog/?page=2", follow_redirects=False)
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"{door.url}/catalog/?page=2"


def test_every_request_has_an_id_of_its_own(door):
    """The client's is not taken: it goes into logs."""
    ids = [
        door.raw(path, headers={"X-Request-ID": "chosen-by-the-client"}).headers.get_all("X-Request-ID") for path in ("/", "/", "/about/")
    ]
    assert all(len(one) == 1 and re.fullmatch(r"[0-9a-f]{32}", one[0]) for one in ids)
    assert len({one[0] for one in ids}) == 3


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Original-URL", "X-Rewrite-URL", "Forwarded", "X-Forwarded-Proto"])
def test_header_that_rewrites_the_request_is_not_believed(door, header):
    """Each would be a way to another page, or to links that lead elsewhere."""
    value = {"Forwarded": "host=evil.test;proto=http", "X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "http"}.get(header, "/admin/")
    plain, spoofed = door.raw("/account/"), door.raw("/account/", headers={header: value})
    assert (spoofed.status, spoofed.headers["Location"]) == (302, plain.headers["Location"])


def test_probe_of_the_appliance_is_not_for_clients(door):
    """It tells which release answered."""
    assert "X-Appliance-Release" not in door.raw("/healthz", headers={"X-Appliance-Probe": "1"}).headers


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_that_mirror_or_tunnel_are_refused(door, method):
    """TRACE would show a script the cookies it may not read."""
    assert door.raw("/", method=method).status in (400, 405)


def test_body_over_the_limit_is_refused_unread(door, product):
    """Announced is enough; the page says so in plain words."""
    answer = door.raw(f"{product}review/", method="POST", headers={"Content-Length": str(10**12)}, body=b"x")
    assert answer.status == 413
    assert "Too large" in answer.text


def test_body_that_the_app_does_not_read_costs_no_answer(door):
    """A server that closes a socket with something in it makes the kernel throw the answer away."""
    assert {door.raw("/no-such-page/", "POST", body=b"x" * 9_000_000).status for _ in range(3)} == {404}


def test_body_under_the_limit_reaches_the_app(door, product):
    """Which then misses its CSRF token."""
    assert door.raw(f"{product}review/", method="POST", body=b"x" * 1_000_000).status == 403


SMUGGLING = {
    "two lengths": "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "length and chunks": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "hidden chunks": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "space before the colon": "Content-Length : 4\r\n\r\nabcd",
    "negative length": "Content-Length: -1\r\n\r\n",
    "NUL in a header": "X-Header: a\x00b\r\n\r\n",
}


@pytest.mark.parametrize("case", SMUGGLING)
def test_ambiguous_request_is_refused(door, case):
    """Two servers that read it differently would see two requests."""
    with door.tls() as connection:
        connection.sendall(f"POST /healthz HTTP/1.1\r\nHost: {door.authority}\r\n{SMUGGLING[case]}".encode("latin-1"))
        first = connection.makefile("rb").readline().decode()
    assert re.match(r"HTTP/1.1 (400|501|405) ", first), first


def test_slow_headers_are_cut_off(door):
    """A client that never ends its request must not keep a connection."""
    with door.tls() as connection:
        connection.settimeout(30)
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {door.authority}\r\n".encode())
        began = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(1000):
                pass
        assert 5 < time.monotonic() - began < 20
