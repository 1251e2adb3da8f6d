import pytest
from django.db.migrations.recorder import MigrationRecorder


@pytest.fixture
def staff(client, make_user):
    client.force_login(make_user("boss", is_staff=True))
    return client


def boxes(answer):
    return {box.name: box for box in answer.context["boxes"]}


def test_status_shows_each_box(staff):
    shown = boxes(staff.get("/status/"))
    assert list(shown) == ["Gateway", "Application", "Cache", "Kept pages", "Database", "Jobs"]
    assert {box.state for box in shown.values()} == {"ok"}
    assert shown["Gateway"].facts["X-Request-ID"] == "test-request-1"
    assert shown["Application"].facts["Release"] == "test-release"
    assert shown["Database"].facts["Migrations"] == "all applied"


def test_missing_gateway_is_noticed(staff):
    del staff.defaults["HTTP_X_FORWARDED_FOR"]
    assert boxes(staff.get("/status/"))["Gateway"].state == "degraded"


def test_migration_that_is_not_applied_is_named(staff):
    MigrationRecorder.Migration.objects.filter(app="catalog").delete()
    database = boxes(staff.get("/status/"))["Database"]
    assert database.state == "degraded"
    assert "catalog.0001_initial" in database.facts["Migrations"]


def test_status_is_for_staff(client, signed_in, new_client):
    assert signed_in.get("/status/").status_code == 403
    assert new_client().get("/status/").status_code == 302
