"""The services behind the site, each given by one URL: database, cache, mail."""

from typing import Any
from urllib.parse import urlsplit

from environ import Env
from redis.backoff import NoBackoff
from redis.retry import Retry

# A database that is cut off must fail within five seconds, not hang: an open connection that gets no answer is
# given up after tcp_user_timeout (or by keep-alive probes while it waits), a new one after connect_timeout.
# Query options in DATABASE_URL win.
DATABASE_PATIENCE = {
    "connect_timeout": 2,
    "tcp_user_timeout": 2000,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 2,
}


def database(url: str) -> dict[str, Any]:
    if not url.startswith(("postgres://", "postgresql://")):
        raise ValueError("must start with postgres://")
    # The library's own errors may quote the URL, and with it the password.
    try:
        config = Env.db_url_config(url)
    except Exception:
        raise ValueError("is not a valid database URL") from None
    if not config["NAME"]:
        raise ValueError("must name the database: postgres://user:password@host:5432/name")
    return config | {
        "OPTIONS": DATABASE_PATIENCE | config.get("OPTIONS", {}),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
    }


def cache(url: str) -> dict[str, Any]:
    return memcached(url) if urlsplit(url).scheme == "pymemcache" else redis_cache(url)


def redis_cache(url: str) -> dict[str, Any]:
    if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("must start with redis://, rediss://, unix:// or pymemcache://")
    return {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": url,
        "OPTIONS": {
            # A cache that is away makes pages slower, never broken. Nothing lies here that may not be lost.
            "IGNORE_EXCEPTIONS": True,
            "COMPRESSOR": "django_redis.compressors.lz4.Lz4Compressor",
            "SOCKET_CONNECT_TIMEOUT": 0.5,
            "SOCKET_TIMEOUT": 0.5,
            # Once and at once, which mends a connection kept over a restart; the default waits between three tries.
            "CONNECTION_POOL_KWARGS": {"retry": Retry(NoBackoff(), 1)},
        },
    }


def queue(url: str) -> str:
    if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("must start with redis://, rediss:// or unix://")
    return url


def memcached(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if bool(parts.netloc) == bool(parts.path.strip("/")):
        raise ValueError("must name either a socket, pymemcache:///run/memcached.sock, or pymemcache://host:11211")
    return {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": parts.netloc or f"unix:{parts.path}",
        "OPTIONS": {
            "ignore_exc": True,
            "connect_timeout": 0.5,
            "timeout": 0.5,
            # A server that came back is used again, and not left alone for a minute.
            "retry_attempts": 1,
            "retry_timeout": 1,
            "dead_timeout": 1,
        },
    }


# For query results. There an error is noticed, so that for a second nobody waits again; what was lost is made good.
CHECKED = {
    "django.core.cache.backends.locmem.LocMemCache": "gateway_cache.backends.CheckedLocMemCache",
    "django_redis.cache.RedisCache": "gateway_cache.backends.CheckedRedisCache",
    "django.core.cache.backends.memcached.PyMemcacheCache": "gateway_cache.backends.CheckedPyMemcacheCache",
}


def query_results(cache: dict[str, Any]) -> dict[str, Any]:
    """The same store for cachalot, whose results are compared with the database's record of changes."""
    swallow = {"IGNORE_EXCEPTIONS", "ignore_exc"}
    options = {name: value for name, value in cache.get("OPTIONS", {}).items() if name not in swallow}
    prefix = f"{cache['KEY_PREFIX']}:rows"
    return cache | {"BACKEND": CHECKED[cache["BACKEND"]], "KEY_PREFIX": prefix, "OPTIONS": options}


# Each process for itself: good enough for one small site, and for tests.
LOCAL_CACHE: dict[str, Any] = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


def mail(url: str) -> dict[str, Any]:
    """Django's EMAIL_* settings."""
    try:
        config = Env.email_url_config(url)
    except Exception:
        raise ValueError("is not a valid mail URL, such as smtp+tls://user:password@host:587") from None
    return {key: value for key, value in config.items() if key.startswith("EMAIL_")} | {"EMAIL_TIMEOUT": 10}
