"""Four projects that were not written for the appliance run from an inventory alone, side by side."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tarfile

import pytest
from site_in_lab import ROOT, changes

PROJECTS = ROOT / "tests/projects"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """What a company has on other servers: a bare repository of notes, an archive of almanac with its checksum."""
    folder = tmp_path_factory.mktemp("elsewhere")
    work = folder / "work"
    shutil.copytree(PROJECTS / "notes", work)
    identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.test"]
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        [*identity, "commit", "-q", "-m", "Notes"],
        ["clone", "-q", "--bare", ".", str(folder / "notes.git")],
    ):
        subprocess.run(["git", *command], cwd=work, check=True)
    packed = folder / "almanac-1.0.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(PROJECTS / "almanac", "almanac-1.0")
    (folder / "almanac-1.0.sha256").write_text("sha256:" + hashlib.sha256(packed.read_bytes()).hexdigest())
    return folder


@pytest.fixture(scope="module")
def site(raise_site, elsewhere):
    """All four on one fat server."""
    site = raise_site(ROOT / "tests/inventories/guests", env={"GUESTS": str(elsewhere)})
    site.play()
    return site


def test_manage_py_in_a_subfolder_and_a_database_in_parts(site):
    """Nothing in a role is written for our app; after_migrate wrote a note."""
    page = site.get("notes.example.test")
    assert page.status == 200
    assert "database notes" in page.text
    assert "<li>1</li>" in page.text


def test_unset_variable_is_not_given(site):
    """A project that chokes on DATABASE_URL can say so."""
    assert "variables False" in site.get("notes.example.test").text


def test_static_files_lie_where_the_project_says(site):
    """The contract's static section is the guest's, not ours."""
    assert site.get("notes.example.test", "/assets/notes.css").status == 200


def test_styles_packed_after_collectstatic_are_served(site):
    """The page fails without the packed file's manifest, which only exists if the command ran in the release."""
    page = site.get("gallery.example.test")
    assert page.status == 200
    style = site.get("gallery.example.test", re.search(r'href="(/static/CACHE/css/[^"]+)"', page.text)[1])
    assert (style.status, "Packed by" in style.text, "#123456" in style.text) == (200, False, True)


def member(site):
    """A member's Authorization header."""
    password = (site.secrets / "gallery_gallery_password").read_text().strip()
    return {"Authorization": "Basic " + base64.b64encode(f"member:{password}".encode()).decode()}


def test_private_file_is_the_apps_to_give(site):
    """nginx must not serve behind the app's back what the app refuses; the file is the one that first_run wrote."""
    assert site.get("gallery.example.test", "/files/private.txt").status == 401
    assert site.get("gallery.example.test", "/uploads/private.txt").status == 404
    answer = site.get("gallery.example.test", "/files/private.txt", headers=member(site))
    assert (answer.status, answer.text) == (200, "for members\n")


def test_front_end_built_by_npm_is_served(site):
    """Minified: the build ran, with a package of npm's registry."""
    page = site.get("board.example.test")
    script = site.get("board.example.test", re.search(r'src="([^"]+)"', page.text)[1])
    assert script.status == 200
    assert "dataset.board" in script.text
    assert "aVeryLongName" not in script.text


def test_jobs_wait_in_a_queue(site):
    """Under a variable of the project's own."""
    first, second = (json.loads(site.get("board.example.test", f"/push/{job}/").text)["waiting"] for job in ("one", "two"))
    assert second == first + 1


def test_settings_from_a_written_file_and_a_folder_that_stays(site):
    """An archive, served by uWSGI, whose whole configuration is a file that a template of the inventory makes."""
    first, second = (site.get("almanac.example.test").text for _ in range(2))
    assert "almanac of almanac" in first
    assert first != second


def test_site_is_proven_and_a_second_run_changes_nothing(site):
    """The whole drawing; first_run's script, which fails when it is run twice, was not."""
    site.play("playbooks/verify.yml")
    again = site.play()
    assert set(changes(again).values()) == {0}, again.stdout[-4000:]


def test_guest_reaches_neither_database_nor_files_of_another(site):
    """One fat server, four tenants."""
    query = "SELECT has_database_privilege('notes', 'gallery', 'CONNECT')"
    assert site.on("db1", f'echo "{query}" | runuser -u postgres -- psql -qtA').strip() == "f"
    for look in ("ls /srv/gallery/current/", "cat /etc/appliance/apps/gallery/environment", "cat /srv/gallery/media/private.txt"):
        assert "DENIED" in site.on("web1", f"runuser -u notes -- {look} 2>&1 | grep -qi denied && echo DENIED", check=False), look
