"""The gateway keeps pages that everybody may see, and never one person's page for another.

Most of these tests ask the app `mirror` (tests/projects/mirror), which answers as its path tells it and shows what it was sent, and run in
drawings that have it (tests/inventories/cached); the last ones ask the shop, wherever its pages are kept.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import ssl
import threading
import time
import uuid
from dataclasses import replace

import pytest

FAR = "Sun, 06 Nov 2094 08:49:37 GMT"


class Mirror:
    """The app that answers as it is told."""

    def __init__(self, door):
        self.door = door
        self.raw, self.tls, self.host, self.authority = door.raw, door.tls, door.host, door.authority

    def path(self, query="", **told):
        """The path of an answer that nobody has asked for yet."""
        told["unique"] = uuid.uuid4().hex
        return f"/answer/{base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip('=')}/{query}"

    def ask(self, path, **how):
        """Where the answer came from, and the page."""
        answer = self.raw(path, **how)
        return answer.headers["X-Cache"], json.loads(answer.body)

    def twice(self, path, first=None, second=None, **how):
        """The same path asked for twice, by visitors with different headers."""
        return [self.ask(path, headers=headers, **how) for headers in (first, second if second is not None else first)]


@pytest.fixture(scope="module")
def mirror(door):
    """The mirror, at the same address as the shop."""
    found = Mirror(replace(door, url=door.url.replace("shop.", "mirror.", 1)))
    try:
        found.tls().close()
    except ssl.SSLError:
        pytest.skip("this drawing has no site mirror.example.test")
    deadline = time.monotonic() + 5
    while found.twice(found.path())[1][0] != "HIT":
        assert time.monotonic() < deadline, "the cache keeps nothing"
    return found


def is_kept(mirror, path, first=None, second=None, **how):
    """Whether the second visitor gets the page of the first."""
    (_, one), (where, other) = mirror.twice(path, first, second, **how)
    assert where == "HIT" or one["id"] != other["id"], "X-Cache lies"
    return one["id"] == other["id"]


# What is kept


def test_page_is_rendered_once(mirror):
    """The first is a MISS, all others are the same page."""
    path = mirror.path()
    answers = [mirror.ask(path) for _ in range(4)]
    assert [where for where, _ in answers] == ["MISS", "HIT", "HIT", "HIT"]
    assert len({page["id"] for _, page in answers}) == 1


def test_kept_page_has_the_headers_of_any_page(mirror):
    """Security headers once each, an id of its own, and the app's headers."""
    path = mirror.path(headers=[["X-Frame-Options", "DENY"], ["ETag", '"one"'], ["X-App", "says"]])
    first, second = mirror.raw(path), mirror.raw(path)
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("MISS", "HIT")
    for name in ("Strict-Transport-Security", "X-Frame-Options", "X-Content-Type-Options", "Content-Type", "X-App", "Vary", "Server"):
        assert second.headers.get_all(name) == first.headers.get_all(name), name
    assert second.headers.get_all("X-Frame-Options") == ["DENY"]
    assert re.fullmatch(r"[0-9a-f]{32}", second.headers["X-Request-ID"])
    assert second.headers["X-Request-ID"] != first.headers["X-Request-ID"]
    assert 0 <= int(second.headers["Age"]) < 5


def test_what_is_meant_for_the_gateway_stays_there(mirror):
    """Keys of pages tell how the app is built."""
    path = mirror.path(headers=[["Surrogate-Key", "a b"], ["Surrogate-Control", "max-age=9"]])
    for where in ("MISS", "HIT"):
        answer = mirror.raw(path)
        assert answer.headers["X-Cache"] == where
        assert not [name for name in answer.headers if name.lower().startswith(("surrogate", "x-appliance"))]


