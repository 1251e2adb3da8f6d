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


# -- An existing site moves in (playbooks/import.yml)


@pytest.fixture(scope="module")
def old_site(site, tmp_path_factory):
    """A dump of a database that belonged to somebody else, and a folder of uploads."""
    folder = tmp_path_factory.mktemp("old")
    sql = "CREATE ROLE elsewhere; CREATE DATABASE elsewhere OWNER elsewhere;"
    site.on("db1", "runuser -u postgres -- psql -q", input=sql)
    copy = "runuser -u postgres -- pg_dump --no-owner notes"
    site.on("db1", f"(echo 'SET ROLE elsewhere;'; {copy}) | runuser -u postgres -- psql -q -o /dev/null elsewhere", check=False)
    site.on("db1", "runuser -u postgres -- psql -q elsewhere", input="INSERT INTO notes_note (text) VALUES ('moved in');")
    packed = site.on("db1", "runuser -u postgres -- pg_dump -Fc elsewhere | base64")
    (folder / "old.dump").write_bytes(base64.b64decode(packed))
    (folder / "media/deep").mkdir(parents=True)
    (folder / "media/deep/moved.txt").write_text("moved in\n")
    return folder


def move_in(site, **asked):
    return site.play("playbooks/import.yml", "-e", json.dumps({"appliance_import": asked}), check=False)


def count_notes(site):
    return site.get("notes.example.test").text.count("<li>")


def test_what_is_there_is_not_lost_by_accident(site, old_site):
    """Neither rows nor uploads, and the refusal says what to type."""
    notes = count_notes(site)
    done = move_in(site, app="notes", dump=str(old_site / "old.dump"))
    assert done.returncode != 0
    assert "the database is not empty (notes_note" in done.stdout
    assert "overwrite: true" in done.stdout
    done = move_in(site, app="gallery", media=str(old_site / "media"))
    assert done.returncode != 0
    assert "/srv/gallery/media is not empty" in done.stdout
    assert count_notes(site) == notes


def test_dump_moves_in_and_belongs_to_the_app(site, old_site):
    """What was dumped belonged to another user, whom this server's database does not know."""
    notes = count_notes(site)
    site.on("db1", "runuser -u postgres -- psql -q", input="DROP DATABASE elsewhere; DROP ROLE elsewhere;")
    done = move_in(site, app="notes", dump=str(old_site / "old.dump"), overwrite=True)
    assert done.returncode == 0, done.stdout[-4000:]
    password = (site.secrets / "notes_database_password").read_text().strip()
    assert password not in done.stdout
    assert count_notes(site) == notes + 1
    owners = site.on(
        "db1", "runuser -u postgres -- psql -qtA notes", input="SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    )
    assert owners.split() == ["notes"]


def test_uploads_move_in_and_belong_to_the_app(site, old_site):
    """Members may fetch them, strangers may not; what was there stays."""
    done = move_in(site, app="gallery", media=str(old_site / "media"), overwrite=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert site.get("gallery.example.test", "/files/deep/moved.txt", headers=member(site)).text == "moved in\n"
    assert site.get("gallery.example.test", "/files/private.txt", headers=member(site)).status == 200
    assert site.get("gallery.example.test", "/files/deep/moved.txt").status == 401
    assert site.on("web1", "stat -c '%U %G %a' /srv/gallery/media/deep/moved.txt").split() == ["gallery", "www-data", "640"]


def test_damaged_dump_leaves_the_database_as_it_was(site, old_site):
    """All or nothing: half a dump would be neither the old site nor the new one."""
    notes = count_notes(site)
    data = (old_site / "old.dump").read_bytes()
    (old_site / "half.dump").write_bytes(data[: len(data) * 9 // 10])
    done = move_in(site, app="notes", dump=str(old_site / "half.dump"), overwrite=True)
    assert done.returncode != 0
    assert "the database is as before" in done.stdout
    assert count_notes(site) == notes
