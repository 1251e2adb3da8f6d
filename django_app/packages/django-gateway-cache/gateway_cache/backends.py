"""Caches for cachalot: results are compared with the database's own record of changes (view.py) before they are given out.

A store that is away makes slower, not stale: what it missed is in the database all the same. So an error is no more than a
result that is not there, and for the next second nobody waits for the store again.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.locmem import LocMemCache

from gateway_cache import view
from gateway_cache.view import Knowledge, QueryKey

logger = logging.getLogger(__name__)

AWAY_SECONDS = 1


class Checked:
    """Adds the comparison to a cache backend of Django. cachalot reads and writes by get_many and set_many only."""

    #: What the backend raises when its store is away.
    away_errors: tuple[type[Exception], ...] = ()
    _away_until = 0.0

    def get_many(self, keys: Any, version: int | None = None) -> dict[Any, Any]:
        data = self._ask(lambda: super(Checked, self).get_many(keys, version=version), {})
        for key in [key for key in data if isinstance(key, QueryKey)]:
            try:
                epoch, xmin, tables, result = data[key]
                good = view.view.holds(Knowledge(epoch, xmin), tables)
            except (TypeError, ValueError):
                good = False
            if good:
                data[key] = result
            else:
                del data[key]
        return data

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
