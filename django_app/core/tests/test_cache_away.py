"""Without Redis the site is slower, and whole."""

import socket
import time

import pytest
from django.core.cache import cache

from config import services


@pytest.fixture
def redis_away(settings):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    settings.CACHES = {"default": services.redis_cache(f"redis://127.0.0.1:{port}/0") | {"KEY_PREFIX": "shop"}}


@pytest.mark.parametrize("path", ["/", "/catalog/", "/products/oak-serving-tray/", "/account/login/", "/api/products/"])
def test_page_stays(redis_away, client, product, path):
    assert client.get(path).status_code == 200


def test_signing_in_works(redis_away, client, make_user):
    make_user("ada")
    answer = client.post("/account/login/", {"username": "ada", "password": "wrong"})
    assert answer.status_code == 200
    answer = client.post("/account/login/", {"username": "ada", "password": "correct horse battery"})
    assert answer.status_code == 302


@pytest.mark.django_db
def test_readiness_is_degraded_not_lost(redis_away, client):
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"


@pytest.mark.django_db
def test_silent_cache_costs_little_time(settings, client):
    """A cut cable: the connection is neither refused nor answered, and a visitor waits meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.CACHES = {"default": services.redis_cache(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")}
        start = time.monotonic()
        assert client.get("/readyz").json()["status"] == "degraded"
    assert time.monotonic() - start < 5


def test_cache_that_is_there_answers(client, db):
    """The twin: with a cache the same probe says ok."""
    cache.set("key", 1)
    assert client.get("/readyz").json()["status"] == "ok"
