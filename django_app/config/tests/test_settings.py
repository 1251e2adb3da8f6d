"""The project as a whole: how it starts, and what Django's own checks say of it."""

import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.management import call_command

REQUIRED = ["SECRET_KEY", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "STATIC_ROOT", "MEDIA_ROOT", "DATABASE_URL"]


def manage(*arguments, environment):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_start_without_variables_names_each_and_fails():
    result = manage("check", environment={})
    assert result.returncode != 0
    assert all(f"{name} is missing" in result.stderr for name in REQUIRED)


def test_start_with_the_required_variables_alone_succeeds():
    result = manage("check", environment={name: os.environ[name] for name in REQUIRED})
    assert result.returncode == 0, result.stderr


def test_unknown_template_engine_is_refused():
    environment = {name: os.environ[name] for name in REQUIRED} | {"TEMPLATE_ENGINE": "cheetah"}
    assert "TEMPLATE_ENGINE must be one of: django, jinja2, mako" in manage("check", environment=environment).stderr


def test_deployment_checks_find_nothing():
    call_command("check", deploy=True, fail_level="WARNING")


@pytest.mark.django_db
def test_models_and_migrations_agree():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_static_names_carry_a_hash():
    """The gateway lets browsers keep these for ever, so a changed file needs a new name."""
    from django.templatetags.static import static

    assert static("css/site.css") != "/static/css/site.css"


def test_about_page_uses_files_that_exist():
    """The plain page names static files without hash, as nobody renders it."""
    page = (settings.BASE_DIR / "pages" / "about" / "index.html").read_text()
    for name in ("css/site.css", "img/favicon.svg"):
        assert f"/static/{name}" in page
        assert (settings.STATIC_ROOT / name).is_file()
