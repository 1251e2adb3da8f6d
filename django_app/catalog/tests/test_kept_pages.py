"""Pages that a gateway keeps: whatever changes what one shows also changes one of its tags."""

import pytest
from django.db import connection
from PIL import Image

from catalog.models import Category, Photo, Product, Review

pytestmark = pytest.mark.django_db(transaction=True)

PAGES = {
    "home": "/",
    "list": "/catalog/",
    "second page": "/catalog/?page=2",
    "best rated": "/catalog/?sort=rating",
    "department": "/catalog/table/",
    "search": "/search/?q=oak",
    "detail": "/products/oak-serving-tray/",
}


@pytest.fixture
def shop(make_product, make_user, settings):
    """Two departments, more products than a page holds, reviews, a photo."""
    tray = make_product("Oak serving tray", reviews=[5, 4])
    for number in range(60):
        make_product(
            f"Plate {number:02}", category="Table" if number % 2 else "Kitchen", reviews=[3] if number < 3 else []
        )
    Photo.objects.create(
        product=tray, caption="From above", image="photos/a.jpg", width=4, height=3, uploaded_by=make_user("bob")
    )
    folder = settings.MEDIA_ROOT / "photos"
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3)).save(folder / "a.jpg")
    return tray


WRITES = {
    "product renamed": lambda tray: Product.objects.filter(pk=tray.pk).update(name="Oak tray"),
    "product sold": lambda tray: Product.objects.filter(pk=tray.pk).update(stock=0),
    "product dearer": lambda tray: Product.objects.filter(pk=tray.pk).update(price=999),
    "product elsewhere": lambda tray: Product.objects.filter(pk=tray.pk).update(category=kitchen()),
    "product gone": lambda tray: Product.objects.filter(name="Plate 01").delete(),
    "product new": lambda tray: Product.objects.create(
        category=tray.category, sku="N-1", name="A new oak bowl", slug="bowl", summary="x", description="x", price=64
    ),
    "neighbour renamed": lambda tray: Product.objects.filter(name="Plate 01").update(name="Dish"),
    "neighbour comes": lambda tray: Product.objects.filter(name="Plate 00").update(category=tray.category, price=65),
    "neighbour goes": lambda tray: Product.objects.filter(name="Plate 01").update(category=kitchen()),
    "department renamed": lambda tray: Category.objects.filter(pk=tray.category_id).update(name="Dining"),
    "department moved": lambda tray: Category.objects.filter(pk=tray.category_id).update(position=9, drawing="desk"),
    "other department renamed": lambda tray: Category.objects.filter(slug="kitchen").update(name="Galley"),
    "department new": lambda tray: Category.objects.create(name="Toys", slug="toys", description="x"),
    "review written": lambda tray: tray.reviews.create(name="Bob", rating=1, text="No."),
    "review changed": lambda tray: tray.reviews.update(text="Hm.", rating=2),
    "review hidden": lambda tray: tray.reviews.update(is_published=False),
    "review moved away": lambda tray: Review.objects.filter(product=tray, rating=4).update(product=plate(2)),
    "review moved here": lambda tray: Review.objects.filter(product=plate(0)).update(product=tray),
    "other review written": lambda tray: plate(1).reviews.create(name="Bob", rating=5, text="Yes."),
    "late review written": lambda tray: plate(58).reviews.create(name="Bob", rating=5, text="Yes."),
    "early review written": lambda tray: plate(3).reviews.create(name="Bob", rating=5, text="Yes."),
    "photo added": lambda tray: Photo.objects.create(product=tray, caption="B", image="photos/a.jpg"),
    "photo described": lambda tray: tray.photos.update(caption="From below"),
    "photo taken down": lambda tray: connection.cursor().execute("DELETE FROM catalog_photo"),
}


def kitchen():
    return Category.objects.get(slug="kitchen")


def plate(number):
    return Product.objects.get(name=f"Plate {number:02}")


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_write_that_changes_a_page_touches_a_key_of_it(client, shop, write):
    before = {name: client.get(url) for name, url in PAGES.items()}
    known = records()
    write(shop)
    touched = {key for record in records()[len(known) :] for key in record}
    assert touched
    missed = [
        name
        for name, url in PAGES.items()
        if client.get(url).content != before[name].content and not touched & set(before[name]["Surrogate-Key"].split())
    ]
    assert missed == []


@pytest.mark.parametrize(
    ("write", "page"),
    [("other department renamed", "detail"), ("late review written", "detail"), ("early review written", "home")],
)
def test_write_that_a_page_does_not_show_leaves_it_in_the_cache(client, shop, write, page):
    keys = set(client.get(PAGES[page])["Surrogate-Key"].split())
    known = len(records())
    WRITES[write](shop)
    assert not {key for record in records()[known:] for key in record} & keys


@pytest.mark.parametrize("path", ["/products/oak-serving-tray/review/", "/account/", "/status/", "/admin/login/"])
def test_personal_page_is_not_offered(signed_in, shop, path):
    assert "Surrogate-Key" not in signed_in.get(path)


def records():
    with connection.cursor() as cursor:
        cursor.execute("SELECT keys FROM gateway_cache_change ORDER BY id")
        return [keys for (keys,) in cursor.fetchall()]
