"""Stand-ins for a Redis that can be away."""

from django.core.cache.backends.locmem import LocMemCache

from gateway_cache.backends import Checked


class Store(LocMemCache):
    """What django-redis is with IGNORE_EXCEPTIONS: while Redis is away, reading finds nothing, and writing is lost without a word."""

    away = False
    #: Called before something is stored, as if the network took its time.
    delay = None
    calls = 0

    def get_many(self, keys, version=None):
        return {} if self.is_away() else super().get_many(keys, version)

    def set_many(self, data, timeout=None, version=None):
        if Store.delay is not None:
            delay, Store.delay = Store.delay, None
            delay()
        return [] if self.is_away() else super().set_many(data, timeout, version)

    def is_away(self):
        Store.calls += 1
        return Store.away


class CheckedStore(Checked, Store):
    pass


class Raising(Store):
    """One that says so when it is away."""

    def is_away(self):
        if super().is_away():
            raise ConnectionError("away")
        return False


class CheckedRaisingStore(Checked, Raising):
    away_errors = (OSError,)
