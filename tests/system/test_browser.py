"""A person with a browser, on a desk and on a phone; screenshots land in build/screenshots."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import uuid
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import expect, sync_playwright

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
SCREENS = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True},
}
QUIET = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium(door):
    """Debian's Chromium, which finds the site at the door and trusts the one key that our authority vouched for."""
    with door.tls() as connection:
        certificate = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True))
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(key).digest()).decode()
    host, port = door.address
    rules = f"MAP {door.host} {host}:{port}, MAP * ~NOTFOUND, EXCLUDE {host}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("APPLIANCE_CHROMIUM") or shutil.which("chromium"),
            args=[*QUIET, f"--host-resolver-rules={rules}", f"--ignore-certificate-errors-spki-list={pin}"],
            chromium_sandbox=os.geteuid() != 0,
        )
        yield browser
        browser.close()


@pytest.fixture(params=SCREENS)
def page(chromium, door, request):
    """A page that must load without a complaint: errors, refused content, requests elsewhere or failed."""
    context = chromium.new_context(base_url=door.url, **SCREENS[request.param])
    page = context.new_page()
    page.set_default_timeout(15_000)
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda failed: complaints.append(f"{failed.url}: {failed.failure}"))
    page.on("request", lambda sent: None if sent.url.startswith((door.url, "data:")) else complaints.append(f"elsewhere: {sent.url}"))
    yield page
    context.close()
    assert not complaints


def look(page, name):
    """Keep a picture; nothing may stick out sideways."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    screen = next(screen for screen, options in SCREENS.items() if options["viewport"] == page.viewport_size)
    page.screenshot(path=SCREENSHOTS / f"{name}-{screen}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), f"{name} is too wide"


def test_catalogue_is_clicked_through(page):
    """From the front page to a product, and back by search."""
    page.goto("/")
    look(page, "home")
    page.get_by_role("link", name="See the catalogue").click()
    page.wait_for_url(re.compile(r"/catalog/$"))
    look(page, "catalogue")
    card = page.locator("article.card h3 a").first
    name = card.inner_text()
    card.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    look(page, "product")
    page.get_by_role("searchbox").fill(name)
    page.get_by_role("searchbox").press("Enter")
    expect(page.locator("article.card h3 a", has_text=name).first).to_be_visible()
    look(page, "search")


def test_pictures_and_styles_are_loaded(page):
    """A page without them would still have its text."""
    page.goto("/catalog/")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.styleSheets.length") >= 1
    assert page.evaluate("[...document.images].filter(i => i.loading != 'lazy').every(i => i.complete && i.naturalWidth > 0)")


def test_review_is_written(page):
    """It appears at once, with thanks."""
    words = f"Seen by a browser: {uuid.uuid4().hex}"
    page.goto("/catalog/")
    page.locator("article.card h3 a").first.click()
    page.get_by_role("link", name="Write a review").click()
    page.get_by_text("excellent").click()
    page.get_by_label("name").first.fill("Ada")
    page.locator("textarea").fill(words)
    look(page, "review")
    page.get_by_role("button", name="Publish review").click()
    expect(page.get_by_text(words)).to_be_visible()
    look(page, "reviewed")


def test_superuser_signs_in_and_sees_the_boxes(page, admin_password):
    """The password that make up points at; the status page shows the drawing's boxes."""
    page.goto("/status/")
    page.locator("input[name=username]").fill(os.environ.get("APPLIANCE_ADMIN_USER", "admin"))
    page.locator("input[name=password]").fill(admin_password)
    page.locator("main").get_by_role("button").click()
    page.wait_for_url(re.compile(r"/status/$"))
    for box in ("Gateway", "Application", "Cache", "Database"):
        expect(page.get_by_role("heading", name=box, exact=True)).to_be_visible()
    look(page, "status")


@pytest.mark.parametrize("path", ["/no-such-page/", "/static/none.css"])
def test_error_page_is_readable(chromium, door, path):
    """The app's own, and the gateway's where no app is asked."""
    context = chromium.new_context(base_url=door.url, **SCREENS["phone"])
    page = context.new_page()
    answer = page.goto(path)
    assert answer.status == 404
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    look(page, "error-app" if path.endswith("/") else "error-gateway")
    context.close()
