"""The feed tells every change once, as soon as others can see it, and never claims to know what it did not ask."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest
from catalog.models import Category, Review
from django.db import connection

from gateway_cache import feed, purge
from gateway_cache.feed import Changes, Horizon, UnavailableError
from gateway_cache.pages import purge_everything

pytestmark = pytest.mark.django_db(transaction=True)

RENAME = "UPDATE catalog_category SET position = position + 1"


def test_transaction_that_began_first_and_commits_last_is_told(changes, other, product):
    """Its record has the lower number, so whoever asks for higher numbers than the last never hears of it."""
    early, late = other(), other()
    changes.heard()
    early.execute(RENAME)  # takes its number, and the record's
    late.execute("UPDATE catalog_product SET stock = 1")
    late.commit()
    assert "catalog.product" in changes.heard()
    early.commit()
    assert changes.heard() == {"catalog.category", f"catalog.category:{product.category_id}"}
    assert changes.heard() == set()


def test_xmin_stays_below_a_transaction_that_is_under_way(changes, other, product):
    """A page rendered now does not show it, so its change must count as later than the page."""
    early = other()
    early.execute(RENAME)
    purge("something", "else")  # time goes on
    before = changes.ask()["xmin"]
    changes.heard()
    early.commit()
    [[xid, _]] = [one for one in changes.ask()["changes"] if "catalog.category" in one[1]]
    assert xid >= before
    changes.heard()
    assert changes.ask()["xmin"] > xid


def test_change_is_there_as_soon_as_its_commit_returns(changes, product):
    for _ in range(50):
        Category.objects.filter(pk=product.category_id).update(position=1)
        assert f"catalog.category:{product.category_id}" in changes.heard()


def test_unknown_cursor_is_told_all_that_is_kept(changes, product):
    changes.heard()
    for cursor in ("", "nonsense", "0123456789abcdef:999999", changes.cursor + "x", ":"):
        told = changes.changes.since(cursor)["changes"]
        assert any("catalog.product" in keys for _, keys in told), cursor
    assert changes.ask()["changes"] == []


def test_two_gateways_hear_the_same(changes, product):
    changes.heard()
    first = changes.changes.since("")["cursor"]
    Category.objects.update(position=7)
    assert changes.heard() == {key for _, keys in changes.changes.since(first)["changes"] for key in keys}


def test_plain_user_of_the_database_may_ask(other):
    """No superuser: an app's own user has to do."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE reader; GRANT USAGE ON SCHEMA public TO reader; GRANT SELECT ON gateway_cache_change TO reader")
    try:
        stranger = other()
        stranger.execute("SET ROLE reader")
        row = stranger.execute(feed.CHANGES, {"seen": feed.NOTHING, "many": 10}).fetchone()
        assert row[0].count(".") == 5
        stranger.close()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_burst_is_told_as_everything(changes, product, monkeypatch):
    """A loop of saves must not make an answer of megabytes."""
    monkeypatch.setattr(feed, "MANY", 20)
    changes.heard()
    for n in range(30):
        Review.objects.create(product=product, name="Ada", rating=5, text=str(n))
    assert changes.heard() == {"*"}
    Category.objects.update(position=2)
    assert "catalog.category" in changes.heard()


def test_few_records_of_many_keys_are_a_burst_too(changes, product, monkeypatch):
    """An import in parts of 200 rows makes few records, and an answer of megabytes all the same."""
    monkeypatch.setattr(feed, "MANY", 50)
    changes.heard()
    for part in "ab":
        Category.objects.bulk_create(Category(name=f"{part}{n}", slug=f"{part}{n}") for n in range(30))
    assert changes.heard() == {"*"}


