"""Several apps on one fat server: one domain or many, and the fall, the release or the end of one leaves the others alone."""

from __future__ import annotations

import shutil
from urllib.parse import urlsplit

import pytest
import yaml
from site_in_lab import ROOT, changes
from visitors import PATIENT, Load

SHOP = "shop.example.test"
NOTES = "notes.example.test"
BOARD = {
    "source": {"path": str(ROOT / "tests/projects/mirror")},
    "settings_module": "mirror",
    "wsgi": "mirror:application",
    "superuser": False,
    "static": {"root": None},
    "media": {"root": None, "served_by": "none"},
    "health": {"path": "/"},
}

#: With the user of the notes.
CONNECT = """
import psycopg
try:
    psycopg.connect(
        host="{host}", user="notes", password="{password}", dbname="{name}", sslmode="verify-full", sslrootcert="/etc/appliance/tls/ca.pem"
    )
    print("connected")
except psycopg.Error as error:
    print(error)
"""


def contract(site):
    """What the inventory asks for, and the file that says so."""
    file = site.inventory / "group_vars/all/main.yml"
    return file, yaml.safe_load(file.read_text())


def change(site, name, **keys):
    """Have the inventory ask for something else of an app."""
    file, variables = contract(site)
    variables["appliance_apps"].setdefault(name, {}).update(keys)
    file.write_text(yaml.safe_dump(variables))


@pytest.fixture(scope="module")
def site(raise_site, copy_of, tmp_path_factory):
    """The shop, somebody's notes under a name of their own, and a board below the shop's domain."""
    project = tmp_path_factory.mktemp("notes") / "notes"
    shutil.copytree(ROOT / "tests/projects/notes", project)
    site = raise_site(copy_of("inventories/monolith", "several", {"group_vars/all/patient.yml": PATIENT}))
    site.notes = project / "server/notes/urls.py"
    guests = yaml.safe_load((ROOT / "tests/inventories/guests/group_vars/all/main.yml").read_text())["appliance_apps"]
    change(site, "notes", **{**guests["notes"], "source": {"path": str(project)}, "redis": {"cache": True, "queue": False}})
    change(site, "board", **BOARD, domains=[SHOP], path="/board/")
    site.play()
    return site


def test_path_of_a_domain_is_another_app(site):
    """Each is told where it lies, and the longer path wins."""
    assert site.get(SHOP, "/catalog/").status == 200
    board = site.get(SHOP, "/board/")
    assert board.status == 200
    assert '"path": "/board/"' in board.text
    assert '"path": "/board/"' in site.get(SHOP, "/board").text, "the slash is added"
    assert '"path": "/board/' not in site.get(SHOP, "/boards/").text


def test_drawing_is_proven_and_a_second_run_changes_nothing(site):
    """All three are asked at their own place."""
    told = site.play("playbooks/verify.yml").stdout
    assert f"https://{SHOP}/board" in told
    again = site.play()
    assert set(changes(again).values()) == {0}, again.stdout[-4000:]


def environment(site, app, name):
    """The value of a variable that an app is given."""
    return site.on("web1", f"sed -n 's/^{name}=\"\\(.*\\)\"$/\\1/p' /etc/appliance/apps/{app}/environment").strip()


def test_app_reaches_nothing_of_its_neighbour(site):
    """Neither its database, nor its files, nor its keys in Redis; each refusal beside what is allowed."""
    own = urlsplit(environment(site, "notes", "CACHE_URL"))
    redis = f"REDISCLI_AUTH='{own.password}' redis-cli -s {own.path} --user {own.username}"
    assert "OK" in site.on("web1", f"{redis} set notes:x 1")
    assert "NOPERM" in site.on("web1", f"{redis} get shop:x", check=False)
    host, password = environment(site, "notes", "NOTES_DB_HOST"), environment(site, "notes", "NOTES_DB_PASSWORD")
    for name, wanted in (("notes", "connected"), ("shop", "rejects connection")):
        script = CONNECT.format(host=host, password=password, name=name)
        assert wanted in site.on("web1", "/srv/notes/current/venv/bin/python -", input=script)
    for place in ("/srv/shop/current/", "/srv/shop/media/", "/var/lib/shop/", "/var/cache/shop/", "/etc/appliance/apps/shop/environment"):
        assert "denied" in site.on("web1", f"runuser -u notes -- ls {place} && runuser -u notes -- cat {place}", check=False), place
    site.on("web1", "runuser -u notes -- ls /srv/notes/current/")


