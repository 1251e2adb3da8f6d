import pytest
from django.core.management import call_command

from catalog.models import Category, Product, Review

pytestmark = pytest.mark.django_db


def counts():
    return Category.objects.count(), Product.objects.count(), Review.objects.count()


def test_seed_fills_the_shop_and_a_second_run_adds_nothing(capsys):
    call_command("seed_catalog")
    first = counts()
    assert first[:2] == (8, 320)
    assert first[2] > 500
    call_command("seed_catalog")
    assert counts() == first
    assert "Added 0 products and 0 reviews; 320 were there." in capsys.readouterr().out


def test_seed_brings_back_what_is_missing_and_keeps_what_was_changed(capsys):
    call_command("seed_catalog")
    Product.objects.filter(sku="KI-001").delete()
    Product.objects.filter(sku="KI-002").update(name="Our own name", price="1.00")
    call_command("seed_catalog")
    assert Product.objects.filter(sku="KI-001").exists()
    assert Product.objects.get(sku="KI-002").name == "Our own name"


def test_seed_is_the_same_everywhere(capsys):
    """Two sites with one seed show the same shop, so tests may name its products."""
    call_command("seed_catalog")
    product = Product.objects.get(sku="KI-001")
    assert (product.name, str(product.price), product.stock, product.reviews.count()) == (
        "Oak chopping board",
        "45.90",
        25,
        2,
    )
