"""Behaviour through the front door: nothing here knows how the appliance is built, only where its door is.

APPLIANCE_URL                  the site, e.g. https://shop.example.test:8443
APPLIANCE_CONNECT              where to connect instead of resolving that name, e.g. 127.0.0.1:8443
APPLIANCE_CA                   PEM file of the authority that vouches for the site
APPLIANCE_ADMIN_PASSWORD_FILE  file with the password of the superuser (APPLIANCE_ADMIN_USER, default: admin)

Without APPLIANCE_URL it is the lab's site: that of APPLIANCE_INVENTORY or of molecule's scenario, else the monolith.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from site_in_lab import Site


@dataclass(frozen=True)
class Answer:
    """Status, headers and body of one answer, just as it came."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self):
        return self.body.decode(errors="replace")


@dataclass(frozen=True)
class Door:
    """The front door: the site's address in URLs, and where its TCP port is."""

    url: str
    address: tuple[str, int]
    ca: str

    @property
    def host(self):
        return urlsplit(self.url).hostname

    @property
    def authority(self):
        """What a browser sends as Host."""
        return urlsplit(self.url).netloc

    def context(self, alpn=("http/1.1",)):
        context = ssl.create_default_context(cafile=self.ca)
        context.set_alpn_protocols(list(alpn))
        return context

    def tcp(self, timeout=15):
        return socket.create_connection(self.address, timeout)

    def tls(self, context=None, name=None, session=None):
        """A TLS connection, the certificate checked unless the context says otherwise."""
        return (context or self.context()).wrap_socket(self.tcp(), server_hostname=name or self.host, session=session)

    def raw(self, target="/", method="GET", headers=None, body=None, host=None):
        """One HTTP/1.1 request, its target and headers sent as they are."""
        connection = http.client.HTTPSConnection(*self.address)
        connection._validate_path = lambda _: None
        connection.sock = self.tls()
        with closing(connection):
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": host or self.authority, "Connection": "close", **(headers or {})}.items():
                connection.putheader(name, value)
            if body is not None and "Content-Length" not in (headers or {}):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())


class ToTheDoor(httpx.HTTPTransport):
    """Connects to the door whatever the URL's host is; name, Host and cookies stay the URL's."""

    def __init__(self, door):
        super().__init__(verify=door.context(alpn=("h2", "http/1.1")), http2=True)
        self._door = door

    def handle_request(self, request):
        host, port = self._door.address
        return super().handle_request(
            httpx.Request(
                request.method,
                request.url.copy_with(host=host, port=port),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": request.url.host},
            )
        )


class Visitor(httpx.Client):
    """A visitor with cookies, who fills in forms as a browser does."""

    def submit(self, path, files=None, **fields):
        """Open a page with a form and send it, hidden fields and Referer included."""
        page = self.get(path)
        assert page.status_code == 200, f"{path}: {page.status_code}"
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token, f"{path} has no form"
        return self.post(page.url, data={"csrfmiddlewaretoken": token[1], **fields}, files=files, headers={"Referer": str(page.url)})


def _of_the_lab():
    """The four settings of the site in the lab."""
    site = Site.under_test()
    port = site.public_port
    return {
        "APPLIANCE_URL": f"https://shop.example.test:{port}",
        "APPLIANCE_CONNECT": f"127.0.0.1:{port}",
        "APPLIANCE_CA": str(site.secrets / "ca.crt"),
        "APPLIANCE_ADMIN_PASSWORD_FILE": str(site.secrets / "shop_superuser_password"),
    }


SETTINGS = os.environ if os.environ.get("APPLIANCE_URL") else {**os.environ, **_of_the_lab()}


def _setting(name):
    value = SETTINGS.get(name)
    if not value:
        pytest.exit(f"{name} is not set; tests/system/conftest.py says what it is", returncode=4)
    return value


@pytest.fixture(scope="session")
def door():
    """Where the site is."""
    url = _setting("APPLIANCE_URL").rstrip("/")
    host, _, port = SETTINGS.get("APPLIANCE_CONNECT", urlsplit(url).netloc).rpartition(":")
    return Door(url, (host.strip("[]"), int(port)), _setting("APPLIANCE_CA"))


@pytest.fixture(scope="session")
def admin_password():
    """The superuser's generated password."""
    return Path(_setting("APPLIANCE_ADMIN_PASSWORD_FILE")).read_text().strip()


@pytest.fixture(scope="session")
def client_at():
    """Factory of visitors at a door, this site's or another's."""
    return lambda door: Visitor(transport=ToTheDoor(door), base_url=door.url, follow_redirects=True, timeout=20)


@pytest.fixture
def visitor(door, client_at):
    """Somebody without a session."""
    with client_at(door) as client:
        yield client


@pytest.fixture(scope="session")
def session_cookie(door, client_at, admin_password):
    """The superuser's session, opened once: sign-ins are counted."""
    user = os.environ.get("APPLIANCE_ADMIN_USER", "admin")
    with client_at(door) as client:
        answer = client.submit("/account/login/", username=user, password=admin_password)
        assert answer.url.path == "/account/", "the superuser cannot sign in"
        return client.cookies["sessionid"]


@pytest.fixture
def admin(visitor, session_cookie, door):
    """The superuser, signed in."""
    visitor.cookies.set("sessionid", session_cookie, domain=door.host)
    return visitor


@pytest.fixture(scope="session")
def product(door):
    """Path of a product that the catalogue lists."""
    return re.search(r'href="(/products/[\w-]+/)"', door.raw("/catalog/").text)[1]


@pytest.fixture(scope="session")
def stylesheet(door):
    """Path of the hashed stylesheet that the home page names."""
    return re.search(r'href="(/static/[^"]+\.css)"', door.raw("/").text)[1]
