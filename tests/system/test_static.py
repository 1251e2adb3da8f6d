"""Files are compressed ahead, kept by browsers for good when their name says so, and never those of others."""

from __future__ import annotations

import gzip
import re

import pytest


def test_hashed_file_is_kept_for_ever(door, stylesheet):
    """Its name changes with its content."""
    assert re.search(r"\.[0-9a-f]{12}\.css$", stylesheet)
    answer = door.raw(stylesheet)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_other_file_is_kept_for_minutes_only(door, stylesheet):
    """The same file under the name that stays."""
    answer = door.raw(re.sub(r"\.[0-9a-f]{12}\.", ".", stylesheet))
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "public, max-age=300"


def test_missing_hashed_file_is_not_kept(door, stylesheet):
    """A release may bring it a second later."""
    answer = door.raw(re.sub(r"\.[0-9a-f]{12}\.", ".000000000000.", stylesheet))
    assert answer.status == 404
    assert "Cache-Control" not in answer.headers
    assert "text/html" in answer.headers["Content-Type"]


@pytest.mark.parametrize(
    ("accepted", "sent"),
    [("gzip", "gzip"), ("br", "br"), ("gzip, deflate, br", "br"), ("br;q=0, gzip", "gzip"), ("identity", None), ("deflate", None)],
)
def test_best_accepted_compression_is_sent(door, stylesheet, accepted, sent):
    """Ready-made: such an answer has a length and a strong ETag, one compressed on the fly has neither."""
    answer = door.raw(stylesheet, headers={"Accept-Encoding": accepted})
    assert answer.headers["Content-Encoding"] == sent
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    assert not answer.headers["ETag"].startswith("W/")
    assert "Accept-Encoding" in answer.headers["Vary"]


def test_compressed_file_is_the_file(door, stylesheet):
    """Both were made by the same release."""
    packed = door.raw(stylesheet, headers={"Accept-Encoding": "gzip"}).body
    plain = door.raw(stylesheet).body
    assert gzip.decompress(packed) == plain
    assert len(packed) < len(plain)


def test_page_is_compressed(door):
    """Pages are compressed on the fly."""
    plain = door.raw("/catalog/")
    packed = door.raw("/catalog/", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.body) < len(plain.body) / 3


def test_unchanged_file_is_not_sent_again(door, stylesheet):
    """The browser asks with what it has."""
    tag = door.raw(stylesheet).headers["ETag"]
    answer = door.raw(stylesheet, headers={"If-None-Match": tag})
    assert answer.status == 304
    assert answer.body == b""


def test_text_says_its_encoding(door, stylesheet):
    """A browser would guess otherwise."""
    assert door.raw(stylesheet).headers["Content-Type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize(
    "target",
    [
        "/static../static/css/site.css",
        "/media../public/static/css/site.css",
        "/static/../../../../etc/passwd",
        "/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/static/%252e%252e/etc/passwd",
        "/static//etc/passwd",
        "/static/..;/..;/etc/passwd",
        "/static/css/..\\..\\..\\etc/passwd",
        "/media../environment",
        "/media/../../../etc/appliance/secrets.json",
        "/about../../media/",
        "/static/.env",
        "/static/.git/config",
        "/media/.htaccess",
        "/static/",
        "/static/css/",
        "/media/",
        "/static/css/site.css%00.txt",
        "/static/staticfiles.json.bak",
        "/.appliance/error.html",
        "/nginx.conf",
    ],
)
def test_nothing_outside_is_served(door, target):
    """Neither a file of the host nor a list of files."""
    answer = door.raw(target)
    assert answer.status in (400, 404)
    assert "root:" not in answer.text
    assert "Index of" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_files_are_read_only(door, stylesheet, method):
    """There is nothing to write to."""
    assert door.raw(stylesheet, method=method, body=b"").status == 405
