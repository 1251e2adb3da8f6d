"""Tests run against a real PostgreSQL: DATABASE_URL says where, or `pg_virtualenv` starts one that is thrown away."""

import atexit
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest

_folder = Path(tempfile.mkdtemp(prefix="larkfield-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)

if "DATABASE_URL" not in os.environ and "PG_CLUSTER_CONF_ROOT" in os.environ:
    _pg = {name: quote(os.environ[f"PG{name}"], safe="") for name in ("USER", "PASSWORD", "HOST", "PORT", "DATABASE")}
    os.environ["DATABASE_URL"] = "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{DATABASE}".format(**_pg)

# Set before Django reads its settings, which have no defaults to fall back on.
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "SECRET_KEY": secrets.token_urlsafe(50),
    "ALLOWED_HOSTS": "shop.example.test,localhost",
    "CSRF_TRUSTED_ORIGINS": "https://shop.example.test",
    "STATIC_ROOT": str(_folder / "static"),
    "MEDIA_ROOT": str(_folder / "media"),
    "RELEASE": "test-release",
}
for _name in ("CACHALOT", "CACHE_URL", "QUEUE_URL", "EMAIL_URL", "SHOP_EMAIL", "DEBUG", "TEMPLATE_ENGINE", "LOG_LEVEL"):
    os.environ.pop(_name, None)


def pytest_configure() -> None:
    if "DATABASE_URL" not in os.environ:
        raise pytest.UsageError("Set DATABASE_URL, or start with: pg_virtualenv -t -o fsync=off pytest")
    # Read the settings now: pytest-django sets Django up as soon as they are there.
    from django.conf import settings

    settings.DATABASES  # noqa: B018


@pytest.fixture(scope="session", autouse=True)
def static_files():
    """Pages refuse to render a static file that is not there, so the real ones are collected."""
    from django.core.management import call_command

    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture(autouse=True)
def quick_and_separate(settings):
    """Passwords are hashed quickly, and no test sees another's cache entries."""
    from django.core.cache import cache

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()


@pytest.fixture
def new_client():
    """Makes visitors that come through the gateway, as in production: it states scheme, address and request id."""
    from django.test import Client

    def make(**options):
        return Client(
            headers={
                "Host": "shop.example.test",
                "X-Forwarded-Proto": "https",
                "X-Forwarded-For": "203.0.113.7",
                "X-Request-ID": "test-request-1",
            },
            **options,
        )

    return make


@pytest.fixture
def client(new_client):
    return new_client()


@pytest.fixture
def make_user(db):
    from accounts.models import User

    def make(username="ada", **fields):
        return User.objects.create_user(username, password="correct horse battery", **fields)

    return make


@pytest.fixture
def signed_in(client, make_user):
    user = make_user()
    client.force_login(user)
    client.user = user
    return client


@pytest.fixture
def make_product(db):
    """Makes products, each with a category of its own kind unless one is given."""
    from catalog.models import Category, Product

    def make(name="Oak serving tray", *, category="Table", reviews=(), **fields):
        shelf, _ = Category.objects.get_or_create(
            slug=category.lower(), defaults={"name": category, "description": f"About {category}."}
        )
        number = Product.objects.count() + 1
        slug = name.lower().replace(" ", "-")
        row = {
            "sku": f"T-{number:03}",
            "slug": slug,
            "summary": "For two.",
            "description": "Made of one piece.",
            "price": "64.90",
            "stock": 5,
        }
        product = Product.objects.create(category=shelf, name=name, **row | fields)
        for rating in reviews:
            product.reviews.create(name="Ada", rating=rating, text=f"A {rating} from me.")
        return product

    return make


@pytest.fixture
def product(make_product):
    return make_product()
