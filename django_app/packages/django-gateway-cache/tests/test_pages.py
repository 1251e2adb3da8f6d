"""A page says what it shows; one that may be somebody's own says nothing."""

import uuid

import pytest
from catalog.models import Category, Product, Review
from config import urls
from django.contrib.auth.models import Group
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection, models, transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.test import Client, RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from gateway_cache import key, keys, middleware, purge, shows, tag
from gateway_cache.middleware import GatewayCacheMiddleware

pytestmark = pytest.mark.django_db(transaction=True)


def answer(view, method="GET", **headers):
    """What the project's own middleware make of a view."""

    class Urls:
        urlpatterns = [path("page/", view), *urls.urlpatterns]
        handler500 = urls.handler500

    client = Client(headers={"Host": "shop.example.test", "X-Forwarded-Proto": "https"})
    with override_settings(ROOT_URLCONF=Urls):
        return client.generic(method, "/page/", headers=headers)


@shows(Category)
def public(request):
    return HttpResponse("categories")


def test_tagged_page_tells_the_gateway_what_it_shows():
    response = answer(public)
    assert response["Surrogate-Key"] == "catalog.category"
    assert response["Surrogate-Control"] == "max-age=300"


def test_browser_has_to_ask_each_time():
    """It hears of no purge."""
    assert answer(public)["Cache-Control"] == "no-cache"
    own = shows(Category)(lambda request: HttpResponse("x", headers={"Cache-Control": "public, max-age=600"}))
    assert answer(own)["Cache-Control"] == "no-cache"


def test_page_that_the_gateway_will_not_keep_costs_no_tags(settings):
    """No question to the database, none of the work; the browser has to ask all the same."""
    settings.GATEWAY_CACHE = {"models": ["catalog"], "asked_by": "X-Wanted"}
    with CaptureQueriesContext(connection) as queries:
        response = answer(public)
    assert not {"Surrogate-Key", "Surrogate-Control"} & set(response.headers)
    assert response["Cache-Control"] == "no-cache"
    assert not queries
    assert answer(public, X_Wanted="1")["Surrogate-Key"] == "catalog.category"


def test_untagged_page_is_left_alone():
    response = answer(lambda request: HttpResponse("x"))
    assert not {"Surrogate-Key", "Surrogate-Control", "Cache-Control"} & set(response.headers)


def with_cookie(request):
    response = HttpResponse("x")
    response.set_cookie("seen", "1")
    return response


NOT_PUBLIC = {
    "sets a cookie": with_cookie,
    "reads the session": lambda request: HttpResponse(request.session.get("basket", "empty")),
    "writes the session": lambda request: HttpResponse(str(request.session.setdefault("basket", 1))),
    "knows who asks": lambda request: HttpResponse(str(request.user)),
    "has a form": lambda request: HttpResponse(get_token(request)),
    "is private": lambda request: HttpResponse("x", headers={"Cache-Control": "Private, max-age=1"}),
    "is never to be stored": never_cache(lambda request: HttpResponse("x")),
    "is streamed": lambda request: StreamingHttpResponse(["x"]),
    "is not found": lambda request: HttpResponse("x", status=404),
    "redirects": lambda request: HttpResponse(status=302, headers={"Location": "/"}),
    "is a part": lambda request: HttpResponse("x", status=206),
}


@pytest.mark.parametrize("view", NOT_PUBLIC.values(), ids=NOT_PUBLIC)
def test_page_that_may_be_somebodys_own_is_not_offered(view):
    response = answer(lambda request: tag(view(request), Category))
    assert "Surrogate-Key" not in response
    assert "Surrogate-Control" not in response


@pytest.mark.parametrize(("method", "headers"), [("POST", {}), ("PUT", {}), ("GET", {"Authorization": "Basic eDp5"})])
def test_request_that_is_somebodys_own_is_not_answered_for_all(method, headers):
    assert "Surrogate-Key" not in answer(csrf_exempt(public), method, **headers)


def test_page_is_not_offered_while_a_table_is_not_watched():
    """Its changes would not be noticed: an unfinished restore, or another release took the triggers away."""
    assert "Surrogate-Key" in answer(public)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE catalog_category DISABLE TRIGGER gateway_cache_update")
        try:
            assert "Surrogate-Key" not in answer(public)
            assert "Surrogate-Key" in answer(shows(Product)(lambda request: HttpResponse("x")))
        finally:
            cursor.execute("ALTER TABLE catalog_category ENABLE TRIGGER gateway_cache_update")
    assert "Surrogate-Key" in answer(public)


def test_object_rows_and_tables_have_keys(product):
    response = tag(HttpResponse(), product, Category, key(Review, product=product), key(Review, product=product.pk), "hours")
    assert list(response.gateway_cache.keys) == [
        f"catalog.product:{product.pk}",
        "catalog.category",
        f"catalog.review.product:{product.pk}",
        "hours",
    ]
    assert response.gateway_cache.tables == {"catalog_product", "catalog_category", "catalog_review"}


def test_tags_add_up_and_the_shortest_time_counts(product):
    response = tag(tag(tag(HttpResponse(), product, seconds=60), Category, seconds=20), product, seconds=90)
    assert list(response.gateway_cache.keys) == [f"catalog.product:{product.pk}", "catalog.category"]
    assert response.gateway_cache.seconds == 20


def test_no_page_is_kept_longer_than_changes_are():
    assert answer(shows(Category, seconds=86400)(lambda request: HttpResponse("x")))["Surrogate-Control"] == "max-age=3600"