def test_kept_page_is_compressed_for_who_takes_it(mirror):
    """It is kept as gzip; who does not take that gets it unpacked."""
    path = mirror.path(kilobytes=20)
    page = mirror.raw(path).body
    packed = mirror.raw(path, headers={"Accept-Encoding": "gzip, deflate, br"})
    assert (packed.headers["X-Cache"], packed.headers["Content-Encoding"]) == ("HIT", "gzip")
    assert int(packed.headers["Content-Length"]) == len(packed.body) < len(page) / 10
    assert gzip.decompress(packed.body) == page
    for refused in ({}, {"Accept-Encoding": "gzip;q=0"}, {"Accept-Encoding": "deflate"}):
        plain = mirror.raw(path, headers=refused)
        assert (plain.headers["X-Cache"], plain.headers["Content-Encoding"], plain.body) == ("HIT", None, page)
        assert "Accept-Encoding" in plain.headers["Vary"]


def test_browser_that_has_the_page_is_told_so(mirror):
    """304, with the tag weak since the bytes may be packed."""
    path = mirror.path(headers=[["ETag", '"one"']])
    mirror.raw(path)
    tag = mirror.raw(path).headers["ETag"]
    assert tag == 'W/"one"'
    for mine in (tag, '"one"', f'"other", {tag}'):
        answer = mirror.raw(path, headers={"If-None-Match": mine})
        assert (answer.status, answer.body, answer.headers["X-Cache"]) == (304, b"", "HIT")
    assert mirror.raw(path, headers={"If-None-Match": '"other"'}).status == 200


def test_page_without_a_tag_gets_one(mirror):
    """Of its content, so that it stays the same."""
    path = mirror.path()
    mirror.raw(path)
    tag = mirror.raw(path).headers["ETag"]
    assert mirror.raw(path, headers={"If-None-Match": tag}).status == 304


def test_age_shortens_what_a_browser_keeps(mirror):
    """Else a page of two seconds would live for four."""
    path = mirror.path(headers=[["Cache-Control", "max-age=2"]])
    first = mirror.ask(path)[1]["id"]
    time.sleep(1.1)
    answer = mirror.raw(path)
    assert (answer.headers["X-Cache"], int(answer.headers["Age"]) >= 1) == ("HIT", True)
    time.sleep(1.5)
    where, page = mirror.ask(path)
    assert where == "MISS"
    assert page["id"] != first


def test_head_is_answered_from_a_kept_page(mirror):
    """With its headers and no body."""
    path = mirror.path()
    mirror.raw(path)
    answer = mirror.raw(path, method="HEAD")
    assert (answer.status, answer.headers["X-Cache"], answer.body) == (200, "HIT", b"")


def test_http2_gets_the_same_page(mirror, client_at):
    """Protocols share the copies."""
    path = mirror.path()
    page = mirror.raw(path).body
    with client_at(mirror.door) as client:
        answer = client.get(path)
    assert (answer.http_version, answer.headers["X-Cache"], answer.content) == ("HTTP/2", "HIT", page)


# Which requests are answered from the cache


def test_head_fills_nothing(mirror):
    """Its answer has no body that could be kept."""
    path = mirror.path()
    assert mirror.raw(path, method="HEAD").headers["X-Cache"] == "BYPASS"
    assert mirror.ask(path)[0] == "MISS"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"])
def test_other_methods_reach_the_app(mirror, method):
    """Each of them, and leave the copy as it is."""
    path = mirror.path()
    kept = mirror.ask(path)[1]["id"]
    where, page = mirror.ask(path, method=method)
    assert (where, page["method"], page["id"] != kept) == ("BYPASS", method, True)
    assert mirror.ask(path)[1]["id"] == kept


BYPASSING = {
    "a session": {"Cookie": "sessionid=a"},
    "a session by another name": {"Cookie": "PHPSESSID=a"},
    "a foreign cookie among allowed ones": {"Cookie": "colour=red; _ga=1; x=y"},
    "a cookie whose name is near": {"Cookie": "Colour=red"},
    "a nameless cookie": {"Cookie": "red"},
    "a cookie that is there twice": {"Cookie": "colour=red; colour=blue"},
    "a quoted cookie": {"Cookie": '"colour"=red'},
    "credentials": {"Authorization": "Basic YTpi"},
    "a token": {"Authorization": "Bearer a"},
}


