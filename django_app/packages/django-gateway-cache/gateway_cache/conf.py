"""The setting GATEWAY_CACHE."""

from functools import lru_cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS, models
from django.dispatch import receiver

#: How long a page may be kept unless the view or the setting says otherwise. Its changes purge it; this is for what no table shows.
SECONDS = 300
#: Changes are forgotten a minute later (feed.KEEP_SECONDS).
MOST_SECONDS = 3600

KNOWN = {"models", "seconds", "database", "asked_by"}


def setting(name: str, default: Any) -> Any:
    return getattr(settings, "GATEWAY_CACHE", {}).get(name, default)


def database() -> str:
    """The alias of the database that is watched."""
    return setting("database", DEFAULT_DB_ALIAS)


def seconds() -> int:
    return setting("seconds", SECONDS)


def asked_by() -> str | None:
    """The request header by which a gateway says that it may keep the page; None if it does not say."""
    return setting("asked_by", None)


@lru_cache(maxsize=1)
def tracked_models() -> dict[str, type[models.Model]]:
    """The models whose tables are watched, by table; many-to-many tables that Django made by itself included."""
    found: dict[str, type[models.Model]] = {}
    for name in setting("models", []):
        try:
            chosen = [apps.get_model(name)] if "." in name else list(apps.get_app_config(name).get_models())
        except (LookupError, ValueError) as error:
            raise ImproperlyConfigured(f'GATEWAY_CACHE["models"]: {name!r} is neither an app\'s label nor app.Model: {error}') from None
        for model in chosen:
            for one in [*_with_parents(model), *(field.remote_field.through for field in model._meta.many_to_many)]:
                if one._meta.managed and not one._meta.swapped:
                    found[one._meta.db_table] = one
    return found


@lru_cache(maxsize=1)
def tracked_labels() -> dict[str, str]:
    """The watched tables by what keys call them."""
    return {model._meta.label_lower: table for table, model in tracked_models().items()}


def tables_of(model: type[models.Model]) -> list[type[models.Model]]:
    """The models in whose tables a row of this one lies: itself, and its parents' in multi-table inheritance."""
    return _with_parents(model)


def _with_parents(model: type[models.Model]) -> list[type[models.Model]]:
    concrete = model._meta.concrete_model or model
    return [concrete, *(parent for parent in concrete._meta.get_parent_list() if not parent._meta.proxy)]


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "GATEWAY_CACHE":
        tracked_models.cache_clear()
        tracked_labels.cache_clear()
