import pytest


@pytest.fixture
def full_shelf(make_product):
    for number in range(60):
        make_product(f"Bowl {number:02}", category="Table", price=f"{100 - number}.00", reviews=[5, 4])


def names(answer):
    return [product.name for product in answer.context["page"]]


def test_list_is_cut_into_pages(client, full_shelf):
    assert names(client.get("/catalog/")) == [f"Bowl {number:02}" for number in range(48)]
    assert names(client.get("/catalog/?page=2")) == [f"Bowl {number:02}" for number in range(48, 60)]


@pytest.mark.parametrize("page", ["0", "-1", "999", "x", "", "2%00", "9" * 40])
def test_odd_page_number_still_answers(client, product, page):
    assert client.get(f"/catalog/?page={page}").status_code == 200


@pytest.mark.parametrize(
    ("sort", "first"), [("name", "Ash"), ("price", "Birch"), ("-price", "Cedar"), ("rating", "Cedar"), ("bogus", "Ash")]
)
def test_list_is_sorted(client, make_product, sort, first):
    make_product("Ash", price="20.00", reviews=[3])
    make_product("Birch", price="10.00", reviews=[1, 2])
    make_product("Cedar", price="30.00", reviews=[5, 4])
    assert names(client.get(f"/catalog/?sort={sort}"))[0] == first


def test_category_shows_its_own_products_only(client, make_product):
    make_product("Oak serving tray", category="Table")
    make_product("Brass ladle", category="Kitchen")
    assert names(client.get("/catalog/kitchen/")) == ["Brass ladle"]


def test_unknown_category_is_404(client, db):
    assert client.get("/catalog/nothing/").status_code == 404


def test_rating_counts_published_reviews_only(client, make_product):
    product = make_product(reviews=[5, 4])
    product.reviews.create(name="Spam", rating=1, text="Buy elsewhere.", is_published=False)
    (row,) = client.get("/catalog/").context["page"]
    assert (row.rating, row.review_count) == (4.5, 2)


def test_number_of_queries_does_not_grow_with_the_rows(client, full_shelf, django_assert_num_queries):
    with django_assert_num_queries(4):  # departments, count, rows; triggers
        client.get("/catalog/")


@pytest.mark.parametrize(
    "path", ["/", "/catalog/", "/catalog/table/", "/search/?q=tray", "/products/oak-serving-tray/"]
)
def test_public_page_may_be_cached(client, product, path):
    """A session would make the page personal: no cookie is set, and the answer does not vary by one."""
    answer = client.get(path, headers={"Cookie": "sessionid=somebody"})
    assert answer.status_code == 200
    assert not answer.cookies
    assert "Cookie" not in answer.headers.get("Vary", "")


@pytest.mark.parametrize("path", ["/catalog/", "/search/", "/products/oak-serving-tray/"])
def test_reading_pages_refuse_to_be_posted_to(client, product, path):
    assert client.post(path).status_code == 405
