from datetime import timedelta

from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.utils import timezone

from catalog.models import Review
from jobs.models import LastRun


def test_what_is_old_is_forgotten_and_nothing_else(make_product):
    product, now = make_product(reviews=[5]), timezone.now()
    for age, published in ((100, False), (100, True), (10, False)):
        written = {"is_published": published, "created_at": now - timedelta(age)}
        product.reviews.create(name="Ada", rating=3, text=f"{age}", **written)
    for number, days in enumerate((-1, 1)):
        Session.objects.create(session_key=f"key{number}", session_data="x", expire_date=now + timedelta(days))
    call_command("tidy")
    assert sorted(Review.objects.values_list("text", flat=True)) == ["10", "100", "A 5 from me."]
    assert [session.session_key for session in Session.objects.all()] == ["key1"]
    assert LastRun.objects.get(name="tidy").detail.startswith("1 sessions, 1 reviews forgotten")


def test_status_shows_the_last_run(client, make_user):
    client.force_login(make_user("boss", is_staff=True))
    call_command("tidy")
    assert "0 sessions, 0 reviews forgotten" in client.get("/status/").text