def test_release_of_one_is_not_felt_by_another(site):
    """Requests to the shop all the while; the notes are changed twice."""
    with Load(site) as load:
        for number in range(2):
            change(site, "notes", env={**contract(site)[1]["appliance_apps"]["notes"]["env"], "NUMBER_OF_THE_TEST": str(number)})
            site.play("site.yml", "--tags", "django_app")
            load.pass_by(50)
    assert load.failures == []
    assert load.answers > 500


def test_failed_release_of_one_stops_neither_the_others_nor_the_gateway(site):
    """The board and the shop, which come before and after the notes, and nginx get what the inventory says; then the run fails."""
    good = site.notes.read_text()
    site.notes.write_text("import nothing_of_that_name\n" + good)
    change(site, "shop", redirects=["old.example.test"], env={"AFTER_A_FAILURE": "1"})
    change(site, "board", env={"AFTER_A_FAILURE": "1"})
    try:
        done = site.play(check=False)
    finally:
        site.notes.write_text(good)
    assert done.returncode != 0
    assert "No module named 'nothing_of_that_name'" in done.stdout
    assert "notes failed on web1" in done.stdout
    assert environment(site, "shop", "AFTER_A_FAILURE") == environment(site, "board", "AFTER_A_FAILURE") == "1"
    assert site.get("old.example.test").status == 200, "nginx redirects the new name"
    assert site.get(NOTES).status == 200
    site.play()


def test_app_that_the_inventory_forgot_is_refused_and_one_that_is_to_go_goes(site):
    """After a last dump; what it wrote is kept, and a second run changes nothing."""
    file, variables = contract(site)
    notes = variables["appliance_apps"].pop("notes")
    file.write_text(yaml.safe_dump(variables))
    refused = site.play(check=False)
    assert "notes: {state: absent}" in " ".join(refused.stdout.split())
    assert set(changes(refused).values()) == {0}
    assert site.get(NOTES).status == 200

    change(site, "notes", state="absent")
    site.on("web1", "install -o notes -d /var/lib/notes && echo kept >/var/lib/notes/file")
    foretold = site.play("site.yml", "--check")
    assert site.get(NOTES).status == 200
    assert changes(foretold)["db1"] >= 1
    with Load(site, again=True) as load:  # nginx gets another configuration
        site.play()
    assert load.failures == []

    assert site.on("db1", "runuser -u postgres -- psql -XAtqc \"SELECT datname FROM pg_database WHERE datname = 'notes'\"").strip() == ""
    dump = site.on("db1", "ls /var/lib/appliance/removed/notes-*.dump").strip()
    assert "notes_note" in site.on("db1", f"pg_restore --list {dump}")
    assert site.on("db1", f"stat -c '%U %a' {dump}").strip() == "root 600"
    assert site.on("web1", "cat /var/lib/appliance/removed/notes-*/home/file").strip() == "kept"
    places = "/srv/notes /etc/appliance/apps/notes /etc/appliance/tls/notes /var/lib/notes /var/cache/notes /usr/local/bin/notes-manage"
    units = "ls /etc/systemd/system /etc/tmpfiles.d | grep notes"
    assert site.on("web1", f"getent passwd notes; ls -d {places} 2>/dev/null; {units}", check=False) == ""
    again = site.play()
    assert set(changes(again).values()) == {0}, again.stdout[-4000:]
    site.play("playbooks/verify.yml")

    change(site, "notes", **{"state": "present", **notes})
    site.play()
    assert "<li>1</li>" in site.get(NOTES).text
