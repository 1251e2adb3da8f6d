from typing import Any

from jinja2 import Environment, FileSystemBytecodeCache, StrictUndefined

FUNCTIONS = ("querystring", "static", "url")
FILTERS = ("date", "linebreaks")


class SealedBytecode(FileSystemBytecodeCache):
    """Reads what `manage.py compile_templates` left in the release; never writes."""

    def dump_bytecode(self, bucket: Any) -> None:
        pass


def environment(*, compiled: str | None = None, **options: Any) -> Environment:
    """Called by Django, which adds the loader and `auto_reload` (only with DEBUG)."""
    from catalog import presentation
    from core import template_functions

    options |= {
        "undefined": StrictUndefined,
        "trim_blocks": True,
        "lstrip_blocks": True,
        "cache_size": -1,  # all of them
        "bytecode_cache": SealedBytecode(compiled) if compiled else None,
    }
    ours = Environment(**options)  # noqa: S701  # Django gives `autoescape`
    ours.globals |= {name: getattr(template_functions, name) for name in FUNCTIONS}
    ours.filters |= {name: getattr(template_functions, name) for name in FILTERS}
    ours.filters |= {name: getattr(presentation, name) for name in presentation.__all__}
    return ours
