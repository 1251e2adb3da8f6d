import pytest
from django.db import OperationalError

from status import checks


@pytest.mark.django_db
def test_ready_with_database_and_cache(client):
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "release": "test-release",
        "checks": {"database": "ok", "cache": "ok"},
    }
    assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.django_db
def test_not_ready_without_the_database(client, monkeypatch):
    def fail():
        raise OperationalError("connection refused")

    monkeypatch.setattr(checks.connection, "cursor", fail)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unavailable"
    assert "refused" not in answer.text
