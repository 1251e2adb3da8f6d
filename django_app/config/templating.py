"""The template engines to choose from (TEMPLATE_ENGINE); each renders the same pages from templates/<engine>/."""

from pathlib import Path
from typing import Any

ENGINES = ("django",)


def templates(engine: str, folder: Path) -> list[dict[str, Any]]:
    # Django's own engine is always there, since the admin is written in it; it comes last when another one is chosen.
    django_engine = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [folder / "django"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
    return {"django": [django_engine]}[engine]