def test_log_is_bounded(changes, product, monkeypatch):
    """Who is new is told "everything" for what is too long ago; who keeps asking hears each change."""
    changes.heard()
    monkeypatch.setattr(feed, "MANY", 5)
    for n in range(40):
        Category.objects.filter(pk=product.category_id).update(position=n)
        assert changes.heard() == {"catalog.category", f"catalog.category:{product.category_id}"}
    told = changes.changes.since("")["changes"]
    assert len(told) <= 11
    assert {"*", f"catalog.category:{product.category_id}"} <= {key for _, keys in told for key in keys}


def test_old_changes_are_forgotten_by_snapshots_not_by_time(other, query, product):
    """A transaction may write its record now and commit it in an hour: it is new when it becomes visible."""
    now = [0.0]
    changes = Changes(query, clock=lambda: now[0])
    slow = other()
    slow.execute(RENAME)
    changes.since("")
    for now[0] in (feed.KEEP_SECONDS, 2 * feed.KEEP_SECONDS, 3 * feed.KEEP_SECONDS):
        cursor = changes.since("")["cursor"]
    slow.commit()
    now[0] += feed.KEEP_SECONDS
    changes.since(cursor)
    with connection.cursor() as asked:
        asked.execute("SELECT count(*) FROM gateway_cache_change WHERE 'catalog.category' = ANY (keys)")
        assert asked.fetchone()[0] == 1
        for _ in range(3):
            now[0] += feed.KEEP_SECONDS
            purge("time-goes-on")
            changes.since(cursor)
        asked.execute("SELECT count(*) FROM gateway_cache_change WHERE 'catalog.category' = ANY (keys)")
        assert asked.fetchone()[0] == 0


def test_horizon_names_what_ended_long_enough_ago():
    now = [0.0]
    horizon = Horizon(100, clock=lambda: now[0])
    assert horizon.note(10) is None
    now[0] = 99
    assert horizon.note(20) is None
    now[0] = 150
    assert horizon.note(30) == 10


@pytest.mark.parametrize(
    "event",
    [
        lambda: _sql("ALTER TABLE catalog_review DISABLE TRIGGER ALL; ALTER TABLE catalog_review ENABLE TRIGGER ALL"),
        lambda: _sql("VACUUM FULL gateway_cache_change"),
    ],
    ids=["triggers off and on", "table made anew"],
)
def test_what_cannot_be_compared_is_another_epoch(changes, event):
    before = changes.ask()["epoch"]
    event()
    assert changes.ask()["epoch"] != before


def test_purge_of_everything_is_told_as_such(changes):
    """Every gateway watches this key for every page."""
    purge_everything()
    assert changes.heard() == {"*"}


def _sql(text):
    with connection.cursor() as cursor:
        cursor.execute(text)


# -- The program


@pytest.fixture
def start(tmp_path, url):
    """Starts the feed as a unit does, as a file that knows nothing of Django."""
    started = []

    def start(*arguments, **environment):
        path = tmp_path / "feed.sock"
        command = [sys.executable, "-I", feed.__file__, "--socket", str(path), *arguments]
        started.append(subprocess.Popen(command, env=os.environ | {"DATABASE_URL": url} | environment))
        for _ in range(500):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as trial:
                trial.connect(str(path))
                break
            time.sleep(0.02)
        return lambda since="": get(path, f"/changes?since={since}")

    yield start
    for process in started:
        process.kill()
        process.wait()


def get(path, target):
    client = http.client.HTTPConnection("localhost", timeout=10)
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.settimeout(10)
    client.sock.connect(str(path))
    client.request("GET", target)
    answer = client.getresponse()
    body = json.loads(answer.read())
    client.close()
    return answer.status, body


def test_program_answers(start, product):
    ask = start("--content", "abc")
    status, answer = ask()
    assert status == 200
    assert answer["content"] == "abc"
    assert any(f"catalog.product:{product.pk}" in keys for _, keys in answer["changes"])
    assert ask(answer["cursor"])[1]["changes"] == []