@pytest.mark.parametrize("case", BYPASSING)
def test_personal_request_is_neither_answered_from_the_cache_nor_kept(mirror, case):
    """Two people's requests with it: each gets a page of its own, and so does who comes without."""
    path, headers = mirror.path(), BYPASSING[case]
    kept = mirror.ask(path)[1]["id"]
    (first, one), (second, other) = mirror.twice(path, headers, {name: value + "b" for name, value in headers.items()})
    assert (first, second) == ("BYPASS", "BYPASS")
    assert len({kept, one["id"], other["id"]}) == 3
    for name, value in headers.items():
        assert one["headers"][name] == value
    assert mirror.ask(path)[1]["id"] == kept
    fresh = mirror.path()
    assert mirror.ask(fresh, headers=headers)[0] == "BYPASS"
    assert mirror.ask(fresh)[0] == "MISS"


def test_cookies_of_both_lists_are_told_apart(mirror):
    """Ignored ones share the page and are not sent; counted ones have a page for each value."""
    path = mirror.path()
    assert is_kept(mirror, path, {"Cookie": "_ga=1; _ga_XY=2"}, {"Cookie": "_ga=3"})
    path = mirror.path()
    assert mirror.ask(path, headers={"Cookie": "_ga=1; colour=red; _gat=2"})[1]["headers"]["Cookie"] == "colour=red"
    assert is_kept(mirror, path, {"Cookie": "colour=red"}, {"Cookie": " colour = red ;_ga=5"})
    assert not is_kept(mirror, path, {"Cookie": "colour=red"}, {"Cookie": "colour=blue"})
    assert not is_kept(mirror, path, {"Cookie": "colour=red"}, {})
    assert not is_kept(mirror, path, {"Cookie": "colour="}, {})


def test_allowed_argument_is_part_of_the_page(mirror):
    """In the value as it was sent."""
    assert is_kept(mirror, mirror.path("?page=2"))
    path = mirror.path()
    ids = {mirror.ask(path + query)[1]["id"] for query in ("", "?", "?page=1", "?page=2", "?page=%32", "?page", "?page=2&page=3")}
    assert len(ids) == 7


@pytest.mark.parametrize("query", ["?other=1", "?page=1&other=1", "?Page=1", "?p%61ge=1", "?=1", "?utm_source=x", "?page[]=1"])
def test_unknown_argument_passes_the_cache(mirror, query):
    """Whoever makes up arguments gets an answer, and no room in the cache."""
    path = mirror.path(query)
    assert [where for where, _ in mirror.twice(path)] == ["BYPASS", "BYPASS"]


def test_other_paths_pass_the_cache(mirror):
    """Contract: cache.paths."""
    assert mirror.raw("/").headers["X-Cache"] == "BYPASS"
    path = mirror.path()
    assert mirror.raw(f"/x/..{path}").headers["X-Cache"] == "BYPASS"
    assert mirror.raw("/answer/../").headers["X-Cache"] == "BYPASS"


def test_body_on_a_get_passes_the_cache(mirror):
    """The app might answer what the body says to whoever asks next."""
    path = mirror.path()
    where, page = mirror.ask(path, body=b"x" * 9)
    assert (where, page["body"]) == ("BYPASS", 9)
    with mirror.tls() as connection:
        head = f"GET {path} HTTP/1.1\r\nHost: {mirror.authority}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(f"{head}3\r\nabc\r\n0\r\n\r\n".encode())
        assert b"\r\nX-Cache: BYPASS\r\n" in connection.makefile("rb").read()
    assert mirror.ask(path)[0] == "MISS"


def test_unannounced_body_does_not_reach_the_page(mirror, client_at):
    """HTTP/2 knows bodies without a length."""
    path = mirror.path()
    with client_at(mirror.door) as client:
        answer = client.request("GET", path, content=iter([b"x" * 9]), headers={"Transfer-Encoding": ""})
    page = answer.json()
    assert page["body"] == 0 or answer.headers["X-Cache"] == "BYPASS"


