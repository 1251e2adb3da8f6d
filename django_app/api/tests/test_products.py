import pytest


@pytest.fixture
def shelf(make_product):
    make_product("Oak serving tray", category="Table", reviews=[5, 4])
    make_product("Brass ladle", category="Kitchen")


def test_list_gives_rows_with_rating(client, shelf):
    body = client.get("/api/products/").json()
    assert body["count"] == 2
    assert body["results"][1] == {
        "slug": "oak-serving-tray",
        "sku": "T-001",
        "name": "Oak serving tray",
        "summary": "For two.",
        "category": "table",
        "price": "64.90",
        "stock": 5,
        "rating": 4.5,
        "review_count": 2,
        "page": "/products/oak-serving-tray/",
    }


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ("category=kitchen", ["brass-ladle"]),
        ("search=tray", ["oak-serving-tray"]),
        ("search=tray&category=kitchen", []),
        ("category=nothing", []),
    ],
)
def test_list_can_be_narrowed(client, shelf, query, slugs):
    assert [row["slug"] for row in client.get(f"/api/products/?{query}").json()["results"]] == slugs


@pytest.mark.parametrize("query", ["category=%00", "search=a%00", "search=" + "x" * 101, "category=a'b"])
def test_wrong_query_is_explained(client, shelf, query):
    answer = client.get(f"/api/products/?{query}")
    assert answer.status_code == 400
    assert answer.json().keys() <= {"category", "search"}


def test_page_beyond_the_last_is_404(client, shelf):
    assert client.get("/api/products/?page=9").status_code == 404


def test_detail(client, shelf):
    assert client.get("/api/products/oak-serving-tray/").json()["description"] == "Made of one piece."
    assert client.get("/api/products/nothing/").status_code == 404


def test_categories_count_their_products(client, shelf):
    assert {row["slug"]: row["products"] for row in client.get("/api/categories/").json()} == {"table": 1, "kitchen": 1}


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_products_cannot_be_written(client, shelf, method):
    assert getattr(client, method)("/api/products/", {}, content_type="application/json").status_code == 405


def test_number_of_queries_does_not_grow_with_the_rows(client, make_product, django_assert_num_queries):
    for number in range(55):
        make_product(f"Bowl {number}")
    with django_assert_num_queries(2):  # count, rows
        assert len(client.get("/api/products/").json()["results"]) == 50


@pytest.mark.parametrize("path", ["/api/products/", "/api/categories/", "/api/products/oak-serving-tray/"])
def test_reading_does_not_look_at_the_session(client, shelf, path):
    assert "Cookie" not in client.get(path, headers={"Cookie": "sessionid=somebody"}).headers.get("Vary", "")
