"""What of the release tool can be proven without a host."""

import importlib.machinery
import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[1] / "files/appliance-release"


@pytest.fixture(scope="session")
def release():
    loader = importlib.machinery.SourceFileLoader("release", str(TOOL))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("release", loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path):
    """A STATIC_ROOT and the folder nginx serves."""
    source, target = tmp_path / "static", tmp_path / "public"
    source.mkdir()
    (source / "css").mkdir()
    (source / "css/a.css").write_text("body{color:red}\n" * 200)
    (source / "tiny.txt").write_text("x")
    return source, target


def me():
    return os.getuid(), os.getgid()


def files(target):
    return sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())


def test_files_are_published_with_compressed_siblings(release, tree):
    source, target = tree
    release.publish(source, target, (), me())
    assert {"css/a.css", "css/a.css.gz", "tiny.txt"} <= set(files(target))
    assert "tiny.txt.gz" not in files(target)
    assert os.path.samefile(source / "css/a.css", target / "css/a.css")


def test_an_unchanged_file_keeps_its_inode(release, tree, tmp_path):
    """Another inode would be another ETag, and every browser would load it again."""
    source, target = tree
    release.publish(source, target, (), me())
    before = (target / "css/a.css").stat().st_ino
    again = tmp_path / "next"
    (again / "css").mkdir(parents=True)
    (again / "css/a.css").write_text((source / "css/a.css").read_text())
    release.publish(again, target, (), me())
    assert (target / "css/a.css").stat().st_ino == before
    assert os.path.samefile(again / "css/a.css.gz", target / "css/a.css.gz")


def test_a_changed_file_never_keeps_an_old_sibling(release, tree):
    """nginx would serve the old text to every client that takes gzip."""
    source, target = tree
    release.publish(source, target, (), me())
    for path in (source / "css").iterdir():
        path.unlink()
    (source / "css/a.css").write_text("p{}")
    release.publish(source, target, (), me())
    assert files(target) == ["css/a.css", "tiny.txt"]
    assert (target / "css/a.css").read_text() == "p{}"


def test_files_of_kept_releases_stay_and_others_go(release, tree):
    source, target = tree
    release.publish(source, target, (), me())
    (source / "tiny.txt").unlink()
    (source / "css/a.css").unlink()
    (source / "css/b.css").write_text("b")
    release.publish(source, target, {Path("css/a.css")}, me())
    assert {name for name in files(target) if not name.endswith((".gz", ".br"))} == {"css/a.css", "css/b.css"}


def test_links_are_not_published(release, tree):
    """Whoever may write a link into STATIC_ROOT could otherwise publish any file."""
    source, target = tree
    (source / "passwd").symlink_to("/etc/passwd")
    release.publish(source, target, (), me())
    assert "passwd" not in files(target)


@pytest.mark.parametrize("value", ['a$b "q" \\ # %n', "two\nlines", "`id`", "", " lead and trail ", "ü\t'x'", "a\\nb", "$$"])
def test_values_survive_quoting(release, value):
    """Within double quotes systemd takes a backslash away before the same characters as a shell does."""
    line = release.quote_environment("X", value)
    shown = subprocess.run(["sh", "-c", f'{line}printf "%s" "$X"'], capture_output=True, text=True, check=True).stdout
    assert shown == value


@pytest.mark.parametrize(("name", "value"), [("A B", "x"), ("X", "a\0b")])
def test_what_no_environment_carries_is_refused(release, name, value):
    with pytest.raises(release.Failure):
        release.quote_environment(name, value)


def test_secrets_are_blacked_out(release):
    environment = {"KEY": "s3cret-key", "DATABASE_URL": "postgres://u:p%40ssword@h/d", "PLAIN": "visible"}
    secrets = release.secret_texts(environment, ["KEY"], {"TOKEN": "file-secret\n"})
    text = release.redact("s3cret-key p%40ssword p@ssword file-secret visible", secrets)
    assert text == "******** ******** ******** ******** visible"


@pytest.mark.parametrize("text", ['a$b %n "q" \\n', "echo 'one'; exit 3\nexit 4", "$LISTEN_PORT"])
def test_a_unit_s_command_reaches_the_shell_as_it_was_typed(release, text):
    """What systemd undoes: C escapes within quotes, %% and $$."""
    quoted = release.quote_argument(text)
    assert quoted[0] == quoted[-1] == '"'
    assert "\n" not in quoted, "a unit file's line ends there"
    undone = {"%%": "%", "$$": "$", r"\n": "\n", r"\"": '"', r"\\": "\\"}
    parts = re.findall(r"%%|\$\$|\\.|[^%$\\]", quoted[1:-1])
    assert "".join(undone.get(part, part) for part in parts) == text


