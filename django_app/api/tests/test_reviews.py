import pytest

from catalog.models import Review

PATH = "/api/products/oak-serving-tray/reviews/"
REVIEW = {"name": "Ada", "rating": 4, "text": "Carries well."}


def post(client, data):
    return client.post(PATH, data, content_type="application/json")


def test_review_is_written_and_read_back(signed_in, product):
    answer = post(signed_in, REVIEW)
    assert answer.status_code == 201
    assert answer.json() | REVIEW == answer.json()
    assert Review.objects.get().author == signed_in.user
    assert signed_in.get(PATH).json()["results"][0]["text"] == "Carries well."


def test_writing_needs_a_session(client, product):
    assert post(client, REVIEW).status_code == 403


def test_writing_needs_the_csrf_token_of_the_session(new_client, make_user, product):
    client = new_client(enforce_csrf_checks=True)
    client.force_login(make_user())
    assert post(client, REVIEW).status_code == 403


@pytest.mark.parametrize("wrong", [{"rating": 6}, {"rating": 0}, {"name": ""}, {"text": "a\x00b"}])
def test_wrong_input_is_explained(signed_in, product, wrong):
    answer = post(signed_in, REVIEW | wrong)
    assert answer.status_code == 400
    assert list(answer.json()) == list(wrong)


def test_hidden_reviews_stay_hidden(client, product):
    product.reviews.create(name="Spam", rating=1, text="Buy elsewhere.", is_published=False)
    assert client.get(PATH).json()["count"] == 0


def test_unknown_product_is_404(client, db):
    assert client.get("/api/products/nothing/reviews/").status_code == 404
