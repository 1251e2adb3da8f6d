"""Somebody else's Django project runs from an inventory alone, beside the reference app."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from site_in_lab import ROOT, changes


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A bare repository with the project, as a company's git server has it."""
    work = tmp_path_factory.mktemp("notes") / "work"
    shutil.copytree(ROOT / "tests/projects/notes", work)
    bare = work.with_name("notes.git")
    identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.test"]
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        [*identity, "commit", "-q", "-m", "Notes"],
        ["clone", "-q", "--bare", ".", str(bare)],
    ):
        subprocess.run(["git", *command], cwd=work, check=True)
    return bare


@pytest.fixture(scope="module")
def site(raise_site, repository):
    """Reference app and guest on one fat server."""
    site = raise_site(ROOT / "tests/inventories/guests", env={"NOTES_REPOSITORY": str(repository)})
    site.play()
    return site


def test_both_answer_under_their_own_names(site):
    """Nothing in a role is written for our app."""
    assert site.get("shop.example.test").status == 200
    guest = site.get("notes.example.test")
    assert guest.status == 200
    assert "database notes" in guest.text
    assert "<li>1</li>" in guest.text, "after_migrate wrote a note"


def test_unset_variable_is_not_given(site):
    """A project that chokes on DATABASE_URL can say so."""
    assert "variables False" in site.get("notes.example.test").text


def test_static_files_of_the_guest_lie_where_it_says(site):
    """The contract's static section is the guest's, not ours."""
    assert site.get("notes.example.test", "/assets/notes.css").status == 200


def test_site_is_proven_and_a_second_run_changes_nothing(site):
    """The whole drawing, both apps in it."""
    site.play("playbooks/verify.yml")
    again = site.play()
    assert set(changes(again).values()) == {0}, again.stdout[-4000:]


def test_guest_reaches_neither_database_nor_files_of_the_other(site):
    """One fat server, two tenants."""
    query = "SELECT has_database_privilege('notes', 'shop', 'CONNECT')"
    assert site.on("db1", f'echo "{query}" | runuser -u postgres -- psql -qtA').strip() == "f"
    for look in ("ls /srv/shop/current/", "cat /etc/appliance/apps/shop/environment"):
        assert "DENIED" in site.on("web1", f"runuser -u notes -- {look} 2>&1 | grep -qi denied && echo DENIED", check=False), look
