"""The template engines to choose from (TEMPLATE_ENGINE); each renders the same pages from templates/<engine>/.

Jinja2 and Mako translate templates to Python. `manage.py compile_templates`, run while a release is built, keeps the
outcome in the release, where it is out of the site's own reach: what the site can write it never executes. Without it
each process translates for itself.
"""

import hashlib
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

ENGINES = ("django", "jinja2", "mako")

CONTEXT_PROCESSORS = [
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]


def templates(engine: str, folder: Path) -> list[dict[str, Any]]:
    # Django's own engine is always there: the admin and the inputs of forms are written in it. Beside another one it
    # does not see our pages, so that one that is missing there is noticed.
    own = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [folder / "django"] if engine == "django" else [],
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": CONTEXT_PROCESSORS},
    }
    if engine == "django":
        return [own]
    compiled = compiled_folder(engine, folder)
    kept = str(compiled) if compiled.is_dir() else None
    return [{"jinja2": _jinja2, "mako": _mako}[engine](folder / engine, kept), own]


def _jinja2(folder: Path, compiled: str | None) -> dict[str, Any]:
    return {
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "NAME": "jinja2",
        "DIRS": [folder],
        "OPTIONS": {
            "context_processors": CONTEXT_PROCESSORS,
            "environment": "config.jinja2_environment.environment",
            "autoescape": True,
            "compiled": compiled,
        },
    }


def _mako(folder: Path, compiled: str | None) -> dict[str, Any]:
    return {
        "BACKEND": "core.mako_backend.MakoTemplates",
        "NAME": "mako",
        "DIRS": [folder],
        "OPTIONS": {
            "context_processors": CONTEXT_PROCESSORS,
            "imports": [
                "from catalog.presentation import page_numbers, product_rating, review_rating",
                "from core.template_functions import attribute, date, linebreaks, querystring, static, url",
            ],
            "module_directory": compiled,
        },
    }


def template_names(engine: str, folder: Path) -> list[str]:
    return sorted(path.relative_to(folder / engine).as_posix() for path in (folder / engine).rglob("*.html"))


def compiled_folder(engine: str, folder: Path) -> Path:
    """Its name is made from all that decides its content, so that nothing stale is ever used."""
    digest = hashlib.sha256(f"{sys.implementation.cache_tag} {version(engine)}".encode())
    config = Path(__file__).parent
    code = [Path(__file__), config / "jinja2_environment.py", config.parent / "core" / "mako_backend.py"]
    for path in [*code, *(folder / engine / name for name in template_names(engine, folder))]:
        digest.update(f"\0{path}\0".encode() + path.read_bytes())
    return folder.parent / "compiled" / f"{engine}-{digest.hexdigest()[:16]}"


def preload(engine: str, folder: Path) -> None:
    """Load every page's template; one that is broken stops the start."""
    from django.template.loader import get_template

    for name in template_names(engine, folder):
        get_template(name)
