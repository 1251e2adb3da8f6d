"""Keys: what a page shows and what a change touches, said in the same words.

catalog.product               any row of the table
catalog.product:12            that row
catalog.review.product:12     any row of catalog.review whose foreign key `product` is 12
catalog.product*              every key whose part before the colon is catalog.product
anything-else                 a word of the project's own; only `purge` names it
"""

import hashlib
from functools import cache
from typing import Any
from urllib.parse import quote

from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import models

from gateway_cache import conf

#: Values that PostgreSQL and Python write alike; texts are hashed, for what stands in them is anything. Others have no keys for rows.
PLAIN = (models.IntegerField, models.AutoField, models.UUIDField)
TEXT = (models.CharField, models.TextField)

MOST_CHARACTERS = 200


def label(model: type[models.Model]) -> str:
    return (model._meta.concrete_model or model)._meta.label_lower


@cache
def row_fields(model: type[models.Model]) -> list[models.Field]:
    """The fields by whose value a key can name rows: the primary key first, then foreign keys."""
    fields = [model._meta.pk, *(f for f in model._meta.local_fields if f.remote_field and f is not model._meta.pk)]
    return [field for field in fields if field.concrete and kind(field)]


def kind(field: models.Field) -> str:
    """How a value of this field is written in a key: plain, text, or not at all."""
    while field.remote_field and hasattr(field, "target_field"):
        field = field.target_field
    return "plain" if isinstance(field, PLAIN) else "text" if isinstance(field, TEXT) else ""


def stem(model: type[models.Model], field: models.Field) -> str:
    """A key without its value."""
    return label(model) if field is model._meta.pk else f"{label(model)}.{field.name}"


def value_key(model: type[models.Model], field: models.Field, value: Any) -> str:
    if kind(field) == "text":
        value = hashlib.md5(str(value).encode(), usedforsecurity=False).hexdigest()
    return f"{stem(model, field)}:{value}"


def key(model: type[models.Model], **foreign_key: Any) -> str:
    """The key of the rows that point to something: `key(Review, product=product)`."""
    if len(foreign_key) != 1:
        raise TypeError("name one foreign key: key(Review, product=product)")
    [(name, target)] = foreign_key.items()
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist as error:
        raise ImproperlyConfigured(f"key: {error}") from None
    check_tracked(model)
    if field not in row_fields(model):
        raise ImproperlyConfigured(f"key: {label(model)}.{name} is no foreign key to something that a key can name; use the model itself")
    value = getattr(target, field.target_field.attname) if isinstance(target, models.Model) else target
    if value is None:
        raise ValueError(f"key: {name} has no value yet")
    return value_key(model, field, value)


def keys_of(thing: Any) -> list[str]:
    """The keys of what a page shows: a model, one of its objects, or a key."""
    if isinstance(thing, models.Model):
        check_tracked(type(thing))
        found = []
        for model in conf.tables_of(type(thing)):
            pk = model._meta.pk
            value = getattr(thing, pk.attname)
            if value is None:
                raise ValueError(f"{thing!r} is not saved, so no page can show it")
            found.append(value_key(model, pk, value) if kind(pk) else label(model))
        return found
    if isinstance(thing, type) and issubclass(thing, models.Model):
        check_tracked(thing)
        return [label(model) for model in conf.tables_of(thing)]
    if isinstance(thing, str):
        return [word(thing)]
    raise TypeError(f"{thing!r} is neither a model, nor an object of one, nor a key")


def records_of(thing: Any) -> list[list[str]]:
    """What a change of this touches, as records; of each, the first key is that of the table."""
    if isinstance(thing, str):
        return [[word(thing)]]
    keys_of(thing)  # it is a model or an object, and tracked
    records = []
    for model in conf.tables_of(thing if isinstance(thing, type) else type(thing)):
        found, fields = [label(model)], row_fields(model)
        if isinstance(thing, type):
            found += [f"{label(model)}*", *(f"{stem(model, field)}*" for field in fields)]
        else:
            values = ((field, getattr(thing, field.attname)) for field in fields)
            found += [value_key(model, field, value) for field, value in values if value is not None]
        records.append(list(dict.fromkeys(found)))
    return records


def label_of(one: str) -> str | None:
    """The label of the table whose rows this key names, or None for a word of the project's own."""
    name = ".".join(one.partition(":")[0].split(".", 2)[:2])
    return name if name in conf.tracked_labels() else None


def labels_only(found: list[str]) -> list[str]:
    """Fewer, coarser keys: a change of any row touches its table's key, too."""
    return list(dict.fromkeys(label_of(one) or one for one in found))


def check_tracked(model: type[models.Model]) -> None:
    """A page that shows an untracked table would never be purged."""
    for one in conf.tables_of(model):
        if one._meta.db_table not in conf.tracked_models():
            raise ImproperlyConfigured(
                f"{one._meta.label} is not tracked, so a page that shows it would never be purged. "
                'Add it to GATEWAY_CACHE["models"], then migrate.'
            )


def word(text: str) -> str:
    """A key as it may stand in a header: no space, no line's end, no asterisk."""
    text = quote(text, safe="!#$&'()+,-./:;=?@[]^_`{|}~")
    if not 0 < len(text) <= MOST_CHARACTERS:
        raise ValueError(f"{text!r} is no key: it must have 1 to {MOST_CHARACTERS} characters")
    return text
