import pytest


@pytest.fixture
def staff(client, make_user):
    client.force_login(make_user("boss", is_staff=True, is_superuser=True))
    return client


@pytest.mark.parametrize(
    "path",
    [
        "/admin/",
        "/admin/catalog/category/",
        "/admin/catalog/product/",
        "/admin/catalog/product/?q=oak",
        "/admin/catalog/product/add/",
        "/admin/catalog/review/",
        "/admin/accounts/user/",
    ],
)
def test_admin_page_opens(staff, product, path):
    assert staff.get(path).status_code == 200


def test_product_can_be_changed(staff, product):
    path = f"/admin/catalog/product/{product.pk}/change/"
    form = staff.get(path).context["adminform"].form
    data = {name: form[name].value() or "" for name in form.fields}
    data |= {f"photos-{name}": "0" for name in ("TOTAL_FORMS", "INITIAL_FORMS")} | {"name": "Walnut tray"}
    assert staff.post(path, data).status_code == 302
    product.refresh_from_db()
    assert product.name == "Walnut tray"


def test_reviews_can_be_hidden(staff, make_product):
    review = make_product(reviews=[1]).reviews.get()
    staff.post("/admin/catalog/review/", {"action": "hide", "_selected_action": [review.pk]})
    review.refresh_from_db()
    assert not review.is_published


def test_admin_is_for_staff(signed_in):
    assert signed_in.get("/admin/").status_code == 302
