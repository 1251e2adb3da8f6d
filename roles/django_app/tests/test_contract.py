"""The contract's filters and the packing of sources."""

import base64
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml
from plugins import load_module

ROLE = Path(__file__).resolve().parents[1]

filters = load_module(ROLE / "filter_plugins/django_app.py")
source = load_module(ROLE / "library/app_source.py")
packing = load_module(ROLE / "module_utils/app_packing.py")
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text())["django_app_defaults"]


def contract(**changes):
    return {**DEFAULTS, "source": {"path": "x"}, "domains": ["shop.example.test"], **changes}


# -- The contract


def test_the_defaults_have_no_problem():
    assert filters.django_app_problems(contract(), "shop") == []


@pytest.mark.parametrize(
    ("changes", "variable"),
    [
        ({"source": {"path": "x", "checksum": "sha256:0"}}, "shop.source.checksum"),
        ({"source": {"git": "https://x/y.git", "key": "k"}}, "shop.source.key"),
        ({"source": {"wheel": "a==1"}, "requirements": ["pyproject.toml"]}, "shop.requirements"),
        ({"index_url": "http://x/simple"}, "shop.index_url"),
        ({"index_url": "https://x/simple", "wheels": "w"}, "shop.index_url"),
        ({"workers": {"w": {}}}, "shop.workers.w.command"),
        ({"workers": {"W-1": {"command": "x"}}}, "shop.workers.W-1"),
        ({"workers": {"feed": {"command": "x"}}}, "shop.workers.feed"),
        ({"workers": {"w": {"command": "x", "instance": 2}}}, "shop.workers.w.instance: unknown"),
        ({"workers": {"w": {"command": "x", "instances": 0}}}, "shop.workers.w.instances"),
        ({"workers": {"w": {"command": "x", "stop_seconds": "60"}}}, "shop.workers.w.stop_seconds"),
        ({"workers": {"w": {"command": "x", "stop_signal": "KILL"}}}, "shop.workers.w.stop_signal"),
        ({"workers": {"w": {"command": "x", "hosts": "web1"}}}, "shop.workers.w.hosts"),
        ({"workers": {"w": {"command": "x", "listen": {"port": 80}}}}, "shop.workers.w.listen"),
        ({"workers": {"w": {"command": "x", "listen": 8600}}}, "shop.workers.w.listen"),
        ({"workers": {"w": {"command": "x", "listen": {"port": 8600}, "instances": 2}}}, "shop.workers.w.instances"),
        ({"workers": {"w": {"command": "x"}}, "timers": {"w": {"command": "x", "on_calendar": "daily"}}}, "shop.timers.w"),
        ({"timers": {"t": {"command": "x"}}}, "shop.timers.t.on_calendar"),
        ({"timers": {"t": {"command": "x", "on_calendar": "daily", "seconds": 0}}}, "shop.timers.t.seconds"),
        ({"domains": []}, "shop.domains"),
        ({"env": {"A B": "x"}}, "shop.env"),
        ({"env": {"A": {"b": 1}}}, "shop.env.A"),
        ({"secrets": {"KEY": {"lenght": 3}}}, "shop.secrets.KEY.lenght"),
        ({"superuser": True}, "shop.superuser"),
        ({"cache": DEFAULTS["cache"] | {"mode": "tags", "seconds": 7200}}, "shop.cache.seconds"),
        ({"files": [{"dest": "a"}]}, "shop.files[0]"),
        ({"files": [{"dest": "../a", "content": ""}]}, "shop.files[].dest"),
        ({"project": "../other"}, "shop.project"),
        ({"shared": ["/etc"]}, "shop.shared"),
    ],
)
def test_a_problem_names_its_variable(changes, variable):
    problems = filters.django_app_problems(contract(**changes), "shop")
    assert [problem.startswith(f"appliance_apps.{variable}") for problem in problems] == [True]


def test_workers_and_timers_with_a_command_are_all_it_takes():
    app = contract(workers={"w": {"command": "x"}}, timers={"t": {"command": "x", "on_calendar": "daily"}})
    assert filters.django_app_problems(app, "shop") == []
    listen = filters.django_app_workers({"w": {"command": "x", "listen": {"port": 8600}}}, "192.0.2.1")["w"]["listen"]
    assert listen == {"port": 8600, "address": "192.0.2.1"}


def test_null_unsets_a_default_and_files_replace_their_variable():
    app = contract(env={"EMAIL_URL": None, "DEBUG": False, "PORT": 8}, secrets={"TOKEN": {"as": "file"}})
    defaults, secrets = {"EMAIL_URL": "smtp://x", "CACHE_URL": ""}, {"TOKEN": "t", "SECRET_KEY": "k"}
    environment = filters.django_app_environment(defaults, secrets, app, "/etc/x")
    assert environment == {"SECRET_KEY": "k", "TOKEN_FILE": "/etc/x/secrets/TOKEN", "DEBUG": "False", "PORT": "8"}


# -- Sources: folders and repositories


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    (root / "app").mkdir(parents=True)
    (root / "manage.py").write_text("print()\n")
    (root / "requirements.txt").write_text("Django\n")
    (root / "app/__init__.py").write_text("")
    for junk in (".git/config", "__pycache__/a.pyc", "node_modules/x.js", ".venv/bin/python", "media/upload.png"):
        (root / junk).parent.mkdir(parents=True, exist_ok=True)
        (root / junk).write_text("junk")
    return root


