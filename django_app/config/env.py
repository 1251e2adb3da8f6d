"""Reading the environment: what is missing or wrong is collected, then named in one message."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured


class Environment:
    """Any variable may also be given as NAME_FILE, the path of a file that holds its value."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._problems: list[str] = []

    def required(self, name: str, parse: Callable[[str], Any] = str, fallback: Any = None) -> Any:
        """The variable's value; `fallback` only keeps the reading going until `check` reports the problem."""
        value = self._read(name)
        if not value:
            self._problems.append(f"{name} is missing or empty")
            return fallback
        return self._parse(name, value, parse, fallback)

    def optional(self, name: str, default: Any = "", parse: Callable[[str], Any] = str) -> Any:
        value = self._read(name)
        return self._parse(name, value, parse, default) if value else default

    def check(self) -> None:
        if self._problems:
            raise ImproperlyConfigured(
                "The environment is not complete: " + "; ".join(self._problems) + ". README.md describes each variable."
            )

    def _read(self, name: str) -> str:
        path = self._variables.get(f"{name}_FILE")
        if not path:
            return self._variables.get(name, "").strip()
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            self._problems.append(f"{name}_FILE={path} cannot be read ({type(error).__name__})")
            return ""

    def _parse(self, name: str, value: str, parse: Callable[[str], Any], fallback: Any) -> Any:
        try:
            return parse(value)
        except ValueError as error:
            self._problems.append(f"{name} {error}")
            return fallback


# Parsers raise ValueError with a text that follows the variable's name, and never repeat a value that may be secret.


def boolean(value: str) -> bool:
    try:
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[value.lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def names(value: str) -> list[str]:
    """Values separated by commas."""
    return [name.strip() for name in value.split(",") if name.strip()]


def host_names(value: str) -> list[str]:
    hosts = names(value)
    if "*" in hosts:
        raise ValueError('must list the host names; "*" would accept any Host header')
    return hosts


def secret_key(value: str) -> str:
    if len(value) < 50 or len(set(value)) < 5 or value.startswith("django-insecure-"):
        raise ValueError("must be a random text of at least 50 characters")
    return value


def absolute_path(value: str) -> Path:
    path = Path(value)
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of: {', '.join(choices)}")
        return value

    return parse
