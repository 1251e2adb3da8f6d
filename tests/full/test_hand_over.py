"""No request is lost when a release, or the server itself, changes under load; with either server."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import threading
import time
from urllib.parse import urlencode

import pytest
import yaml

DOMAIN = "shop.example.test"


class Load:
    """Visitors with kept-alive connections who read and write, and note whatever goes wrong."""

    READERS, WRITERS = ["/readyz", "/catalog/", "/api/products/", "/search/?q=lamp"], 3

    def __init__(self, site):
        self.port = site.public_port
        self.context = ssl.create_default_context(cafile=str(site.secrets / "ca.crt"))
        self.product = re.search(r'href="(/products/[\w-]+/)"', site.get(DOMAIN, "/catalog/").text)[1]
        self.answers, self.written, self.failures = 0, 0, []
        self.over = threading.Event()
        readers = [threading.Thread(target=self.visit, args=(self.read(path),), daemon=True) for path in self.READERS]
        self.visitors = readers + [threading.Thread(target=self.visit, args=(self.write(),), daemon=True) for _ in range(self.WRITERS)]

    def __enter__(self):
        for visitor in self.visitors:
            visitor.start()
        self.pass_by(50)
        return self

    def __exit__(self, *_):
        self.over.set()
        for visitor in self.visitors:
            visitor.join(60)

    def pass_by(self, answers, seconds=60):
        """Let so many more requests be answered."""
        goal, end = self.answers + answers, time.monotonic() + seconds
        while self.answers < goal and time.monotonic() < end:
            time.sleep(0.05)

    def connect(self):
        connection = http.client.HTTPSConnection(DOMAIN, timeout=30)
        plain = socket.create_connection(("127.0.0.1", self.port), 30)
        connection.sock = self.context.wrap_socket(plain, server_hostname=DOMAIN)
        return connection

    def visit(self, requests):
        connection = self.connect()
        arguments = next(requests)
        while not self.over.is_set():
            try:
                if connection.sock is None:  # nginx had said that it would close
                    connection = self.connect()
                connection.request(*arguments[:-1], headers={"Host": DOMAIN, **arguments[-1]})
                answer = connection.getresponse()
                body = answer.read()
                wanted = 302 if arguments[0] == "POST" else 200
                if answer.status != wanted:
                    self.failures.append(f"{arguments[0]} {arguments[1]}: {answer.status}")
                else:
                    self.written += arguments[0] == "POST"
                self.answers += 1
                arguments = requests.send((answer, body.decode(errors="replace")))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{arguments[0]} {arguments[1]}: {error!r}")
                connection.close()
            time.sleep(0.1)

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


#: A machine that is busy with other tests as well must not look like a database that is away.
PATIENT = {
    "appliance_database_options": {
        "sslmode": "{{ appliance_database_sslmode }}",
        "sslrootcert": "{{ appliance_database_sslrootcert }}",
        "connect_timeout": 20,
        "tcp_user_timeout": 20000,
    }
}


@pytest.fixture(scope="module")
def site(raise_site, copy_of):
    """A monolith that we may change, raised with Gunicorn."""
    site = raise_site(copy_of("inventories/monolith", "handover", {"group_vars/all/patient.yml": PATIENT}))
    site.play()
    return site


def serve_with(site, server, title):
    """What an operator does: change the contract, run the playbook."""
    file = site.inventory / "group_vars/all/main.yml"
    variables = yaml.safe_load(file.read_text())
    variables["appliance_apps"]["shop"].update(server=server, env={"MARK_OF_THE_TEST": title}, health={"seconds": 120})
    file.write_text(yaml.safe_dump(variables))
    site.play("site.yml", "--tags", "django_app")
    name = {"gunicorn": "gunicorn", "uwsgi": "uwsgi-core"}[server]
    assert name in site.on("web1", "ps -o args= -u shop"), f"{server} does not serve"


def reviews(site):
    """How many of the reviews are in the database."""
    script = "from catalog.models import Review; print('rows', Review.objects.filter(name='under load').count())"
    return int(re.search(r"rows (\d+)", site.on("web1", f'shop-manage shell -c "{script}"'))[1])


def test_changes_of_release_and_server_lose_no_request(site):
    """Both ways between the servers, and a new release of each; every acknowledged review is there, once."""
    with Load(site) as load:
        for server, title in (("uwsgi", "a"), ("uwsgi", "b"), ("gunicorn", "b"), ("gunicorn", "c")):
            serve_with(site, server, title)
            load.pass_by(100)
    assert load.failures == []
    assert load.answers > 2000
    assert reviews(site) == load.written > 300


@pytest.mark.parametrize("server", ["gunicorn", "uwsgi"])
def test_twin_a_server_that_is_just_restarted_loses_requests(site, server):
    """The load above would notice: without a second instance on a socket that stays, requests fail."""
    serve_with(site, server, "twin")
    with Load(site) as load:
        for _ in range(3):
            with contextlib.suppress(AssertionError):  # the socket may be asked for while it is being stopped
                site.on("web1", "systemctl restart shop.socket 'shop@*.service'")
            load.pass_by(100)
    assert load.failures
    site.wait_for(DOMAIN, "/readyz")
