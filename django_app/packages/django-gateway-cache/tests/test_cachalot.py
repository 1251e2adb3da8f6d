"""django-cachalot never gives out what is not so any more; each race is forced, and without our backend each is lost."""

import threading
import time

import pytest
from cachalot.api import cachalot_disabled
from cachalot.settings import cachalot_settings
from catalog.models import Category, Product, Review
from django.core.cache import caches
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.models import Exists, OuterRef
from django.test.utils import CaptureQueriesContext

from gateway_cache import backends, view
from gateway_cache.feed import KEEP_SECONDS, Horizon
from gateway_cache.pages import purge_everything

from .stores import Store

pytestmark = pytest.mark.django_db(transaction=True)

OURS, RAISING, PLAIN = "tests.stores.CheckedStore", "tests.stores.CheckedRaisingStore", "tests.stores.Store"
KEYGEN = dict.fromkeys([OURS, RAISING], ("gateway_cache.view.query_key", "gateway_cache.view.table_key"))
KEYGEN[PLAIN] = ("cachalot.utils.get_query_cache_key", "cachalot.utils.get_table_cache_key")

SQL = "UPDATE catalog_category SET name = 'New' WHERE id = %s"


@pytest.fixture
def start(settings, transactional_db):
    """Switches cachalot on, with a store of the given kind."""

    def start(backend):
        settings.CACHES = settings.CACHES | {"cachalot": {"BACKEND": backend, "LOCATION": "cachalot"}}
        settings.CACHALOT_CACHE = "cachalot"
        settings.CACHALOT_TIMEOUT = 600
        settings.CACHALOT_ONLY_CACHABLE_TABLES = ["catalog_category", "catalog_product", "catalog_review"]
        settings.CACHALOT_QUERY_KEYGEN, settings.CACHALOT_TABLE_KEYGEN = KEYGEN[backend]
        cachalot_settings.load()
        caches["cachalot"].clear()

    yield start
    Store.away, Store.delay = False, None
    cachalot_settings.unload()


@pytest.fixture
def on(start):
    start(OURS)


@pytest.fixture
def table(db):
    return Category.objects.create(name="Old", slug="table", description="x")


def names():
    """What a request sees."""
    with view.request():
        return [one.name for one in Category.objects.filter(slug="table")]


def asked(call):
    """How many queries for rows a call takes."""
    with CaptureQueriesContext(connection) as queries:
        call()
    return sum("catalog_category" in query["sql"] and "gateway_cache_change" not in query["sql"] for query in queries)


def elsewhere(call):
    """Runs in another thread, hence by another connection."""

    def run():
        try:
            call()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def save_elsewhere(table):
    elsewhere(lambda: Category.objects.filter(pk=table.pk).update(name="New"))


def test_second_request_asks_for_no_row(on, table):
    assert asked(names) == 1
    assert asked(names) == 0
    assert names() == ["Old"]


def test_knowledge_costs_one_query_a_request(on, table):
    names()
    with CaptureQueriesContext(connection) as queries, view.request():
        for slug in ("table", "x", "table", "x"):
            list(Category.objects.filter(slug=slug))
    assert sum("gateway_cache_change" in query["sql"] for query in queries) == 1


def test_write_is_seen_by_the_next_request(on, table):
    names()
    Category.objects.filter(pk=table.pk).update(name="New")
    assert names() == ["New"]


def test_triggers_are_looked_for_once_an_epoch(on, client, product):
    """A request that knows the epoch need not ask whether all tables are watched; one that finds another epoch must."""
    looks = lambda: sum("pg_class" in query["sql"] for query in queries)  # noqa: E731
    client.get("/catalog/")
    with CaptureQueriesContext(connection) as queries:
        assert "Surrogate-Key" in client.get("/catalog/")
    assert looks() == 0
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE catalog_review DISABLE TRIGGER gateway_cache_insert")
    try:
        assert "Surrogate-Key" not in client.get("/catalog/")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE catalog_review ENABLE TRIGGER gateway_cache_insert")
    assert "Surrogate-Key" in client.get("/catalog/")


# -- Races. Each is a preparation after which a result of before lies in the store as if it were good.


def straddle_a_commit(table, other):
    """The query saw the old row; before its result is stored, somebody changes the row and invalidates."""
    Store.delay = lambda: save_elsewhere(table)
    assert names() == ["Old"]


