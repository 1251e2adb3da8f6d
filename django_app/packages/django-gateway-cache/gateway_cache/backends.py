"""Caches for cachalot: results are compared with the database's own record of changes (view.py) before they are given out."""

from typing import Any

from gateway_cache import view
from gateway_cache.view import Knowledge, QueryKey


class Checked:
    """Adds the comparison to a cache backend of Django. cachalot reads and writes by get_many and set_many only."""

    def get_many(self, keys: Any, version: int | None = None) -> dict[Any, Any]:
        data = super().get_many(keys, version=version)
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
        return super().set_many(kept, timeout=timeout, version=version) if kept else []


try:
    from django_redis.cache import RedisCache
except ImportError:
    pass
else:

    class CheckedRedisCache(Checked, RedisCache):
        """django-redis; with IGNORE_EXCEPTIONS, too: an invalidation that got lost is in the database all the same."""


try:
    from django.core.cache.backends.memcached import PyMemcacheCache
except ImportError:
    pass
else:

    class CheckedPyMemcacheCache(Checked, PyMemcacheCache):
        """Memcached by pymemcache."""
