# {{ ansible_managed }}
"""Settings of a stock peer: the app's own, as such a project would have left them. PEER says which."""

import os

from config.settings import *  # noqa: F403
from config.settings import CACHES, DATABASES, MIDDLEWARE, STORAGES

KIND, NAME = os.environ["PEER_KIND"], os.environ["PEER"]

# One set of processes serves both the cached page and the rendered one: a request with the cookie `bench` passes the cache by.
MIDDLEWARE = [
    "bench_cache.Update",
    *(name for name in MIDDLEWARE if not name.startswith("gateway_cache.")),
    "bench_cache.Fetch",
]
CACHE_MIDDLEWARE_SECONDS = 300
CACHE_MIDDLEWARE_KEY_PREFIX = NAME

if KIND == "ads":
    DATABASES["default"] |= {"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False}
    CACHES["default"] = {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": "127.0.0.1:{{ bench_memcached_port }}",
        "KEY_PREFIX": NAME,
    }
else:
    DATABASES["default"] |= {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": False, "ATOMIC_REQUESTS": True}
    # Redis is the app's, as its own user; keys are within that user's prefix.
    STATIC_ROOT = "{{ bench_home }}/static"
    STORAGES["staticfiles"] = {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
    MIDDLEWARE.insert(
        MIDDLEWARE.index("django.middleware.security.SecurityMiddleware") + 1, "whitenoise.middleware.WhiteNoiseMiddleware"
    )