def test_untracked_model_is_refused(make_user):
    """The page would never be purged."""
    for thing in (Group, make_user()):
        with pytest.raises(ImproperlyConfigured, match="is not tracked"):
            tag(HttpResponse(), thing)
    with pytest.raises(ImproperlyConfigured, match="is not tracked"):
        purge(Group)


def test_what_has_no_key_is_refused(product):
    with pytest.raises(TypeError):
        tag(HttpResponse(), 12)
    with pytest.raises(TypeError):
        tag(HttpResponse(), Product.objects.all())
    with pytest.raises(ValueError, match="not saved"):
        tag(HttpResponse(), Product())
    with pytest.raises(ImproperlyConfigured):
        key(Review, rating=5)
    with pytest.raises(ImproperlyConfigured):
        key(Review, nothing=5)


@pytest.mark.parametrize("text", ["two words", "a\nb", "a\r\nSet-Cookie: x=1", "ü", "catalog.product*"])
def test_word_cannot_break_the_header(text):
    assert keys.word(text).isascii()
    assert not set(keys.word(text)) & set(" \r\n\t*")


@pytest.mark.parametrize("text", ["", "x" * 201])
def test_word_that_is_no_key_is_refused(text):
    with pytest.raises(ValueError, match="is no key"):
        keys.word(text)


def test_too_many_keys_become_tables(rf):
    response = HttpResponse()
    for number in range(500):
        tag(response, f"catalog.product:{number}", f"catalog.review.product:{number}")
    GatewayCacheMiddleware(None).mark(response, response.gateway_cache)
    assert response["Surrogate-Key"] == "catalog.product catalog.review"


def test_too_many_words_are_not_offered():
    response = tag(HttpResponse(), *[f"word-{number}" for number in range(600)])
    GatewayCacheMiddleware(None).mark(response, response.gateway_cache)
    assert "Surrogate-Key" not in response


def test_header_fits_into_what_the_gateway_reads():
    assert middleware.HEADER_BYTES <= 4096


def test_every_key_of_a_page_is_touched_by_the_changes_that_it_stands_for(changes, product, make_product):
    """What Python writes and what PostgreSQL writes must be the same words."""
    review = product.reviews.create(name="Ada", rating=5, text="x")
    changes.heard()
    Review.objects.filter(pk=review.pk).update(rating=1)
    heard = changes.heard()
    for thing in (review, Review, key(Review, product=product)):
        assert set(keys.keys_of(thing)) <= heard
    assert not set(keys.keys_of(make_product("Brass lamp"))) & heard


def test_text_and_uuid_keys_are_the_same_in_both(changes):
    """A text may hold anything, so it is hashed, alike here and there."""
    with connection.cursor() as cursor:
        for field, value in ((models.CharField(max_length=9), "a b\n%ü"), (models.UUIDField(), uuid.uuid4())):
            field.set_attributes_from_name("code")
            cursor.execute("SELECT %s::text" if keys.kind(field) == "plain" else "SELECT md5(%s)", [value])
            model = Category
            expected = f"catalog.category.code:{cursor.fetchone()[0]}"
            assert keys.value_key(model, field, value) == expected


# -- By hand


def test_purge_is_part_of_the_transaction(changes, product):
    changes.heard()
    with transaction.atomic():
        purge("hours", product, Category)
        assert changes.heard() == set()
        transaction.set_rollback(True)
    assert changes.heard() == set()
    with transaction.atomic():
        purge("hours", product, Category)
    assert {
        "hours",
        "catalog.product",
        f"catalog.product:{product.pk}",
        f"catalog.product.category:{product.category_id}",
        "catalog.category",
        "catalog.category*",
    } == changes.heard()


def test_command_purges(changes, product):
    changes.heard()
    call_command("purge_pages", "hours", f"catalog.Product:{product.pk}")
    assert {"hours", f"catalog.product:{product.pk}"} <= changes.heard()
    call_command("purge_pages", "--all")
    assert changes.heard() == {"*"}


@pytest.mark.parametrize("arguments", [[], ["x", "--all"], ["catalog.Nothing"], ["catalog.Product:0"]])
def test_command_names_what_is_wrong(arguments):
    with pytest.raises(CommandError):
        call_command("purge_pages", *arguments)


# -- Settings


def identities():
    return {message.id for message in run_checks() if message.id.startswith("gateway_cache")}


def test_settings_of_the_reference_project_pass():
    assert identities() == set()


@pytest.mark.parametrize(
    ("value", "expected"),
    [({"model": []}, "gateway_cache.E001"), ({"seconds": 7200}, "gateway_cache.E002"), ({"seconds": 0}, "gateway_cache.E002")],
)
def test_wrong_setting_is_named(settings, value, expected):
    settings.GATEWAY_CACHE = value
    assert identities() == {expected}


def test_unknown_model_is_named(settings):
    settings.GATEWAY_CACHE = {"models": ["catalogue"]}
    with pytest.raises(ImproperlyConfigured, match="catalogue"):
        run_checks()


def test_middleware_comes_first(settings):
    """After the session's it would not see the cookie that is set there."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE[1:], settings.MIDDLEWARE[0]]
    assert identities() == {"gateway_cache.E004"}


def test_request_factory_without_session_works():
    """A project may have none."""
    request = RequestFactory().get("/")
    assert middleware.is_public(request, HttpResponse())
