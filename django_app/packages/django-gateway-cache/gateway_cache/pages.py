"""Saying what a page shows, and that something changed which no table tells."""

import functools
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import chain
from types import FunctionType
from typing import Any

from django.db import connections
from django.http import HttpResponseBase

from gateway_cache import conf, keys

#: Whether somebody will read the tags of the response under way; without the middleware, nobody.
wanted: ContextVar[bool] = ContextVar("gateway_cache_wanted", default=False)


@dataclass
class Tags:
    """What a response shows, and for how long at most."""

    keys: dict[str, None] = field(default_factory=dict)  # in the order in which they were named
    tables: set[str] = field(default_factory=set)
    seconds: int | None = None


def tag(response: HttpResponseBase, *things: Any, seconds: int | None = None) -> Any:
    """Let gateways keep this response until one of `things` changes: models, objects, `key(Review, product=product)`, words.

    A function among them, which returns more of them, is called only if somebody will read the tags.
    `seconds` bounds that, for a page that shows what no table tells, such as the time. Returns the response.
    """
    tags = response.__dict__.setdefault("gateway_cache", Tags())
    if not wanted.get():
        return response
    for thing in chain.from_iterable(one() if isinstance(one, FunctionType) else [one] for one in things):
        tags.keys |= dict.fromkeys(keys.keys_of(thing))
        tags.tables |= _tables(thing)
    if seconds is not None:
        tags.seconds = min(seconds, tags.seconds or seconds)
    return response


def shows(*things: Any, seconds: int | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The same as a decorator of a view, for what is known before: `@shows(Category, Product)`."""

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return tag(view(*args, **kwargs), *things, seconds=seconds)

        return wrapper

    return decorate


def purge(*things: Any) -> None:
    """Record a change of `things` (models, objects, words) by hand, as part of the current transaction.

    For what no tracked table shows; changes of tracked tables record themselves.
    """
    records = [record for thing in things for record in keys.records_of(thing)]
    with connections[conf.database()].cursor() as cursor:
        for record in records:
            cursor.execute("INSERT INTO gateway_cache_change (keys) VALUES (%s)", [record])


def purge_everything() -> None:
    """Make all pages and query results of before invalid, in all gateways. No lock: a dump under way holds up nobody."""
    with connections[conf.database()].cursor() as cursor:
        cursor.execute("INSERT INTO gateway_cache_change (keys) VALUES ('{*}')")


def _tables(thing: Any) -> set[str]:
    if isinstance(thing, str):
        label = keys.label_of(thing)
        return {conf.tracked_labels()[label]} if label else set()
    return {model._meta.db_table for model in conf.tables_of(thing if isinstance(thing, type) else type(thing))}
