"""Stand-ins for Redis that can be away."""

from django.core.cache.backends.locmem import LocMemCache

from gateway_cache.backends import Checked


class Store(LocMemCache):
    """What django-redis is with IGNORE_EXCEPTIONS: while Redis is away, reading finds nothing, and writing is lost without a word."""

    away = False
    #: Called before something is stored, as if the network took its time.
    delay = None

    def get_many(self, keys, version=None):
        return {} if Store.away else super().get_many(keys, version)

    def set_many(self, data, timeout=None, version=None):
        if Store.delay is not None:
            delay, Store.delay = Store.delay, None
            delay()
        return [] if Store.away else super().set_many(data, timeout, version)


class CheckedStore(Checked, Store):
    pass
