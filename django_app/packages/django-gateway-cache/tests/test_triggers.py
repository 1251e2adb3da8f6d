"""Whoever changes a row, by whatever means, leaves a record; who does not commit leaves none."""

import pytest
from catalog.models import Category, Product, Review
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection, transaction

from gateway_cache import triggers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def review(product):
    return product.reviews.create(name="Ada", rating=5, text="Good.")


def sql(text, *values):
    with connection.cursor() as cursor:
        cursor.execute(text, values)


def save(review):
    review.text = "Better."
    review.save()


def bulk_update(review):
    review.text = "Better."
    Review.objects.bulk_update([review], ["text"])


WRITES = {
    "save": save,
    "queryset.update": lambda review: Review.objects.filter(pk=review.pk).update(rating=4),
    "bulk_update": bulk_update,
    "delete": lambda review: review.delete(),
    "raw SQL": lambda review: sql("UPDATE catalog_review SET rating = 1 WHERE id = %s", review.pk),
    "raw SQL in a comment's shade": lambda review: sql("WITH a AS (DELETE FROM catalog_review WHERE id = %s) SELECT 1", review.pk),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_change_of_a_row_is_recorded(changes, review, write):
    changes.heard()
    pk, product = review.pk, review.product_id
    write(review)
    assert changes.heard() == {"catalog.review", f"catalog.review:{pk}", f"catalog.review.product:{product}"}


def test_new_rows_are_recorded(changes, product):
    changes.heard()
    made = Review.objects.bulk_create([Review(product=product, name="Ada", rating=5, text=str(n)) for n in range(3)])
    assert changes.heard() == {"catalog.review", f"catalog.review.product:{product.pk}"} | {f"catalog.review:{one.pk}" for one in made}


def test_copy_is_recorded(changes, other, product):
    changes.heard()
    stranger = other()
    with stranger.cursor().copy("COPY catalog_category (name, slug, description, drawing, position) FROM STDIN") as copy:
        copy.write_row(("Toys", "toys", "For children.", "travel", 9))
    stranger.commit()
    assert "catalog.category" in changes.heard()


def test_upsert_is_recorded(changes, product):
    changes.heard()
    row = Category(name="x", slug=product.category.slug, description="Other.")
    Category.objects.bulk_create([row], update_conflicts=True, unique_fields=["slug"], update_fields=["description"])
    assert f"catalog.category:{product.category_id}" in changes.heard()


def test_row_that_moves_is_recorded_for_both_owners(changes, review, make_product):
    """Its old product's page shows it no more, its new one's shows it now."""
    old, new = review.product_id, make_product("Brass lamp").pk
    changes.heard()
    Review.objects.filter(pk=review.pk).update(product=new)
    assert {f"catalog.review.product:{old}", f"catalog.review.product:{new}"} <= changes.heard()


def test_cascade_is_recorded(changes, review):
    changes.heard()
    review.product.delete()
    assert {f"catalog.product:{review.product_id}", f"catalog.review:{review.pk}"} <= changes.heard() | {
        f"catalog.product:{review.product_id}"
    }


def test_admin_is_recorded(changes, client, make_user, product):
    client.force_login(make_user(is_staff=True, is_superuser=True))
    changes.heard()
    form = {"name": "Renamed", "slug": "renamed", "description": "x", "drawing": "desk", "position": "3"}
    assert client.post(f"/admin/catalog/category/{product.category_id}/change/", form).status_code == 302
    assert f"catalog.category:{product.category_id}" in changes.heard()


def test_truncate_touches_every_key_of_the_table(changes, review):
    changes.heard()
    sql("TRUNCATE catalog_review")
    assert {"catalog.review", "catalog.review*", "catalog.review.product*"} <= changes.heard()


def test_many_rows_at_once_touch_every_key_of_the_table(changes, product):
    """Ten thousand keys would help nobody."""
    Review.objects.bulk_create(Review(product=product, name="Ada", rating=5, text="x") for _ in range(triggers.ROWS + 1))
    changes.heard()
    Review.objects.update(rating=4)
    assert changes.heard() == {"catalog.review", "catalog.review*", "catalog.review.product*", "catalog.review.author*"}


def test_statement_without_rows_records_nothing(changes, review):
    changes.heard()
    Review.objects.filter(pk=-1).update(rating=4)
    assert changes.heard() == set()


def test_rollback_records_nothing(changes, review):
    changes.heard()
    with transaction.atomic():
        save(review)
        transaction.set_rollback(True)
    assert changes.heard() == set()


def test_rolled_back_savepoint_records_nothing(changes, review):
    changes.heard()
    with transaction.atomic():
        with transaction.atomic():
            review.delete()
            transaction.set_rollback(True)
        Category.objects.filter(pk=review.product.category_id).update(position=3)
    assert changes.heard() == {"catalog.category", f"catalog.category:{review.product.category_id}"}


def test_many_to_many_is_recorded(changes, settings, make_user):
    """Django makes that table by itself, so nobody names it."""
    settings.GATEWAY_CACHE = {"models": ["accounts.User", "auth.Group"]}
    user, group = make_user(), Group.objects.create(name="Editors")
    try:
        triggers.synchronise("default")
        changes.heard()
        user.groups.add(group)
        assert {"accounts.user_groups", f"accounts.user_groups.user:{user.pk}", f"accounts.user_groups.group:{group.pk}"} <= changes.heard()
    finally:
        settings.GATEWAY_CACHE = {"models": ["catalog"]}
        triggers.synchronise("default")


def test_another_user_of_the_database_may_write(changes, other, review):
    """Who may write a row need not have a right to the table of changes."""
    sql("CREATE ROLE clerk; GRANT USAGE ON SCHEMA public TO clerk; GRANT SELECT, UPDATE ON catalog_review TO clerk")
    try:
        changes.heard()
        stranger = other()
        stranger.execute("SET ROLE clerk")
        stranger.execute("UPDATE catalog_review SET rating = 2")
        stranger.commit()
        stranger.close()
        assert f"catalog.review:{review.pk}" in changes.heard()
    finally:
        sql("DROP OWNED BY clerk; DROP ROLE clerk")


def test_column_that_a_migration_removed_stops_no_write(changes, review):
    """The migration's own next step may write, before the triggers are made anew; the table as a whole is recorded."""
    sql("ALTER TABLE catalog_review RENAME COLUMN author_id TO writer_id")
    try:
        changes.heard()
        sql("UPDATE catalog_review SET rating = 1")
        assert {"catalog.review", "catalog.review*", "catalog.review.product*"} <= changes.heard()
    finally:
        sql("ALTER TABLE catalog_review RENAME COLUMN writer_id TO author_id")


def test_triggers_follow_the_setting(settings):
    before = triggers.watched_tables("default")
    assert before == {"catalog_category", "catalog_product", "catalog_review", "catalog_photo"}
    settings.GATEWAY_CACHE = {"models": ["catalog.Category"]}
    try:
        call_command("migrate", verbosity=0)
        assert triggers.watched_tables("default") == {"catalog_category"}
    finally:
        settings.GATEWAY_CACHE = {"models": ["catalog"]}
        call_command("migrate", verbosity=0)
    assert triggers.watched_tables("default") == before


def test_second_migrate_touches_no_trigger(changes):
    """Each touched trigger would lock its table, and change the epoch, hence drop all pages."""
    epoch = changes.ask()["epoch"]
    call_command("migrate", verbosity=0)
    assert changes.ask()["epoch"] == epoch
    assert triggers.synchronise("default") == {"made": [], "removed": []}


def test_trigger_that_was_switched_off_comes_back(changes):
    sql("ALTER TABLE catalog_review DISABLE TRIGGER ALL")
    assert "catalog_review" not in triggers.watched_tables("default")
    call_command("migrate", verbosity=0)
    sql("ALTER TABLE catalog_review ENABLE TRIGGER ALL")
    assert "catalog_review" in triggers.watched_tables("default")


def test_nothing_is_left_when_the_app_goes(review):
    """A trigger without its table would refuse every write."""
    call_command("migrate", "gateway_cache", "zero", verbosity=0)
    try:
        save(review)
        assert triggers.watched_tables("default") == set()
    finally:
        call_command("migrate", verbosity=0)
    assert "catalog_review" in triggers.watched_tables("default")
    assert Product.objects.exists()
