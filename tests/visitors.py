"""Visitors of a site in the lab: they read, write and wait, on connections that stay open, and note whatever goes wrong."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import ssl
import threading
import time
from urllib.parse import urlencode

DOMAIN = "shop.example.test"

#: A machine that is busy with other tests as well must not look like a database that is away.
PATIENT = {
    "appliance_database_options": {
        "sslmode": "{{ appliance_database_sslmode }}",
        "sslrootcert": "{{ appliance_database_sslrootcert }}",
        "connect_timeout": 20,
        "tcp_user_timeout": 20000,
    }
}


#: How it looks when nobody answers because the connection is gone.
CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)


class Visitor(threading.Thread):
    """One browser: asks for one thing after another until its Load is over."""

    def __init__(self, load, requests, domain=DOMAIN):
        super().__init__(daemon=True)
        self.load, self.requests, self.domain = load, requests, domain
        self.answers, self.written, self.failures = 0, 0, []

    def connect(self):
        connection = http.client.HTTPSConnection(self.domain, timeout=60)
        plain = socket.create_connection(("127.0.0.1", self.load.port), 60)
        connection.sock = self.load.context.wrap_socket(plain, server_hostname=self.domain)
        return connection

    def run(self):
        connection, idle = self.connect(), False
        method, path, body, headers = next(self.requests)
        while not self.load.over.is_set():
            try:
                if connection.sock is None:  # nginx had said that it would close
                    connection = self.connect()
                connection.request(method, path, body, headers={"Host": self.domain, **headers})
                answer = connection.getresponse()
                page = answer.read()
                self.answers += 1
                if answer.status != (302 if method == "POST" else 200):
                    self.failures.append(f"{time.strftime('%X')} {method} {path}: {answer.status}")
                elif method == "POST":
                    self.written += 1
                method, path, body, headers = self.requests.send((answer, page.decode(errors="replace")))
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # nginx may close an idle connection while the next request is under way: browsers ask again, once.
                if self.load.again and idle and isinstance(error, CLOSED):
                    idle = False
                    continue
                self.answers += 1
                self.failures.append(f"{time.strftime('%X')} {method} {path}: {error!r}")
            idle = connection.sock is not None
            time.sleep(self.load.pause)


class Load:
    """Visitors of the reference app, for as long as the block lasts.

    site: see site_in_lab. times: how many of each kind. pause: seconds between one's requests. slow: the domain of an app `mirror`
    (tests/projects), whose pages are then asked for as well and take 2 seconds. again: do as browsers do when a connection
    that was idle turns out to be closed; nginx closes such connections when its configuration changes.
    """

    READERS, WRITERS = ["/readyz", "/catalog/", "/api/products/", "/search/?q=lamp"], 3

    def __init__(self, site, times=1, pause=0.1, slow="", again=False):
        self.port, self.pause, self.again = site.public_port, pause, again
        self.context = ssl.create_default_context(cafile=str(site.secrets / "ca.crt"))
        self.product = re.search(r'href="(/products/[\w-]+/)"', site.get(DOMAIN, "/catalog/").text)[1]
        self.over = threading.Event()
        self.visitors = [Visitor(self, self.read(path)) for path in self.READERS * times]
        self.visitors += [Visitor(self, self.write()) for _ in range(self.WRITERS * times)]
        self.visitors += [Visitor(self, self.read(told(seconds=2)), slow) for _ in range(2 * times) if slow]

    def __enter__(self):
        for visitor in self.visitors:
            visitor.start()
        self.pass_by(50)
        return self

    def __exit__(self, *_):
        self.over.set()
        for visitor in self.visitors:
            visitor.join(60)

    @property
    def answers(self):
        """How many requests are over, failed ones too."""
        return sum(visitor.answers for visitor in self.visitors)

    @property
    def written(self):
        """How many reviews were acknowledged."""
        return sum(visitor.written for visitor in self.visitors)

    @property
    def failures(self):
        """What went wrong, a line each."""
        return [failure for visitor in self.visitors for failure in visitor.failures]

    def pass_by(self, answers, seconds=60):
        """Let so many more requests be answered."""
        goal, end = self.answers + answers, time.monotonic() + seconds
        while self.answers < goal and time.monotonic() < end:
            time.sleep(0.05)

    @staticmethod
    def read(path):
        while True:
            yield "GET", path, None, {}

    def write(self):
        path = f"{self.product}review/"
        answer, page = yield "GET", path, None, {}
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        form = urlencode({"csrfmiddlewaretoken": token, "rating": 4, "name": "under load", "text": "x", "more": "x" * 50_000})
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie, "Referer": f"https://{DOMAIN}:{self.port}{path}"}
        while True:
            yield "POST", path, form, headers


def told(**answer):
    """The path at which `mirror` answers so."""
    return "/answer/" + base64.urlsafe_b64encode(json.dumps(answer).encode()).decode().rstrip("=") + "/"
