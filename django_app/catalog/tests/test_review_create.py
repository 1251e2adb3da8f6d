import pytest
from django.db import IntegrityError, transaction

from catalog.models import Review

PATH = "/products/oak-serving-tray/review/"
REVIEW = {"rating": "4", "name": "Ada", "text": "Carries well."}


def test_review_is_written_and_read_back(client, product):
    answer = client.post(PATH, REVIEW)
    review = Review.objects.get()
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/products/oak-serving-tray/#review-{review.pk}"
    assert "Carries well." in client.get("/products/oak-serving-tray/").text
    assert review.author is None


def test_review_of_a_signed_in_person_is_theirs(signed_in, product):
    signed_in.post(PATH, REVIEW)
    assert Review.objects.get().author == signed_in.user


def test_form_asks_for_a_csrf_token(new_client, product):
    assert new_client(enforce_csrf_checks=True).post(PATH, REVIEW).status_code == 403


def test_form_with_its_own_token_is_accepted(new_client, product):
    client = new_client(enforce_csrf_checks=True)
    token = client.get(PATH).context["csrf_token"]
    headers = {"Referer": f"https://shop.example.test{PATH}"}
    assert client.post(PATH, REVIEW | {"csrfmiddlewaretoken": str(token)}, headers=headers).status_code == 302


def test_csrf_cookie_is_secure_and_out_of_reach_of_scripts(client, product):
    cookie = client.get(PATH).cookies["csrftoken"]
    assert cookie["secure"]
    assert cookie["httponly"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rating": "6"},
        {"rating": "0"},
        {"rating": ""},
        {"name": ""},
        {"text": ""},
        {"text": "x" * 2001},
        {"name": "a\x00b"},
    ],
)
def test_wrong_input_is_explained_and_nothing_saved(client, product, wrong):
    answer = client.post(PATH, REVIEW | wrong)
    assert answer.status_code == 200
    assert "errorlist" in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert not Review.objects.exists()


def test_database_itself_refuses_a_rating_out_of_range(product):
    """Other writers come along: the API, a script, a hand in psql."""
    with pytest.raises(IntegrityError), transaction.atomic():
        product.reviews.create(name="Ada", rating=6, text="Too good.")


def test_unknown_product_is_404(client, db):
    assert client.get("/products/nothing/review/").status_code == 404


def test_log_line_holds_no_personal_data(client, product, caplog):
    caplog.set_level("INFO")
    client.post(PATH, REVIEW)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "catalog.services"]
    assert "review added" in line
    assert "Ada" not in line
    assert "Carries" not in line
