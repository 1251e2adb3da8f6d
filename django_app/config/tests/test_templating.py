"""Translated templates: made once for a release, used as they are, never from another one."""

import os
import shutil

import pytest
from django.conf import settings as project
from django.core.management import call_command
from django.template import TemplateDoesNotExist, TemplateSyntaxError, engines
from django.template.loader import get_template

from config import templating

TRANSLATING = ["jinja2", "mako"]


@pytest.fixture
def release(settings, tmp_path):
    """Chooses an engine for a copy of the templates."""

    def choose(engine):
        if not (tmp_path / "templates").exists():
            shutil.copytree(project.BASE_DIR / "templates", tmp_path / "templates")
        settings.BASE_DIR = tmp_path
        settings.TEMPLATE_ENGINE = engine
        settings.TEMPLATES = templating.templates(engine, tmp_path / "templates")
        return tmp_path

    return choose


@pytest.fixture
def no_translation(monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError("translated again")

    def forbid():
        monkeypatch.setattr("jinja2.Environment.compile", fail)
        monkeypatch.setattr("mako.template._compile", fail)

    return forbid


def files(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def load_all(engine, folder):
    templating.preload(engine, folder / "templates")


@pytest.mark.parametrize("engine", TRANSLATING)
def test_translated_templates_are_used_and_left_alone(release, no_translation, engine):
    """In a release they cannot be written to."""
    folder = release(engine)
    call_command("compile_templates", verbosity=0)
    before = files(folder)
    release(engine)
    no_translation()
    load_all(engine, folder)
    assert get_template("404.html").render().lstrip().startswith("<!doctype html>")
    assert files(folder) == before


@pytest.mark.parametrize("engine", TRANSLATING)
def test_changed_template_is_not_taken_from_what_was_translated_before(release, engine):
    folder = release(engine)
    call_command("compile_templates", verbosity=0)
    page = folder / "templates" / engine / "404.html"
    times = page.stat()
    page.write_text(page.read_text().replace("This page does not exist", "Gone"))
    # As old as before: a release's files may carry any time.
    os.utime(page, ns=(times.st_atime_ns, times.st_mtime_ns))
    release(engine)
    assert "<h1>Gone</h1>" in get_template("404.html").render()


@pytest.mark.parametrize("engine", TRANSLATING)
def test_without_the_command_nothing_is_written(release, engine):
    folder = release(engine)
    before = files(folder)
    load_all(engine, folder)
    assert files(folder) == before


@pytest.mark.parametrize("engine", TRANSLATING)
def test_command_that_is_broken_off_leaves_nothing_that_is_used(release, no_translation, engine):
    folder = release(engine)
    no_translation()
    with pytest.raises(AssertionError):
        call_command("compile_templates", verbosity=0)
    assert not any((folder / "compiled").iterdir())


@pytest.mark.parametrize("engine", templating.ENGINES)
def test_templates_are_read_once(release, engine):
    folder = release(engine)
    load_all(engine, folder)
    shutil.rmtree(folder / "templates")
    assert get_template("404.html").render().lstrip().startswith("<!doctype html>")


@pytest.mark.parametrize(("engine", "text"), [("django", "{% if %}"), ("jinja2", "{% if %}"), ("mako", "% if 1:\n")])
def test_broken_template_stops_the_start(release, engine, text):
    """A release with one takes no traffic; found by the first visitor of that page it would be too late."""
    folder = release(engine)
    (folder / "templates" / engine / "catalog" / "search.html").write_text(text)
    with pytest.raises(TemplateSyntaxError):
        load_all(engine, folder)


def test_admin_is_there_beside_another_engine(release):
    release("mako")
    assert get_template("admin/login.html").backend is engines["django"]


def test_page_that_is_missing_in_the_chosen_engine_is_not_taken_from_another(release):
    folder = release("mako")
    (folder / "templates" / "mako" / "404.html").unlink()
    with pytest.raises(TemplateDoesNotExist):
        get_template("404.html")
