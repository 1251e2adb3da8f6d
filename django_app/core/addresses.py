"""Django's `reverse`, remembered: a list asks for the same addresses on every request."""

from functools import lru_cache
from typing import Any

from django.urls import get_script_prefix, reverse


def address(name: str, *args: Any) -> str:
    return _address(get_script_prefix(), name, args)


@lru_cache(maxsize=5000)
def _address(script_prefix: str, name: str, args: tuple[Any, ...]) -> str:
    return reverse(name, args=args)
