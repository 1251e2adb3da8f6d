from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import post_migrate


class GatewayCacheConfig(AppConfig):
    name = "gateway_cache"
    verbose_name = "Gateway cache"

    def ready(self) -> None:
        post_migrate.connect(_synchronise, sender=self)
        checks.register(_check)
        try:
            from cachalot.settings import SUPPORTED_CACHE_BACKENDS
        except ImportError:
            return
        # They are those that it knows, and more; it warns about any other name.
        SUPPORTED_CACHE_BACKENDS.update(f"gateway_cache.backends.Checked{kind}Cache" for kind in ("LocMem", "Redis", "PyMemcache"))


def _synchronise(using: str, verbosity: int = 1, **kwargs: Any) -> None:
    """After any migration: tables may have come, gone, or got other foreign keys."""
    from gateway_cache import conf, triggers

    if using != conf.database():
        return
    done = triggers.synchronise(using)
    if verbosity:
        for what, names in done.items():
            if names:
                print(f"  Gateway cache, triggers {what}: {', '.join(names)}")


def _check(**kwargs: Any) -> list[checks.CheckMessage]:
    from django.conf import settings
    from django.db import connections

    from gateway_cache import conf

    found: list[checks.CheckMessage] = []
    if unknown := sorted(getattr(settings, "GATEWAY_CACHE", {}).keys() - conf.KNOWN):
        found.append(
            checks.Error(f"GATEWAY_CACHE: unknown {', '.join(unknown)}; known are {', '.join(sorted(conf.KNOWN))}", id="gateway_cache.E001")
        )
    if not 0 < conf.seconds() <= conf.MOST_SECONDS:
        found.append(checks.Error(f'GATEWAY_CACHE["seconds"] must be between 1 and {conf.MOST_SECONDS}', id="gateway_cache.E002"))
    if connections[conf.database()].vendor != "postgresql":
        found.append(
            checks.Error("gateway_cache needs PostgreSQL: it stands on transaction snapshots and triggers", id="gateway_cache.E003")
        )
    if "gateway_cache.middleware.GatewayCacheMiddleware" not in settings.MIDDLEWARE[:1]:
        found.append(
            checks.Error(
                "gateway_cache.middleware.GatewayCacheMiddleware must be the first of MIDDLEWARE, to see the cookies that others set",
                id="gateway_cache.E004",
            )
        )
    if "cachalot" in settings.INSTALLED_APPS:
        timeout = getattr(settings, "CACHALOT_TIMEOUT", None)
        if timeout is None or timeout > conf.MOST_SECONDS:
            found.append(
                checks.Error(f"CACHALOT_TIMEOUT must be at most {conf.MOST_SECONDS}; changes are forgotten then", id="gateway_cache.E005")
            )
        for name, value in {"QUERY": "query_key", "TABLE": "table_key"}.items():
            if getattr(settings, f"CACHALOT_{name}_KEYGEN", None) != f"gateway_cache.view.{value}":
                found.append(
                    checks.Error(
                        f'Set CACHALOT_{name}_KEYGEN = "gateway_cache.view.{value}"; without, no result is kept', id="gateway_cache.E006"
                    )
                )
    conf.tracked_models()
    return found