def test_hosts_with_ports_and_in_capitals_share_a_page(mirror):
    """The app is told one form, so there is one page; its links lead to this site."""
    path = mirror.path()
    kept = mirror.ask(path)[1]
    for host in (mirror.host, mirror.host.upper(), f"{mirror.host}:99", f"{mirror.host}."):
        where, page = mirror.ask(path, host=host)
        assert (where, page["id"]) == ("HIT", kept["id"])
    assert kept["headers"]["Host"] == mirror.authority


def test_sites_do_not_share_pages(mirror, door):
    """The same path of another site is another page."""
    path = mirror.path()
    mirror.raw(path)
    assert b"mirror" not in door.raw(path).body


OVERRIDES = [
    "X-Forwarded-Host", "X-Host", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Forwarded-Scheme", "X-Forwarded-Proto",
    "X-Forwarded-Port", "X-HTTP-Method-Override", "X-Forwarded-For", "X-Real-IP", "Forwarded", "Referer", "X-Anything", "Cache-Control",
    "X-Appliance-Probe", "Surrogate-Key", "Via", "X-Cache",
]  # fmt: skip


@pytest.mark.parametrize("name", OVERRIDES)
def test_header_that_is_not_in_the_key_does_not_reach_the_page(mirror, name):
    """Otherwise one visitor decides what all others see."""
    path = mirror.path()
    where, page = mirror.ask(path, headers={name: "evil.test"})
    assert where == "MISS"
    assert "evil.test" not in json.dumps(page)
    where, other = mirror.ask(path)
    assert (where, other["id"]) == ("HIT", page["id"])


def test_visitors_address_is_not_in_a_kept_page(mirror):
    """An app may show more to some addresses."""
    kept, personal = mirror.ask(mirror.path())[1]["headers"], mirror.ask(mirror.path(), headers={"Cookie": "a=b"})[1]["headers"]
    assert kept["X-Forwarded-For"] == kept["X-Real-Ip"] == "192.0.2.1"
    assert personal["X-Forwarded-For"] == personal["X-Real-Ip"] != "192.0.2.1"


@pytest.mark.parametrize("header", [{"Range": "bytes=0-9"}, {"If-None-Match": '"x"'}, {"If-Modified-Since": FAR}, {"If-Match": '"x"'}])
def test_condition_of_one_visitor_does_not_reach_the_page(mirror, header):
    """A part or a 304 is no page for others."""
    path = mirror.path()
    answer = mirror.raw(path, headers=header)
    assert (answer.status, answer.headers["X-Cache"]) == (200, "MISS")
    assert not set(header) & set(json.loads(answer.body)["headers"])
    assert mirror.ask(path)[0] == "HIT"


@pytest.mark.parametrize("header", ["X-Requested-With", "HX-Request", "Turbo-Frame", "Origin"])
def test_request_for_a_fragment_fills_nothing(mirror, header):
    """Who asks so wants another page than everybody; apps that answer so say it in Vary."""
    path = mirror.path()
    where, page = mirror.ask(path, headers={header: "x"})
    assert (where, page["headers"].get(header.title())) == ("BYPASS", "x")
    assert mirror.ask(path)[0] == "MISS"


# Which answers are kept


def test_language_has_a_page_of_its_own_or_none_is_kept(mirror):
    """Vary: Accept-Language is not in the key here, so each visitor's own language is rendered."""
    path = mirror.path(headers=[["Vary", "Accept-Language"]])
    (_, one), (_, other) = mirror.twice(path, {"Accept-Language": "de"}, {"Accept-Language": "fr"})
    assert (one["headers"]["Accept-Language"], other["headers"]["Accept-Language"]) == ("de", "fr")


def test_header_of_the_key_has_a_page_for_each_value(mirror):
    """Contract: cache.headers."""
    path = mirror.path(headers=[["Vary", "X-Colour, Accept-Encoding, Cookie"]])
    assert is_kept(mirror, path, {"X-Colour": "red"}, {"X-Colour": "red"})
    assert not is_kept(mirror, path, {"X-Colour": "red"}, {"X-Colour": "blue"})
    assert mirror.ask(path, headers={"X-Colour": "green"})[1]["headers"]["X-Colour"] == "green"


