"""A database that is away is a passing state: 503, in time, and back by itself."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time

import psycopg
import pytest
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from core.database_away import is_database_away

VISIT = """
import json, sys, time
import django
django.setup()
from django.test import Client
client = Client(headers={"X-Forwarded-Proto": "https"}, SERVER_NAME="shop.example.test", raise_request_exception=False)
client.cookies["sessionid"] = "0123456789abcdefghijklmnopqrstuv"
answers = {}
for path in sys.argv[1:]:
    start = time.monotonic()
    response = client.get(path)
    answers[path] = {
        "status": response.status_code,
        "seconds": time.monotonic() - start,
        "retry": response.headers.get("Retry-After"),
        "text": response.content.decode(),
    }
print(json.dumps(answers))
"""

NEEDS_DATABASE = ["/", "/catalog/", "/products/oak/", "/search/?q=oak", "/account/", "/api/products/", "/readyz"]
NEEDS_NONE = {"/healthz": 200, "/no-such-page": 404, "/api/": 200}


def visit(database_url, *paths):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", VISIT, *paths],
        cwd=settings.BASE_DIR,
        env=os.environ | {"DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout), result.stderr


@pytest.fixture(scope="module")
def refused():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    return visit(f"postgres://shop:hidden-word@127.0.0.1:{port}/shop", *NEEDS_DATABASE, *NEEDS_NONE)


@pytest.mark.parametrize("path", NEEDS_DATABASE)
def test_page_that_needs_the_database_answers_503(refused, path):
    assert refused[0][path]["status"] == 503


@pytest.mark.parametrize("path", ["/catalog/", "/account/", "/api/products/"])
def test_503_says_when_to_come_back(refused, path):
    assert int(refused[0][path]["retry"]) > 0


@pytest.mark.parametrize(("path", "status"), NEEDS_NONE.items())
def test_page_without_the_database_stays(refused, path, status):
    assert refused[0][path]["status"] == status


def test_503_shows_a_page_of_the_site_and_no_trace(refused):
    text = refused[0]["/catalog/"]["text"]
    assert "Back in a moment" in text
    assert "Traceback" not in text
    assert "127.0.0.1" not in text


def test_outage_is_one_log_line_a_page_without_the_password(refused):
    """Many pages fail in an outage; the journal must stay readable, and closed."""
    lines = refused[1].splitlines()
    assert len(lines) == len(NEEDS_DATABASE) + 1  # the other is the 404
    assert sum("OperationalError: connection" in line for line in lines) == len(NEEDS_DATABASE) - 1  # not /readyz
    assert "hidden-word" not in refused[1]


def test_fault_in_middleware_counts_too(new_client, monkeypatch):
    """The session is saved after the view, outside of it."""

    def fail(*arguments):
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr("django.contrib.sessions.middleware.SessionMiddleware.process_response", fail)
    answer = new_client(raise_request_exception=False).get("/healthz")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_silent_database_is_given_up_within_five_seconds():
    """A cut cable or a dropping firewall: the connection is neither refused nor answered."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        answers, _ = visit(f"postgres://shop:x@127.0.0.1:{silent.getsockname()[1]}/shop", "/catalog/")
    assert answers["/catalog/"]["status"] == 503
    assert answers["/catalog/"]["seconds"] < 5


@pytest.mark.django_db(transaction=True)
def test_restarted_database_is_found_again(live_server, product):
    """Every kept connection is dead after a restart; no visitor may notice."""

    # One HTTP connection is one thread of the server, and with that one database connection.
    visitor = http.client.HTTPConnection(*live_server.url.removeprefix("http://").split(":"), timeout=10)

    def get(path):
        visitor.request("GET", path, headers={"X-Forwarded-Proto": "https"})
        answer = visitor.getresponse()
        answer.read()
        return answer.status

    assert get("/catalog/") == 200
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone()[0] >= 1
    time.sleep(0.2)
    assert get("/catalog/") == 200
    visitor.close()


def wrapped(kind, cause):
    error = kind("text")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (wrapped(OperationalError, psycopg.OperationalError("connection timeout expired")), True),
        (wrapped(OperationalError, psycopg.errors.AdminShutdown()), True),
        (wrapped(OperationalError, psycopg.errors.CannotConnectNow()), True),
        (wrapped(OperationalError, psycopg.errors.TooManyConnections()), True),
        (wrapped(InterfaceError, psycopg.InterfaceError("the connection is closed")), True),
        (wrapped(OperationalError, psycopg.errors.DeadlockDetected()), False),
        (wrapped(OperationalError, psycopg.errors.DiskFull()), False),
        (wrapped(OperationalError, psycopg.errors.QueryCanceled()), False),
        (ValueError("text"), False),
        (None, False),
    ],
)
def test_only_a_lost_connection_counts_as_away(error, away):
    """A deadlock answered with "come back later" would hide a fault."""
    assert is_database_away(error) is away
