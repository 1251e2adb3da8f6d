"""Counting in the cache. A cache that is away or has forgotten lets people through: no customer is stopped by it."""

import contextlib
import hashlib

from django.core.cache import cache
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    # The gateway replaces this header with the address it saw, so there is one entry and it can be trusted.
    return request.headers.get("X-Forwarded-For") or request.META.get("REMOTE_ADDR", "")


class Throttle:
    def __init__(self, name: str, limit: int, seconds: int) -> None:
        self.name, self.limit, self.seconds = name, limit, seconds

    def is_exceeded(self, *who: str) -> bool:
        return (cache.get(self._key(who)) or 0) >= self.limit

    def count(self, *who: str) -> None:
        key = self._key(who)
        if not cache.add(key, 1, self.seconds):
            with contextlib.suppress(ValueError):  # it expired in between, or the cache is away
                cache.incr(key)

    def reset(self, *who: str) -> None:
        cache.delete(self._key(who))

    def _key(self, who: tuple[str, ...]) -> str:
        # Hashed, so that the cache holds no names and no addresses.
        return f"throttle:{self.name}:{hashlib.sha256(repr(who).encode()).hexdigest()[:32]}"
