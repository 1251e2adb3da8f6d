"""What this process knows about changes, and the keys by which cachalot's results are compared with it.

A result is stored with what was known before its query: the number below which all transactions had ended. It is given
out as long as no record of one of its tables has that number or a higher one. What is known is asked for anew in each
request, so a result is never older than the request. Neither clocks nor Redis decide anything.
"""

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, NamedTuple

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, OperationalError, connections

from gateway_cache import conf, keys
from gateway_cache.feed import EPOCH, FORGET, Horizon

#: Outside requests, knowledge may be this old.
MOST_SECONDS = 0.25

#: All records that the last question may not have seen are read again, which does no harm where only the highest counts: a snapshot
#: does not tell its own transaction's number from one that has ended.
CHANGES = f"""
SELECT {EPOCH}, pg_snapshot_xmin(pg_current_snapshot())::text::bigint, current_setting('transaction_isolation'),
    (SELECT json_object_agg(label, xid) FROM (
        SELECT keys[1] AS label, max(xid::text::bigint) AS xid FROM gateway_cache_change WHERE xid >= %(xmin)s::text::xid8 GROUP BY 1
    ) AS news)
"""


class Knowledge(NamedTuple):
    """A state of the database: its epoch, and the number below which all transactions have ended."""

    epoch: str
    xmin: int


class View:
    """The last change of each table. One for all threads; each asks by its own connection, when the answer is older than it needs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost = -math.inf
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._asked = -math.inf
        # Replaced as one, since other threads read it without the lock.
        self._known: tuple[Knowledge | None, dict[str, int]] = (None, {})
        self._horizon, self._passed = Horizon(), 0

    def forget(self) -> None:
        """Delete what no result can be old enough for. The feed does so too, where there is one; never within somebody's transaction."""
        passed, self._passed = self._passed, 0
        connection = connections[conf.database()]
        if passed and not connection.in_atomic_block:
            with contextlib.suppress(Error), connection.cursor() as cursor:
                cursor.execute(FORGET, {"xid": str(passed)})

    def now(self, since: float) -> Knowledge | None:
        """What was known at `since` or later; None if the database does not say.

        Raises what the connection raised if the database is lost: the query that is to come would wait for it once more, and so
        would each thread that waits for the answer here.
        """
        with self._lock:
            if self._asked < since:
                if self._lost >= since:
                    raise OperationalError("the connection to the database was lost a moment ago")
                began = time.monotonic()
                try:
                    self._ask()
                except (Error, ImproperlyConfigured):
                    self._begin_anew()
                    inner = connections[conf.database()].connection
                    if inner is None or inner.closed:
                        self._lost = time.monotonic()
                        raise
                self._asked = began
            return self._known[0]

    def epoch(self, since: float) -> str | None:
        """The epoch if it was asked for at `since` or later; nobody is asked for it now."""
        knowledge = self._known[0]
        return knowledge.epoch if knowledge is not None and self._asked >= since else None

    def _ask(self) -> None:
        connection = connections[conf.database()]
        knowledge, last = self._known
        with connection.cursor() as cursor:
            if knowledge is None:
                # Before the first migration; a failed question would spoil the transaction that we are in.
                cursor.execute("SELECT to_regclass('gateway_cache_change') IS NOT NULL")
                if not cursor.fetchone()[0]:
                    return
            cursor.execute(CHANGES, {"xmin": str(knowledge.xmin if knowledge else 0)})
            epoch, xmin, isolation, news = cursor.fetchone()
            if connection.in_atomic_block and isolation != "read committed":
                # It sees the database as it was when the transaction began.
                self._begin_anew()
                return
            if knowledge is not None and epoch != knowledge.epoch:
                self._begin_anew()
                self._ask()
                return
            news = {label: max(xid, last.get(label, 0)) for label, xid in (news or {}).items()}
            self._known = Knowledge(epoch, xmin), last | news
            self._passed = self._horizon.note(xmin) or self._passed

    def holds(self, state: Knowledge, tables: frozenset[str]) -> bool:
        """Whether what was read from these tables in that state is what they say now."""
        (knowledge, last), models = self._known, conf.tracked_models()
        return (
            knowledge is not None
            and state.epoch == knowledge.epoch
            and last.get("*", 0) < state.xmin
            and all(table in models and last.get(keys.label(models[table]), 0) < state.xmin for table in tables)
        )


view = View()

#: What this request, or the last write in it, needs to know: everything since then.
_since: ContextVar[float] = ContextVar("gateway_cache_since", default=-math.inf)


@contextlib.contextmanager
def request(fresh: bool = True) -> Iterator[None]:
    """Within, what was known before is good enough for MOST_SECONDS; if `fresh`, not at all: a page made from it may be kept as new."""
    token = _since.set(time.monotonic() if fresh else -math.inf)
    try:
        yield
    finally:
        _since.reset(token)
        view.forget()


def distrust() -> None:
    """Something was written here: ask again before the next result is given out."""
    _since.set(math.inf)


def epoch() -> str | None:
    """The epoch as this request knows it, if it had to know."""
    return view.epoch(_since.get())


def knowledge() -> Knowledge | None:
    if _since.get() == math.inf:
        _since.set(time.monotonic())
    if connections[conf.database()].in_atomic_block:
        # What another thread was told may be newer than what this transaction sees; only its own connection knows.
        return view.now(math.inf)
    return view.now(max(_since.get(), time.monotonic() - MOST_SECONDS))


class QueryKey(str):
    """The key of a query's result; it carries what was known when the query was still to come."""

    __slots__ = ("state", "tables")
    state: Knowledge | None
    tables: set[str]


_recording = threading.local()


@lru_cache(maxsize=256)
def tables_in(sql: str, using: str) -> frozenset[str]:
    """The tables of this project's models that a statement in lower case names, in whatever part of it."""
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    quote = connections[using].ops.quote_name
    return frozenset(table for table in tables if quote(table).lower() in sql)


def query_key(compiler: Any) -> QueryKey:
    """cachalot's CACHALOT_QUERY_KEYGEN. cachalot calls table_key for each of the query's tables next, in the same thread.

    cachalot looks for tables in the query's expressions, and does not know all kinds of them. Here they are looked for in the
    statement, which makes CACHALOT_FINAL_SQL_CHECK needless: that does the same, but at each query anew.
    """
    from cachalot.utils import UncachableQuery, get_query_cache_key

    key = QueryKey(get_query_cache_key(compiler))
    tables = tables_in(compiler.__cachalot_generated_sql, compiler.using)
    if not tables <= conf.tracked_models().keys():
        raise UncachableQuery
    key.tables = _recording.tables = set(tables)
    key.state = knowledge() if compiler.using == conf.database() else None
    return key


def table_key(db_alias: str, table: str) -> str:
    """cachalot's CACHALOT_TABLE_KEYGEN. Calls for a later write add to the tables of the query before, which does no harm."""
    if (tables := getattr(_recording, "tables", None)) is not None:
        tables.add(table)
    return f"table:{db_alias}:{table}"