def test_cut_connection_is_503_or_asked_anew_never_an_old_answer(start, other):
    """An answer out of memory would let a gateway serve what is long gone."""
    ask = start("--content", "abc")
    assert ask()[0] == 200
    boss = other(autocommit=True)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gateway-cache-feed'"
    assert boss.execute(cut).fetchall() == [(True,)]
    assert ask()[0] == 503
    status, answer = ask()
    assert status == 200
    cursor = answer["cursor"]
    boss.execute("UPDATE catalog_category SET position = 1; INSERT INTO gateway_cache_change (keys) VALUES ('{marked}')")
    assert boss.execute(cut).fetchall() == [(True,)]
    assert ask(cursor)[0] == 503
    status, answer = ask(cursor)
    assert (status, answer["changes"][-1][1]) == (200, ["marked"])


def test_database_that_hangs_is_503(start, other):
    """A statement that gets no answer is given up, and later ones are not told what the last one said."""
    ask = start("--content", "abc")
    assert ask()[0] == 200
    lock = other()
    lock.execute("LOCK TABLE gateway_cache_change IN ACCESS EXCLUSIVE MODE")
    began = time.monotonic()
    assert ask()[0] == 503
    assert time.monotonic() - began < 5
    lock.rollback()
    assert ask()[0] == 200


def test_no_database_at_all_is_503(start):
    assert start("--content", "abc", DATABASE_URL="postgres://nobody:x@127.0.0.1:1/none")()[0] == 503


def test_without_database_only_content_is_told(start):
    assert start("--content", "abc", DATABASE_URL="")() == (200, {"content": "abc", "epoch": "", "xmin": 0, "cursor": "", "changes": []})


def test_content_is_that_of_the_release_that_serves_now(start, tmp_path):
    releases = tmp_path / "releases"
    for name in ("one", "two"):
        (releases / name).mkdir(parents=True)
        (releases / name / "content").write_text(f"content-{name}\n")
    current = tmp_path / "current"
    current.symlink_to(releases / "one")
    ask = start("--current", str(current), "--releases", str(releases), DATABASE_URL="")
    assert ask()[1]["content"] == "content-one"
    current.unlink()
    assert ask()[0] == 503
    current.symlink_to(releases / "two")
    assert ask()[1]["content"] == "content-two"


def test_many_ask_at_once(start, product):
    ask = start("--content", "abc")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask()[0])) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 20


def test_feed_needs_nothing_but_psycopg():
    """It is copied to the host as one file and run by the system's Python."""
    text = Path(feed.__file__).read_text()
    assert "django" not in {line.split()[1].partition(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))}


def test_failure_reaches_all_who_waited_and_nobody_later(query):
    changes = Changes(query)
    changes.since("")

    def broken(sql, values):
        raise UnavailableError("away")

    changes._query = broken
    with pytest.raises(UnavailableError):
        changes.since("")
    changes._query = query
    assert changes.since("")["epoch"]


def test_dump_and_restore_is_another_epoch(changes, url, tmp_path, product, other):
    """Whatever was rendered before or during a restore must not be served after it."""
    environment = os.environ | {"PGCONNECT_TIMEOUT": "5"}
    dump = tmp_path / "dump"
    subprocess.run(["pg_dump", "-Fc", "-f", str(dump), url], check=True, env=environment)
    before = changes.ask()["epoch"]
    connection.close()
    epochs = []
    stop = threading.Event()

    def watch():
        while not stop.wait(0.005):
            try:
                epochs.append(changes.ask()["epoch"])
            except UnavailableError:
                epochs.append(None)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        subprocess.run(["pg_restore", "--clean", "--if-exists", "-d", url, str(dump)], check=True, env=environment)
    finally:
        stop.set()
        watcher.join()
    after = changes.ask()["epoch"]
    assert after != before
    with psycopg.connect(url) as stranger:
        [[last_data]] = stranger.execute("SELECT max(oid) FROM pg_trigger WHERE tgname LIKE 'gateway_cache_%'").fetchall()
    assert last_data
    changes.heard()
    Category.objects.filter(pk=product.category_id).update(position=1)
    assert f"catalog.category:{product.category_id}" in changes.heard()
