import pytest
from django.core import mail

from catalog import services
from jobs.models import LastRun
from jobs.tasks import review_notice

NOBODY_LISTENS = "redis://shop:pass@127.0.0.1:9/0"


@pytest.fixture
def review(product):
    return services.add_review(product, name="Ada", rating=4, text="Carries well.")


def test_shop_is_told_of_a_review(review, settings):
    settings.SHOP_EMAIL = "shop@example.test"
    review_notice(review.pk)
    (letter,) = mail.outbox
    assert letter.to == ["shop@example.test"]
    assert letter.subject == f"Review {review.pk}: 4 of 5 for Oak serving tray"
    assert "Carries well." in letter.body
    assert f"https://shop.example.test/products/oak-serving-tray/#review-{review.pk}" in letter.body


def test_without_an_address_nobody_is_told(review):
    review_notice(review.pk)
    assert mail.outbox == []
    assert LastRun.objects.get(name="review notice").detail.startswith(f"review {review.pk}, ")


def test_review_that_is_gone_is_no_error(db):
    review_notice(1)
    assert "was gone" in LastRun.objects.get().detail


def test_subject_is_one_line(make_product, settings):
    """A name is what somebody typed; a line break in it would make headers of the rest."""
    settings.SHOP_EMAIL = "shop@example.test"
    product = make_product("Tray\nBcc: all@example.test", slug="tray")
    with pytest.raises(ValueError, match="newlines"):
        review_notice(product.reviews.create(name="Ada", rating=4, text="x").pk)


def test_without_a_queue_nothing_is_queued(review, django_capture_on_commit_callbacks, product):
    with django_capture_on_commit_callbacks() as callbacks:
        services.add_review(product, name="Ada", rating=4, text="Again.")
    assert callbacks == []


def test_review_is_kept_when_the_queue_is_away(client, product, settings, caplog, django_capture_on_commit_callbacks):
    settings.QUEUE_URL = NOBODY_LISTENS
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        form = {"rating": "4", "name": "Ada", "text": "Carries well."}
        answer = client.post("/products/oak-serving-tray/review/", form)
    assert (answer.status_code, len(callbacks), product.reviews.count()) == (302, 1, 1)
    assert "on_commit" in caplog.text


def test_status_tells_that_the_queue_is_away(client, make_user, settings):
    settings.QUEUE_URL = NOBODY_LISTENS
    client.force_login(make_user("boss", is_staff=True))
    (box,) = [box for box in client.get("/status/").context["boxes"] if box.name == "Jobs"]
    assert box.state == "degraded"
    assert "does not answer" in box.remark
