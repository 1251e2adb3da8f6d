"""The reference app through all boxes: read, written, uploaded, signed in."""

from __future__ import annotations

import re
import struct
import uuid
import zlib

import pytest


def picture(width=40, height=30):
    """A PNG, made by hand."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x20\x60\x40" * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_catalogue_lists_products(visitor):
    """Rows come from the database: a page of them."""
    page = visitor.get("/catalog/")
    assert page.status_code == 200
    assert len(set(re.findall(r'href="/products/[\w-]+/"', page.text))) >= 20


def test_search_finds_a_product_by_its_name(visitor, product):
    """And does not list everything."""
    name = re.search(r"<h1>([^<]+)</h1>", visitor.get(product).text)[1]
    found = visitor.get("/search/", params={"q": name})
    assert product in found.text
    assert product not in visitor.get("/search/", params={"q": uuid.uuid4().hex}).text


def test_public_pages_set_no_cookie(door, product):
    """They could not be kept for others otherwise."""
    for path in ("/", "/catalog/", product, "/search/?q=a", "/about/"):
        assert "Set-Cookie" not in door.raw(path).headers


def test_review_is_written_and_read_back(visitor, product):
    """By a visitor without an account, umlauts and markup included."""
    text = f"Grüße & <b>{uuid.uuid4().hex}</b>"
    answer = visitor.submit(f"{product}review/", rating="4", name="Jörg", text=text)
    assert answer.status_code == 200
    assert answer.url.path == product
    seen = visitor.get(product).text
    assert text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in seen
    assert text not in seen


def test_form_without_its_token_is_refused(visitor, product):
    """Another site could send it in the visitor's name."""
    answer = visitor.post(f"{product}review/", data={"rating": "1", "name": "x", "text": "x"})
    assert answer.status_code == 403


def test_form_from_another_origin_is_refused(visitor, product):
    """Even with a token."""
    page = visitor.get(f"{product}review/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[1]
    fields = {"csrfmiddlewaretoken": token, "rating": "1", "name": "x", "text": "x"}
    answer = visitor.post(page.url, data=fields, headers={"Origin": "https://evil.test", "Referer": str(page.url)})
    assert answer.status_code == 403


def test_cookies_are_for_this_site_over_https_only(visitor, session_cookie, product, door):
    """A cookie that travels in plain text or reads by script is lost."""
    cookie = door.raw(f"{product}review/").headers["Set-Cookie"]
    assert re.search(r"(?i);\s*secure", cookie)
    assert re.search(r"(?i);\s*samesite=(lax|strict)", cookie)


def test_wrong_password_is_refused(visitor):
    """With a name of its own, so that the superuser's attempts are not used up."""
    answer = visitor.submit("/account/login/", username=f"nobody-{uuid.uuid4().hex[:8]}", password="wrong")  # noqa: S106
    assert answer.url.path == "/account/login/"
    assert "sessionid" not in visitor.cookies


def test_generated_password_opens_account_and_admin(admin):
    """The password that make up points at."""
    assert "Sign out" in admin.get("/account/").text
    page = admin.get("/admin/")
    assert page.status_code == 200
    assert "Site administration" in page.text


def test_admin_is_styled(admin, door):
    """Its own stylesheet is served too."""
    sheet = re.search(r'href="(/static/admin/[^"]+\.css)"', admin.get("/admin/").text)[1]
    assert door.raw(sheet).status == 200


def test_status_page_is_for_staff(visitor, session_cookie, door):
    """It tells versions and addresses."""
    assert visitor.get("/status/").url.path == "/account/login/"
    visitor.cookies.set("sessionid", session_cookie, domain=door.host)
    page = visitor.get("/status/")
    assert page.url.path == "/status/"
    for box in ("Gateway", "Application", "Cache", "Database"):
        assert re.search(rf'aria-label="{box}".*?class="state ok"', page.text, re.S), box


def test_database_connection_is_encrypted_and_checked(admin):
    """As the database server itself sees it."""
    page = admin.get("/status/").text
    assert re.search(r"<dt>Connection</dt><dd>TLSv1\.[23]", page)
    assert "<dt>Certificate</dt><dd>verify-full</dd>" in page


def test_app_sees_the_true_address_and_name(admin, door):
    """Not those a client makes up."""
    spoofed = {
        "X-Forwarded-For": "198.51.100.66",
        "X-Real-IP": "198.51.100.66",
        "X-Forwarded-Host": "evil.test",
        "X-Request-ID": "mine-0000",
    }
    answer = admin.get("/status/", headers=spoofed)
    box = re.search(r'aria-label="Gateway".*?</section>', answer.text, re.S)[0]
    facts = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]*)</dd>", box))
    assert facts["Host"] == door.authority
    assert facts["X-Forwarded-Proto"] == "https"
    assert re.fullmatch(r"[0-9a-f.:]+", facts["X-Forwarded-For"])
    assert facts["X-Forwarded-For"] != "198.51.100.66"
    assert facts["X-Request-ID"] == answer.headers["X-Request-ID"]


@pytest.fixture
def photo(admin, product):
    """URL of a photo that was just uploaded."""
    caption = f"photo {uuid.uuid4().hex}"
    answer = admin.submit(f"{product}photo/", files={"image": ("in use.png", picture(), "image/png")}, caption=caption)
    assert answer.url.path == product
    return re.search(rf'<img src="([^"]+)" alt="{caption}"', answer.text)[1]


def test_uploaded_photo_is_read_back(photo, door):
    """Through gateway, app and disk; on split hosts through the origin."""
    answer = door.raw(photo)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.body[:3] == b"\xff\xd8\xff"


def test_upload_that_is_no_picture_is_refused(admin, product):
    """Whatever its name says."""
    answer = admin.submit(f"{product}photo/", files={"image": ("evil.png", b"<script>alert(1)</script>", "image/png")}, caption="x")
    assert answer.status_code == 200
    assert answer.url.path == f"{product}photo/"


def test_api_answers_json(visitor):
    """For other programs."""
    answer = visitor.get("/api/products/")
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json()["results"]