def host(release, primary=True):
    """An app on a host, as far as its workers' units need it."""

    class App:
        name, releases, etc, wanted = "shop", Path("/srv/shop/releases"), Path("/etc/appliance/apps/shop"), {"primary": primary}

    common = {"hosts": "all", "memory_mb": 128, "connections": 1}
    worker = common | {"command": "work", "instances": 2, "stop_signal": "INT", "stop_seconds": 9, "start_seconds": 4, "listen": None}
    timer = common | {"command": "tidy", "on_calendar": "daily", "jitter_seconds": 60, "seconds": 30, "hosts": "first"}
    return release.Release(App, spec(workers={"jobs": worker, "beat": worker | {"hosts": "first"}}, timers={"tidy": timer}), "r1")


def test_what_must_not_happen_twice_is_on_the_first_host_alone(release):
    """A timer on each of two hosts sends every letter twice."""
    first, other = host(release), host(release, primary=False)
    assert len(first.worker_instances()) == 4
    assert other.worker_instances() == ["shop-worker-jobs@1.service", "shop-worker-jobs@2.service"]
    assert (first.timer_units(), other.timer_units()) == (["shop-timer-tidy.timer"], [])
    assert list(other.companions()) == ["shop-worker-jobs@.service"]


def test_a_worker_is_stopped_as_its_contract_says(release):
    """systemd's own 90 seconds and SIGTERM would be somebody else's grace."""
    lines = host(release).companions()["shop-worker-jobs@.service"].splitlines()
    assert {"KillSignal=SIGINT", "TimeoutStopSec=9", "MemoryMax=128M", "Environment=APPLIANCE_RELEASE=r1", "Restart=always"} <= set(lines)


def spec(**changes):
    """As much of app.json as an id needs."""
    return {
        "archive": "/var/cache/a.tar.gz", "digest": "abc", "project": ".", "static": {"root": "static"}, "static_root_variable": True,
        "secret_names": [], "index_url": "", "secret_files": {}, "server_requirements": ["gunicorn==27.0.1"], "keep": 5,
        "server_files": {"server": "-w 2"}, "sandbox": ["MemoryMax=400M"],
        "environment": {"SECRET_KEY": "s", "DATABASE_URL": "postgres://a@/x"},
    } | changes  # fmt: skip


def content(release, **changes):
    class App:
        releases, etc = Path("/srv/shop/releases"), Path("/etc/appliance/apps/shop")

    return release.Release(App, spec(**changes), "id").content


def test_app_hosts_of_any_size_serve_the_same_content(release):
    """Otherwise gateways would drop all pages whenever another host answers."""
    other = {"SECRET_KEY": "s", "DATABASE_URL": "postgres://b@192.0.2.1/x"}
    assert content(
        release, archive="/elsewhere", sandbox=["MemoryMax=4000M"], server_files={"server": "-w 9"}, keep=2, environment=other
    ) == content(release)


@pytest.mark.parametrize("changes", [{"digest": "def"}, {"environment": {"SECRET_KEY": "s", "TITLE": "new"}}, {"a_key_of_tomorrow": 1}])
def test_whatever_a_page_may_show_makes_other_content(release, changes):
    """A page of before would be served for what the new release says."""
    assert content(release, **changes) != content(release)


def test_way_to_the_database_has_no_password_in_an_argument(release):
    """PostgreSQL's programs read it from their environment."""
    url = "postgres://shop:p%40ss@[2001:db8::9]:5433/shop?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&tcp_user_timeout=2000"
    found = release.libpq(url)
    assert found["PGHOST"] == "2001:db8::9"
    assert (found["PGPORT"], found["PGUSER"], found["PGPASSWORD"], found["PGDATABASE"]) == ("5433", "shop", "p@ss", "shop")
    assert (found["PGSSLMODE"], found["PGSSLROOTCERT"]) == ("verify-full", "/etc/ca.pem")
    with pytest.raises(release.Failure, match="dump: false"):
        release.libpq("sqlite:///db.sqlite3")


@pytest.mark.parametrize("change", [{"migrate": {"mode": "offline"}}, {"database_url": "postgres://"}, {"keep": 9}])
def test_how_it_is_deployed_makes_no_other_release(release, change):
    """Else a change of mode would itself be a deploy."""
    assert set(change) <= release.NOT_PART_OF_RELEASE


class Kept:
    """As much of an app as a way back needs: which releases were good, which serves."""

    def __init__(self, good, current, withdrawn=()):
        self.state, self.current, self.name = {"good": good, "withdrawn": dict.fromkeys(withdrawn, "then")}, current, "shop"

    def back(self, release):
        return release.App.last_good(self)


@pytest.mark.parametrize(
    ("good", "current", "withdrawn", "target"),
    [
        ("abc", "c", "", "b"),
        ("abc", "b", "c", "a"),  # after a rollback, further back, not to the one that was left
        ("abcd", "d", "c", "b"),
        ("abc", "a", "", None),
    ],
)
def test_way_back_leads_past_what_was_rolled_back(release, monkeypatch, good, current, withdrawn, target):
    """Two rollbacks in a row must not bring the first bad release back."""
    monkeypatch.setattr(release.Release, "load", classmethod(lambda cls, app, name: name))
    app = Kept(list(good), current, withdrawn)
    if target is None:
        with pytest.raises(release.Failure, match="nothing to return to"):
            app.back(release)
    else:
        assert app.back(release) == target
