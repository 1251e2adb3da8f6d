"""Caches for cachalot: results are compared with the database's own record of changes (view.py) before they are given out.

A store that is away makes slower, not stale: what it missed is in the database all the same. So an error is no more than a
result that is not there, and for the next second nobody waits for the store again.
"""

import logging
import pickle
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.locmem import LocMemCache

from gateway_cache import view
from gateway_cache.view import Knowledge, QueryKey

logger = logging.getLogger(__name__)

AWAY_SECONDS = 1
NEAR_SECONDS = 60
NEAR_BYTES = 1024 * 1024


class Near:
    """What the store last gave this process, pickled, since each request gets objects of its own; what was used longest ago goes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
            self._size = 0

    def get(self, key: str) -> Any:
        with self._lock:
            until, pickled = self._kept.get(key, (0, b""))
            if until < time.monotonic():
                return None
            self._kept.move_to_end(key)
        return pickle.loads(pickled)  # noqa: S301 - by this process, and never outside of it

    def put(self, key: str, data: Any) -> None:
        pickled = pickle.dumps(data, pickle.HIGHEST_PROTOCOL)
        if len(pickled) > NEAR_BYTES // 8:
            return
        with self._lock:
            self._size += len(pickled) - len(self._kept.pop(key, (0, b""))[1])
            self._kept[key] = time.monotonic() + NEAR_SECONDS, pickled
            while self._size > NEAR_BYTES:
                self._size -= len(self._kept.popitem(last=False)[1][1])


near = Near()


class Checked:
    """Adds the comparison to a cache backend of Django. cachalot reads and writes by get_many and set_many only."""

    #: What the backend raises when its store is away.
    away_errors: tuple[type[Exception], ...] = ()
    _away_until = 0.0

    def get_many(self, keys: Any, version: int | None = None) -> dict[Any, Any]:
        query = next((key for key in keys if isinstance(key, QueryKey)), None)
        if query is None:
            return self._ask(lambda: super(Checked, self).get_many(keys, version=version), {})
        name = self.make_key(query, version=version)
        data = near.get(name)
        # Within a transaction that wrote, cachalot asks for fewer keys: it knows better of some tables.
        if data is not None and data.keys() == set(keys) and self._check(data, query):
            return data
        data = self._ask(lambda: super(Checked, self).get_many(keys, version=version), {})
        found = {str(key): value for key, value in data.items()}
        if not self._check(data, query):
            data.pop(query, None)
        elif len(found) == len(keys):
            near.put(name, found)
        return data

    def clear(self) -> Any:
        near.clear()
        return super().clear()

    @staticmethod
    def _check(data: dict[Any, Any], query: QueryKey) -> bool:
        """Whether the result is one and still so; the bare result then takes its place."""
        try:
            epoch, xmin, tables, result = data[query]
        except (KeyError, TypeError, ValueError):
            return False
        data[query] = result
        return view.view.holds(Knowledge(epoch, xmin), tables)

    def set_many(self, data: dict[Any, Any], timeout: Any = None, version: int | None = None) -> Any:
        # What a transaction read after it wrote may be rolled back to a savepoint in part.
        wrote = bool(getattr(data, "to_be_invalidated", None))
        kept = {}
        for key, value in data.items():
            if not isinstance(key, QueryKey):
                kept[key] = value
            elif key.state is not None and not wrote:
                kept[key] = (*key.state, frozenset(key.tables), value)
        if not any(isinstance(key, QueryKey) for key in data):
            view.distrust()  # cachalot invalidates, hence something was written
        return self._ask(lambda: super(Checked, self).set_many(kept, timeout=timeout, version=version), [])

    def _ask(self, call: Callable[[], Any], nothing: Any) -> Any:
        if time.monotonic() < self._away_until:
            return nothing
        try:
            return call()
        except self.away_errors as error:
            type(self)._away_until = time.monotonic() + AWAY_SECONDS
            logger.warning("the store of query results is away: %s", error)
            return nothing


class CheckedLocMemCache(Checked, LocMemCache):
    """Each process for itself: nothing that others must hear of is said through the store."""


try:
    from django_redis.cache import RedisCache
    from redis.exceptions import RedisError
except ImportError:
    pass
else:

    class CheckedRedisCache(Checked, RedisCache):
        """Redis by django-redis."""

        away_errors = (RedisError, OSError)


try:
    from django.core.cache.backends.memcached import PyMemcacheCache
    from pymemcache.exceptions import MemcacheError
except ImportError:
    pass
else:

    class CheckedPyMemcacheCache(Checked, PyMemcacheCache):
        """Memcached by pymemcache."""

        away_errors = (MemcacheError, OSError)