def read_between_invalidation_and_write(table, other):
    """Without a transaction cachalot invalidates before it writes, so a reader in between stores the old row after that."""
    before = connection.execute_wrappers
    done = []

    def wrapper(execute, sql, params, many, context):
        if sql.startswith("UPDATE") and not done:
            done.append(1)
            elsewhere(names)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper):
        Category.objects.filter(pk=table.pk).update(name="New")
    assert done
    assert connection.execute_wrappers is before


def lose_an_invalidation(table, other):
    """Redis was away when somebody wrote."""
    names()
    Store.away = True
    Category.objects.filter(pk=table.pk).update(name="New")
    assert names() == ["New"]
    Store.away = False


def write_past_django(table, other):
    """psql by hand, or another program."""
    names()
    stranger = other()
    stranger.execute(SQL, [table.pk])
    stranger.commit()


def keep_a_clock_that_goes_wrong(table, other):
    """The reader's host is ahead: its stamps are later than anybody's invalidation."""
    from unittest import mock

    from cachalot import monkey_patch

    with mock.patch.object(monkey_patch, "time", lambda: 4e9):
        caches["cachalot"].clear()
        names()
    caches["cachalot"].set_many({cachalot_settings.CACHALOT_TABLE_KEYGEN("default", "catalog_category"): 1.0})
    Category.objects.filter(pk=table.pk).update(name="New")


RACES = [straddle_a_commit, read_between_invalidation_and_write, lose_an_invalidation, write_past_django, keep_a_clock_that_goes_wrong]


@pytest.mark.parametrize("race", RACES)
def test_race_is_won(on, table, other, race):
    race(table, other)
    assert names() == ["New"]
    assert names() == ["New"]


@pytest.mark.parametrize("race", RACES)
def test_race_is_lost_by_cachalot_alone(start, table, other, race):
    """The proof that the races above are races: the same preparation, the same store, without the comparison."""
    start(PLAIN)
    race(table, other)
    assert names() == ["Old"]


def test_transaction_that_commits_last_is_seen(on, table, other):
    """It took its number before, so a result must not pass for younger than it."""
    slow = other()
    slow.execute(SQL, [table.pk])
    assert names() == ["Old"]
    assert names() == ["Old"]
    slow.commit()
    assert names() == ["New"]


def test_result_of_a_request_may_not_be_from_before_it(on, table, other):
    """What a process knows is shared by its threads; what one knows from before is not good enough for the next."""
    names()
    with view.request():
        list(Category.objects.filter(slug="table"))
        stranger = other()
        stranger.execute(SQL, [table.pk])
        stranger.commit()
        seen = []
        elsewhere(lambda: seen.extend(names()))
    assert seen == ["New"]


@pytest.mark.parametrize(("cookie", "seen"), [("csrftoken", "New"), ("sessionid", "New"), ("other", "Old")])
def test_who_may_have_written_sees_it_at_once(on, settings, client, table, other, cookie, seen):
    """They were sent on to the page by another process, a moment after this one asked; nobody else is in such a hurry."""
    settings.GATEWAY_CACHE = settings.GATEWAY_CACHE | {"asked_by": "X-Asked"}
    client.get("/catalog/table/")
    assert "Old" in client.get("/catalog/table/").text
    stranger = other()
    stranger.execute(SQL, [table.pk])
    stranger.commit()
    client.cookies[cookie] = "x"
    assert seen in client.get("/catalog/table/").text
    time.sleep(view.MOST_SECONDS)
    del client.cookies[cookie]
    assert "New" in client.get("/catalog/table/").text


def test_own_write_is_seen_in_the_same_request_with_redis_coming_and_going(on, table):
    with view.request():
        list(Category.objects.filter(slug="table"))
        Store.away = True
        Category.objects.filter(pk=table.pk).update(name="New")
        Store.away = False
        assert [one.name for one in Category.objects.filter(slug="table")] == ["New"]


def test_hook_after_commit_sees_the_new_row(on, table):
    seen = []
    names()
    with view.request(), transaction.atomic():
        list(Category.objects.filter(slug="table"))
        Category.objects.filter(pk=table.pk).update(name="New")
        transaction.on_commit(lambda: seen.extend(one.name for one in Category.objects.filter(slug="table")))
        transaction.on_commit(lambda: elsewhere(lambda: seen.extend(names())))
    assert seen == ["New", "New"]


