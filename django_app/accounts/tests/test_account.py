def test_account_is_for_signed_in_people(client, db):
    assert client.get("/account/").headers["Location"] == "/account/login/?next=/account/"


def test_account_shows_what_one_wrote(signed_in, product):
    product.reviews.create(name="Ada", rating=4, text="Fine.", author=signed_in.user)
    text = signed_in.get("/account/").text
    assert "Hello, ada" in text
    assert "Oak serving tray" in text


def test_account_is_personal(signed_in):
    """It must never be kept by a shared cache."""
    assert "Cookie" in signed_in.get("/account/").headers["Vary"]


def test_number_of_queries_does_not_grow_with_the_reviews(signed_in, make_product, django_assert_num_queries):
    for number in range(10):
        make_product(f"Bowl {number}").reviews.create(name="Ada", rating=4, text="Fine.", author=signed_in.user)
    with django_assert_num_queries(4):  # session, person, reviews, photos
        signed_in.get("/account/")