KEPT = {
    "nothing said": [],
    "public": [["Cache-Control", "public, max-age=60"]],
    "a surrogate's word over a browser's": [["Cache-Control", "no-cache"], ["Surrogate-Control", "max-age=60"]],
    "a cache's word over a browser's": [["Cache-Control", "max-age=0, s-maxage=60"]],
    "Vary: Accept-Encoding": [["Vary", "Accept-Encoding"]],
    "Vary: Cookie": [["Vary", "Cookie"]],
    "expires later": [["Expires", FAR]],
}


@pytest.mark.parametrize("case", KEPT)
def test_is_kept(mirror, case):
    """The other side of the table below."""
    assert is_kept(mirror, mirror.path(headers=KEPT[case]))


NOT_KEPT = {
    "sets a cookie": {"headers": [["Set-Cookie", "sessionid=a"]]},
    "private": {"headers": [["Cache-Control", "private"]]},
    "private for a header": {"headers": [["Cache-Control", 'max-age=60, Private="x"']]},
    "no-store": {"headers": [["Cache-Control", "max-age=60, no-store"]]},
    "private and a surrogate's word": {"headers": [["Cache-Control", "private"], ["Surrogate-Control", "max-age=60"]]},
    "a surrogate's no-store": {"headers": [["Surrogate-Control", "no-store"]]},
    "no-cache": {"headers": [["Cache-Control", "no-cache"]]},
    "max-age=0": {"headers": [["Cache-Control", "max-age=0"]]},
    "s-maxage=0": {"headers": [["Cache-Control", "s-maxage=0, max-age=60"]]},
    "expired": {"headers": [["Expires", "Sun, 06 Nov 1994 08:49:37 GMT"]]},
    "no date in Expires": {"headers": [["Expires", "0"]]},
    "Vary: *": {"headers": [["Vary", "*"]]},
    "Vary: User-Agent": {"headers": [["Vary", "Accept-Encoding, User-Agent"]]},
    "Vary: Origin": {"headers": [["Vary", "origin"]]},
    "an encoding of its own": {"headers": [["Content-Encoding", "x-own"]]},
    "redirect": {"status": 302, "headers": [["Location", "/"]]},
    "not found": {"status": 404},
    "error": {"status": 500},
    "partial": {"status": 206},
    "non-authoritative": {"status": 203},
    "too large": {"kilobytes": 1100},
}


@pytest.mark.parametrize("case", NOT_KEPT)
def test_is_not_kept(mirror, case):
    """Personal, or not a page for everybody."""
    assert not is_kept(mirror, mirror.path(**NOT_KEPT[case]))


# Many at once


def at_once(number, what):
    """Results of so many calls that begin together."""
    results, barrier = [], threading.Barrier(number)

    def run():
        barrier.wait()
        results.append(what())

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == number
    return results


def test_two_hundred_at_once_are_one_render(mirror):
    """A page that expires under load must not fall on the app all at once."""
    path = mirror.path(seconds=1)
    answers = at_once(200, lambda: mirror.ask(path))
    assert len({page["id"] for _, page in answers}) == 1
    assert sorted({where for where, _ in answers}) == ["HIT", "MISS"]


def test_page_that_is_not_kept_makes_nobody_wait(mirror):
    """One after the other, two renders of a second and a half would take three."""
    path = mirror.path(seconds=1.5, headers=[["Cache-Control", "private"]])
    mirror.ask(path)
    began = time.monotonic()
    answers = at_once(2, lambda: mirror.ask(path))
    assert {where for where, _ in answers} == {"BYPASS"}
    assert len({page["id"] for _, page in answers}) == 2
    assert time.monotonic() - began < 2.9


def test_page_that_turns_out_not_to_be_kept_lets_the_others_go(mirror):
    """They wait for the first answer's headers, and then no more."""
    path = mirror.path(seconds=1.5, headers=[["Set-Cookie", "a=b"]])
    began = time.monotonic()
    answers = at_once(3, lambda: mirror.ask(path))
    assert len({page["id"] for _, page in answers}) == 3
    assert time.monotonic() - began < 4.4