def read(tmp_path, **changes):
    parameters = {
        "name": "shop", "path": None, "git": None,
        "archive": None, "checksum": None, "wheel": None, "credentials": "", "key": "", "host_key": "", "version": None,
        "wheels": "", "server_requirements": [], "requirements_extra": [], "base_dir": str(tmp_path),
        "cache_dir": str(tmp_path / "cache"), "project": ".", "requirements": ["requirements.txt"], "exclude": ["media"], **changes,
    }  # fmt: skip
    scratch = tmp_path / f"scratch{len(list(tmp_path.glob('scratch*')))}"
    scratch.mkdir()
    return source.read_source(parameters, parameters.pop("keep", True), str(scratch))


def names(result):
    with tarfile.open(result["archive"]) as archive:
        return sorted(archive.getnames())


def git(folder, *arguments):
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.test", *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_only_the_projects_own_files_are_packed(tmp_path, project):
    assert names(read(tmp_path, path="project")) == ["app/__init__.py", "manage.py", "requirements.txt"]


def test_the_digest_depends_on_content_alone(tmp_path, project):
    first = read(tmp_path, path="project")
    os.utime(project / "manage.py", (1, 1))
    assert read(tmp_path, path="project") == first
    (project / "manage.py").write_text("print(1)\n")
    assert read(tmp_path, path="project")["digest"] != first["digest"]


def test_check_mode_keeps_nothing(tmp_path, project):
    kept = read(tmp_path, path="project")
    Path(kept["archive"]).unlink()
    assert read(tmp_path, path="project", keep=False) == kept
    assert not Path(kept["archive"]).exists()


def test_gitignore_is_honoured_in_a_work_tree(tmp_path, project):
    (project / ".git/config").unlink()
    git(project, "init", "-q")
    (project / ".gitignore").write_text("secret.env\n")
    (project / "secret.env").write_text("x")
    (project / "new.py").write_text("")
    assert names(read(tmp_path, path="project")) == [".gitignore", "app/__init__.py", "manage.py", "new.py", "requirements.txt"]


@pytest.fixture
def repository(tmp_path):
    work = tmp_path / "work"
    (work / "site").mkdir(parents=True)
    (work / "site/manage.py").write_text("")
    (work / "site/pyproject.toml").write_text('[project]\nname = "x"\nrequires-python = ">=3.12"\n')
    git(work, "init", "-q", "-b", "main")
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "one")
    git(work, "tag", "-a", "v1", "-m", "v1")
    git(tmp_path, "clone", "-q", "--bare", "work", "repo.git")
    return work


@pytest.mark.parametrize("version", ["main", "v1", "commit"])
def test_a_repository_is_read_at_a_version(tmp_path, repository, version):
    commit = git(repository, "rev-parse", "HEAD")
    result = read(tmp_path, git="repo.git", version=commit if version == "commit" else version, project="site", requirements=[])
    assert (result["revision"], result["requires_python"]) == (commit, ">=3.12")
    assert names(result) == ["site/manage.py", "site/pyproject.toml"]


def test_a_moved_branch_is_followed(tmp_path, repository):
    first = read(tmp_path, git="repo.git", version="main", project="site", requirements=[])
    (repository / "site/manage.py").write_text("print()\n")
    git(repository, "commit", "-q", "-a", "-m", "two")
    git(repository, "push", "-q", "../repo.git", "main")
    assert read(tmp_path, git="repo.git", version="main", project="site", requirements=[])["revision"] != first["revision"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "absent"}, "appliance_apps.shop.source.path"),
        ({"git": "absent.git", "version": "main"}, "appliance_apps.shop.source.git"),
        ({"git": "repo.git", "version": "v9"}, "appliance_apps.shop.source.version: v9"),
        ({"git": "repo.git", "version": "main", "project": "."}, "type project: site"),
        ({"git": "repo.git", "version": "main", "project": "sites"}, "appliance_apps.shop.project"),
        ({"git": "repo.git", "version": "main", "project": "site"}, "appliance_apps.shop.requirements"),
    ],
)
def test_a_refusal_names_variable_and_remedy(tmp_path, repository, changes, message):
    with pytest.raises(source.SourceError) as refused:
        read(tmp_path, **changes)
    assert message in str(refused.value)


def test_credentials_are_in_no_argument_and_no_message(tmp_path):
    with pytest.raises(source.SourceError) as refused:
        read(tmp_path, git="http://127.0.0.1:9/x.git", credentials="bob:hunter22", version="main")
    assert "hunter22" not in str(refused.value)
    assert source.Git("bob:hunter22").scrub("http://u:p@h bob:hunter22") == "http://********@h ********"


@pytest.mark.parametrize(("written", "sent"), [("bob:p%40ss", "bob:p@ss"), ("token", "token:")])
def test_credentials_go_to_the_server_as_they_are(written, sent):
    values = source.Git(written).env.values()
    assert f"Authorization: Basic {base64.b64encode(sent.encode()).decode()}" in values


def test_a_link_out_of_the_source_is_refused(tmp_path, project):
    (project / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(source.SourceError, match="passwd is a link"):
        read(tmp_path, path="project")


def test_the_packed_tar_has_no_owner(tmp_path, project):
    out = io.BytesIO()
    packing.pack(project, ["manage.py"], out, "x")
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        member = archive.getmember("manage.py")
    assert (member.uid, member.gid, member.mode, member.mtime) == (0, 0, 0o644, packing.MTIME)