def test_rollback_leaves_no_phantom(on, table):
    with transaction.atomic():
        Category.objects.filter(pk=table.pk).update(name="Never")
        assert [one.name for one in Category.objects.filter(slug="table")] == ["Never"]
        transaction.set_rollback(True)
    assert names() == ["Old"]


def test_savepoint_rolled_back_by_hand_leaves_no_phantom(on, table):
    """cachalot does not hear of it, and stores at the commit what was read in between; the record of the change is gone."""
    with transaction.atomic():
        point = transaction.savepoint()
        Category.objects.filter(pk=table.pk).update(name="Never")
        assert [one.name for one in Category.objects.filter(slug="table")] == ["Never"]
        transaction.savepoint_rollback(point)
    caches["cachalot"].delete_many(["table:default:catalog_category"])
    assert names() == ["Old"]


def test_what_a_reading_transaction_read_is_kept(on, table):
    """With ATOMIC_REQUESTS there is no other kind."""
    with view.request(), transaction.atomic():
        list(Category.objects.filter(slug="table"))
    assert asked(names) == 0


def test_old_snapshot_neither_uses_nor_spreads_old_knowledge(on, table, other):
    """A transaction of the level repeatable read looks at the database as it was; others must not believe it is now."""
    names()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT 1 FROM catalog_product")
        stranger = other()
        stranger.execute(SQL, [table.pk])
        stranger.commit()
        with view.request():
            assert [one.name for one in Category.objects.filter(slug="table")] == ["Old"]
        seen = []
        elsewhere(lambda: seen.extend(names()))
    assert seen == ["New"]
    assert names() == ["New"]


def test_old_snapshot_does_not_use_what_another_thread_knows(on, table):
    """What it reads would be stored as if it was read now, and be given to everybody."""

    def look():
        return [one.name for one in Category.objects.filter(slug="table", description="x")]

    with view.request(), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT 1 FROM catalog_product")
        save_elsewhere(table)
        elsewhere(names)
        assert look() == ["Old"]
    with view.request():
        assert look() == ["New"]


def test_emptied_store_makes_slower_not_stale(on, table):
    names()
    Category.objects.filter(pk=table.pk).update(name="New")
    caches["cachalot"].clear()
    assert asked(names) == 1
    assert names() == ["New"]


def test_store_that_is_away_is_left_alone_for_a_while(start, table, monkeypatch):
    """A page of ten queries must not wait ten times for a Redis that is cut off."""
    start(RAISING)
    names()
    Store.away, Store.calls = True, 0
    for _ in range(5):
        assert names() == ["Old"]
    assert Store.calls == 1
    Category.objects.filter(pk=table.pk).update(name="New")
    Store.away = False
    monkeypatch.setattr(backends.Checked, "_away_until", 0.0)
    monkeypatch.setattr(type(caches["cachalot"]), "_away_until", 0.0)
    assert names() == ["New"]
    assert asked(names) == 0


