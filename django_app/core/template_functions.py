"""What Django's template language has built in, for the engines that have not."""

from datetime import datetime
from functools import lru_cache
from typing import Any

from django.contrib.staticfiles.storage import staticfiles_storage
from django.http import HttpRequest
from django.template.defaultfilters import linebreaks_filter
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from core.addresses import address as url

__all__ = ["attribute", "date", "linebreaks", "querystring", "static", "url"]


def static(path: str) -> str:
    return staticfiles_storage.url(path)


def querystring(request: HttpRequest, **changes: Any) -> str:
    """The page's own query with some values changed."""
    query = request.GET.copy()
    for name, value in changes.items():
        query[name] = value
    return f"?{query.urlencode()}"


def date(value: datetime, pattern: str) -> str:
    return formats.date_format(timezone.template_localtime(value), pattern)


def linebreaks(text: str) -> SafeString:
    """Escaped, with its paragraphs and line breaks as HTML."""
    return linebreaks_filter(text, autoescape=True)


@lru_cache(maxsize=500, typed=True)
def attribute(name: str, value: Any) -> SafeString:
    """An attribute with a space before it, or nothing. Mako has no `if` within a line."""
    if not value:
        return SafeString()
    return mark_safe(f" {name}") if value is True else format_html(' {}="{}"', name, value)  # noqa: S308