def test_visitor_who_leaves_makes_nobody_wait(mirror):
    """Whoever waits for that render starts another."""
    path = mirror.path(seconds=1)
    with mirror.tls() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {mirror.authority}\r\n\r\n".encode())
        time.sleep(0.2)
    began = time.monotonic()
    assert mirror.ask(path)[0] == "MISS"
    assert time.monotonic() - began < 3


# The shop, whose pages live until what they show changes


@pytest.fixture
def kept(door, product):
    """Asks the shop as somebody who is nobody: where the answer came from, and its text."""
    if "X-Cache" not in door.raw("/catalog/").headers:
        pytest.skip("in this drawing no page of the shop is kept")

    def ask(path=product, **headers):
        answer = door.raw(path, headers=headers)
        return answer.headers["X-Cache"], answer.text

    deadline = time.monotonic() + 5
    while ask()[0] != "HIT":
        assert time.monotonic() < deadline, "the cache keeps nothing"
    return ask


def review(visitor, product):
    """Write one; its words."""
    text = f"Seen {uuid.uuid4().hex}"
    assert visitor.submit(f"{product}review/", rating="4", name="Ada", text=text).status_code == 200
    return text


def test_write_is_seen_by_all_within_a_second(kept, visitor, product):
    """The copy dies, and the next one is kept."""
    text = review(visitor, product)
    written = time.monotonic()
    while text not in kept()[1]:
        assert time.monotonic() - written < 1, "an old page a second after the write"
        time.sleep(0.02)
    time.sleep(1)
    assert text in kept()[1]
    where, page = kept()
    assert (where, text in page) == ("HIT", True)


def test_write_leaves_other_pages_alone(kept, visitor, door, product):
    """Else a busy shop had no cache."""
    other = next(path for path in re.findall(r'href="(/products/[\w-]+/)"', door.raw("/catalog/").text) if path != product)
    while kept(other)[0] != "HIT":
        time.sleep(0.1)
    review(visitor, product)
    time.sleep(1)
    assert kept(product)[0] != "HIT"
    assert kept(other)[0] == "HIT"


def test_who_wrote_sees_it_at_once(kept, visitor, product):
    """A form leaves a cookie, and with that pages are rendered."""
    text = review(visitor, product)
    assert text in visitor.get(product).text


@pytest.mark.parametrize("path", ["/", "/catalog/", "/account/", "/admin/"])
def test_signed_in_visitor_gets_pages_of_her_own(kept, door, session_cookie, path):
    """And leaves no trace in those of others."""
    for _ in range(2):
        assert kept(path, Cookie=f"sessionid={session_cookie}")[0] == "BYPASS"
    assert "sign out" not in door.raw(path).text.lower()


@pytest.mark.parametrize("headers", [{}, {"X-Appliance-Probe": "feed"}, {"Cookie": "a=b", "X-Appliance-Probe": "1"}])
def test_feed_is_not_for_visitors(door, headers):
    """It tells which rows change, and an origin has it under this path; also when the request seems to be for a page to keep."""
    for path in ("/-/feed/shop", f"/-/feed/shop?page={uuid.uuid4().hex}", "//-/feed/shop", "/x/../-/feed/shop"):
        assert door.raw(path, headers=headers).status == 404


def test_browser_asks_again_for_a_page_of_the_shop(kept, door, product):
    """Nobody can tell a browser that a page has changed."""
    assert kept()[0] == "HIT"
    answer = door.raw(product)
    assert answer.headers["Cache-Control"] == "no-cache"
    again = door.raw(product, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


def test_files_that_a_kept_page_names_are_there(kept, door):
    """Also after a release."""
    where, page = kept("/catalog/")
    assert where in ("HIT", "MISS")
    files = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page))
    assert files
    assert {path: door.raw(path).status for path in files} == dict.fromkeys(files, 200)
