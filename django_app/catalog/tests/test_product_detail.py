import pytest


def test_detail_shows_the_product_and_its_reviews(client, make_product):
    make_product(material="Oak", dimensions="46 cm", reviews=[4])
    text = client.get("/products/oak-serving-tray/").text
    assert all(word in text for word in ("Oak serving tray", "64.90", "46 cm", "T-001", "A 4 from me.", "Only 5 left"))


def test_hidden_review_stays_hidden(client, product):
    product.reviews.create(name="Spam", rating=1, text="Buy elsewhere.", is_published=False)
    assert "Buy elsewhere." not in client.get(product.get_absolute_url()).text


def test_review_text_is_escaped(client, product):
    product.reviews.create(name="<b>Eve</b>", rating=1, text="<script>alert(1)</script>")
    text = client.get(product.get_absolute_url()).text
    assert "<script>" not in text
    assert "<b>Eve" not in text


def test_neighbours_in_price_are_offered(client, make_product):
    for name, price in (("A", "10.00"), ("B", "50.00"), ("C", "55.00"), ("D", "70.00"), ("E", "60.00"), ("F", "65.00")):
        make_product(name, price=price)
    assert [row.name for row in client.get("/products/f/").context["related"]] == ["D", "E", "C", "B"]


def test_unknown_product_is_404(client, db):
    assert client.get("/products/nothing/").status_code == 404


@pytest.mark.parametrize("count", [1, 40])
def test_number_of_queries_does_not_grow_with_the_reviews(client, make_product, django_assert_num_queries, count):
    for number in range(6):
        make_product(f"Bowl {number}")
    product = make_product(reviews=[5] * count)
    with django_assert_num_queries(5):  # product, photos, reviews, neighbours; triggers
        client.get(product.get_absolute_url())