def test_another_epoch_ends_all_results(on, table):
    names()
    with cachalot_disabled(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE catalog_category DISABLE TRIGGER ALL")
        Category.objects.filter(pk=table.pk).update(name="Restored")
        cursor.execute("ALTER TABLE catalog_category ENABLE TRIGGER ALL")
    assert names() == ["Restored"]


def test_purge_of_everything_ends_all_results(on, table):
    names()
    assert asked(names) == 0
    purge_everything()
    assert asked(names) == 1


def test_untracked_table_is_never_kept(on, settings, table):
    """No record tells of its changes."""
    settings.GATEWAY_CACHE = {"models": ["catalog.Product"]}
    assert asked(names) == 1
    assert asked(names) == 1


def test_result_is_asked_of_the_store_once(on, table):
    """Then the process has it, and asks the database alone whether it is still so."""
    names(), names()
    Store.calls = 0
    assert asked(names) == 0
    assert names() == ["Old"]
    assert Store.calls == 0
    save_elsewhere(table)
    assert names() == ["New"]
    assert Store.calls > 0


def test_result_in_the_process_is_given_out_no_longer_than_a_minute(on, table, monkeypatch):
    monkeypatch.setattr(backends, "NEAR_SECONDS", -1)
    names(), names()
    Store.calls = 0
    assert asked(names) == 0
    assert Store.calls == 1


def test_results_in_the_process_have_a_limit(monkeypatch):
    monkeypatch.setattr(backends, "NEAR_BYTES", 8000)
    near = backends.Near()
    for number in range(100):
        near.put(str(number), "x" * 400)
        near.get("0")
    near.put("large", "x" * 1100)
    kept = [number for number in range(100) if near.get(str(number))]
    assert kept[0] == 0 and kept[1] > 75
    assert near.get("large") is None
    assert near._size == sum(len(pickled) for _, pickled in near._kept.values()) <= 8000


def test_requests_share_no_objects():
    near = backends.Near()
    near.put("key", [[1]])
    near.get("key")[0].append(2)
    assert near.get("key") == [[1]]


def test_statement_tells_what_cachalot_overlooks(on, table, monkeypatch):
    """Its own search in the query's expressions does not know all kinds of them."""
    from cachalot import monkey_patch

    monkeypatch.setattr(monkey_patch, "_get_table_cache_keys", lambda compiler: [view.table_key("default", "catalog_product")])
    names()
    assert asked(names) == 0
    assert names() == ["Old"]
    save_elsewhere(table)
    assert names() == ["New"]


def test_statement_with_a_table_that_is_not_tracked_is_not_kept(on, table, monkeypatch):
    from accounts.models import User

    found = Category.objects.filter(Exists(User.objects.filter(first_name=OuterRef("name"))))
    for _ in range(2):
        assert asked(lambda: list(found.all())) == 1


def test_table_that_a_subquery_reads_counts(on, product):
    """cachalot has to find it in an annotation."""
    from catalog import selectors

    def rating():
        with view.request():
            return selectors.product_by_slug(product.slug).rating

    assert rating() == 0
    Review.objects.create(product=product, name="Ada", rating=5, text="x")
    assert rating() == 5
    elsewhere(lambda: Review.objects.update(rating=1))
    assert rating() == 1


def test_database_that_does_not_tell_means_no_result(on, table, monkeypatch):
    names()

    def broken(self):
        raise DatabaseError

    monkeypatch.setattr(view.View, "_ask", broken)
    assert asked(names) == 1
    monkeypatch.undo()
    assert names() == ["Old"]


def test_database_that_is_lost_is_waited_for_once(on, table, monkeypatch):
    """Neither the query that comes next nor the other requests of the process wait for the same silence again."""
    waits = []

    def lost(self):
        waits.append(1)
        connection.close()
        raise OperationalError("no route to host")

    def page():
        with pytest.raises(OperationalError):
            list(Category.objects.filter(slug="table"))

    names()
    monkeypatch.setattr(view.View, "_ask", lost)
    with view.request():
        elsewhere(lambda: page_of_its_own(page))
        page()
    assert len(waits) == 1
    monkeypatch.undo()
    assert names() == ["Old"]


def page_of_its_own(page):
    with view.request():
        page()


def test_before_the_first_migration_nothing_breaks(on, table):
    """A question for a table that is not there would spoil the transaction that asks."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE gateway_cache_change RENAME TO elsewhere")
    try:
        view.view._begin_anew()
        with transaction.atomic():
            assert names() == ["Old"]
            assert Product.objects.count() == 0
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO gateway_cache_change")


def test_old_changes_are_forgotten_without_a_feed_too(on, table, monkeypatch):
    """And outside the request's transaction: a deletion must not be rolled back, or hold locks, with what a view does."""
    now = [0.0]
    view.view._begin_anew()
    monkeypatch.setattr(view.view, "_horizon", Horizon(clock=lambda: now[0]))
    Category.objects.filter(pk=table.pk).update(position=1)
    for now[0] in (0, KEEP_SECONDS / 2, KEEP_SECONDS + 1):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM gateway_cache_change")
            assert cursor.fetchone()[0] > 0
        with view.request(), transaction.atomic():
            list(Category.objects.filter(slug="table"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM gateway_cache_change")
        assert cursor.fetchone()[0] == 0


def test_outside_requests_knowledge_is_young(on, table, other, monkeypatch):
    """A worker's loop reads no older than this."""
    list(Category.objects.filter(slug="table"))
    stranger = other()
    stranger.execute(SQL, [table.pk])
    stranger.commit()
    monkeypatch.setattr(view, "MOST_SECONDS", 0)
    assert [one.name for one in Category.objects.filter(slug="table")] == ["New"]
