"""Archives, wheels and keys as sources; requirements of every form; what is built on the control node."""

import hashlib
import io
import re
import shutil
import stat
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from plugins import load_module
from test_contract import ROLE, names, read, source

build = load_module(ROLE / "library/app_build.py")
requirements = load_module(ROLE / "module_utils/app_requirements.py")

SourceError = source.SourceError


def checksum(path):
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def make_tar(path, members):
    """A tar of {name: content}; a TarInfo as content is added as it is."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if isinstance(content, tarfile.TarInfo) else content.encode()
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def make_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


PROJECT = {"site-1.2/manage.py": "print()\n", "site-1.2/requirements.txt": "Django\n", "site-1.2/app/__init__.py": ""}


# -- Archives


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_an_archive_is_unpacked_without_its_single_folder(tmp_path, make):
    path = make(tmp_path / "site", PROJECT)
    result = read(tmp_path, archive="site", checksum=checksum(path))
    assert names(result) == ["app/__init__.py", "manage.py", "requirements.txt"]
    assert result["revision"] == checksum(path)


def test_an_archive_without_a_single_folder_is_taken_as_it_is(tmp_path):
    path = make_tar(tmp_path / "site.tar.gz", {name.partition("/")[2]: text for name, text in PROJECT.items()})
    assert names(read(tmp_path, archive="site.tar.gz", checksum=checksum(path))) == ["app/__init__.py", "manage.py", "requirements.txt"]


def test_a_wrong_checksum_is_refused_by_name_and_nothing_is_unpacked(tmp_path):
    """The archive would even be refused for what is in it, had anybody looked."""
    make_tar(tmp_path / "site.tar.gz", {"../evil": "x"})
    with pytest.raises(SourceError, match=r"appliance_apps\.shop\.source\.checksum: the archive has sha256:\w{64}, not sha256:0{64}"):
        read(tmp_path, archive="site.tar.gz", checksum="sha256:" + "0" * 64)


@pytest.mark.parametrize("given", [None, "md5:abc", "abc"])
def test_an_archive_wants_a_checksum(tmp_path, given):
    make_tar(tmp_path / "site.tar.gz", PROJECT)
    with pytest.raises(SourceError, match=r"shop\.source\.checksum: .*type \"sha256:"):
        read(tmp_path, archive="site.tar.gz", checksum=given)


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("make", "members", "message"),
    [
        (make_tar, {"../evil": "x"}, "leaves the folder"),
        (make_zip, {"a/../../evil": "x"}, "leaves the folder"),
        (make_tar, {"/etc/evil": "x"}, "leaves the folder"),
        (make_tar, PROJECT | {"l": link("site-1.2/l", "../../..")}, "is a link to"),
        (make_tar, PROJECT | {"l": link("site-1.2/l", "", tarfile.FIFOTYPE)}, "device or a pipe"),
    ],
)
def test_an_archive_writes_nowhere_else(tmp_path, make, members, message):
    path = make(tmp_path / "site", members)
    with pytest.raises(SourceError, match=message):
        read(tmp_path, archive="site", checksum=checksum(path))
    assert not list(tmp_path.rglob("evil"))


def test_nothing_is_written_through_a_link_of_the_archive(tmp_path):
    """A link first, then a file below it: the file must not land where the link leads."""
    outside = tmp_path / "outside"
    outside.mkdir()
    path = make_tar(tmp_path / "site.tar.gz", {"l": link("l", str(outside)), "l/evil": "x", **PROJECT})
    with pytest.raises((SourceError, OSError)):
        read(tmp_path, archive="site.tar.gz", checksum=checksum(path))
    assert not list(outside.iterdir())


# -- Deploy keys (against a real server: tests/full/test_sources.py)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host_key": ""}, "source.host_key: missing beside key"),
        ({"host_key": "git.example.test ssh-ed25519 AAAA"}, "without the host's name"),
        ({"key": "absent"}, "source.key: there is no file"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(tmp_path, changes, message):
    with pytest.raises(SourceError, match=re.escape(message)):
        source.ssh_command(
            *({"key": "-----BEGIN OPENSSH PRIVATE KEY-----", "host_key": "ssh-ed25519 AAAA"} | changes).values(),
            tmp_path,
            tmp_path,
            "source",
        )


def test_the_key_is_in_no_argument(tmp_path):
    command = source.ssh_command("-----BEGIN OPENSSH PRIVATE KEY-----\nabcdef", "ssh-ed25519 AAAA", tmp_path, tmp_path, "source")
    assert "abcdef" not in command
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


# -- Wheels


def make_wheel(path, name="site", version="1.2", requires="", files=None):
    members = {f"{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"}
    members |= {
        f"{name}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-{version}.dist-info/RECORD": "",
    }
    return make_zip(path / f"{name}-{version}-py3-none-any.whl", members | (files or {f"{name}/__init__.py": ""}))


def test_a_wheel_needs_no_manage_py(tmp_path):
    make_wheel(tmp_path, requires="Requires-Python: >=3.12\n")
    result = read(tmp_path, wheel="site-1.2-py3-none-any.whl")
    assert names(result) == [".appliance-wheel/requirements.txt", ".appliance-wheel/site-1.2-py3-none-any.whl"]
    assert (result["requirements"], result["requires_python"]) == ([".appliance-wheel/requirements.txt"], ">=3.12")


def test_another_wheel_of_the_same_name_is_another_source(tmp_path):
    make_wheel(tmp_path)
    first = read(tmp_path, wheel="site-1.2-py3-none-any.whl")
    make_wheel(tmp_path, files={"site/__init__.py": "new = True"})
    second = read(tmp_path, wheel="site-1.2-py3-none-any.whl")
    assert first["digest"] != second["digest"]
    assert first["requirements_digest"] != second["requirements_digest"]


def test_a_wheel_may_be_a_requirement_of_one_version(tmp_path):
    assert names(read(tmp_path, wheel="site[prod]==1.2")) == [".appliance-wheel/requirements.txt"]
    for unpinned in ("site", "site>=1.2", "site==1.*"):
        with pytest.raises(SourceError, match=r"source\.wheel: .*type .*site==1\.2"):
            read(tmp_path, wheel=unpinned)


def test_a_folder_of_wheels_must_hold_our_server(tmp_path):
    """Otherwise a host without a way out fails in the middle of its release."""
    (tmp_path / "wheels").mkdir()
    make_wheel(tmp_path)
    make_wheel(tmp_path / "wheels")
    asked = {"wheel": "site-1.2-py3-none-any.whl", "wheels": "wheels", "server_requirements": ["gunicorn==27.0.1"]}
    with pytest.raises(SourceError, match=r"shop\.wheels: gunicorn==27.0.1 is not among them.*pip download"):
        read(tmp_path, **asked)
    make_wheel(tmp_path / "wheels", "gunicorn", "27.0.1")
    with tarfile.open(read(tmp_path, **asked)["wheels"]) as packed:
        assert packed.getnames() == ["gunicorn-27.0.1-py3-none-any.whl", "site-1.2-py3-none-any.whl"]


# -- Requirements

PYPROJECT = """
[project]
name = "Site"
dependencies = ["Django>=5.2", "site[static]"]
[project.optional-dependencies]
static = ["whitenoise"]
Prod_x = ["psycopg[binary]"]
[dependency-groups]
ops = ["sentry-sdk", {include-group = "more"}]
more = ["structlog"]
"""


def converted(entry, text):
    files, made = requirements.requirements_files([entry], lambda _: text, "appliance_apps.shop")
    assert files == list(made)
    return [line for line in made[files[0]].splitlines() if not line.startswith("#")]


def test_a_pyproject_gives_its_dependencies_and_named_groups():
    assert converted("pyproject.toml", PYPROJECT) == ["Django>=5.2", "whitenoise"]
    assert converted("../pyproject.toml[prod-x, ops]", PYPROJECT) == [
        "Django>=5.2",
        "whitenoise",
        "psycopg[binary]",
        "sentry-sdk",
        "structlog",
    ]


def test_a_pylock_gives_versions_with_hashes():
    """Debian's pip reads no such lock; what it is given must be no less strict."""
    text = """
lock-version = "1.0"
[[packages]]
name = "django"
version = "5.2.8"
marker = "python_version >= '3.10'"
wheels = [{name = "django.whl", hashes = {sha256 = "aa"}}]
sdist = {name = "django.tar.gz", hashes = {sha256 = "bb"}}
"""
    assert converted("pylock.toml", text) == ["django==5.2.8 ; python_version >= '3.10' --hash=sha256:aa --hash=sha256:bb"]


DYNAMIC = "[project]\nname='x'\ndynamic=['dependencies']\n[tool.setuptools.dynamic]\ndependencies={file='base.txt'}"


@pytest.mark.parametrize(
    ("entry", "text", "message"),
    [
        ("uv.lock", "", "uv export"),
        ("poetry.lock", "", "poetry export"),
        ("Pipfile.lock", "", "pipenv requirements"),
        ("pyproject.toml[prod]", "[project]\nname='x'\n[dependency-groups]\nops=[]", "there is no group prod in it; there are ops"),
        ("pyproject.toml", DYNAMIC, r"\[base.txt\]"),
        ("pyproject.toml", "[tool.poetry.dependencies]\nDjango='5'", "poetry export"),
        ("requirements.txt[prod]", "", "only pyproject.toml has groups"),
        ("pylock.toml", "lock-version='1.0'\n[[packages]]\nname='x'\ndirectory={path='.'}", "--no-emit-project"),
        ("pylock.toml", "lock-version='1.0'\n[[packages]]\nname='x'\nmarker=\"'dev' in dependency_groups\"", "groups only"),
    ],
)  # fmt: skip
def test_what_pip_cannot_read_is_refused_with_what_to_type(entry, text, message):
    with pytest.raises(SourceError, match=message) as refused:
        requirements.requirements_files([entry], lambda _: text, "appliance_apps.shop")
    assert str(refused.value).startswith("appliance_apps.shop.requirements")


# -- Built on the control node


@pytest.fixture
def package(tmp_path):
    """A project whose only requirement is a package of its own, and which builds a page; parameters of app_build."""
    root = tmp_path / "project"
    (root / "lib/own").mkdir(parents=True)
    (root / "manage.py").write_text("")
    (root / "requirements.txt").write_text("")
    (root / "lib/own/__init__.py").write_text("")
    wheel = make_wheel(tmp_path / "project/lib", "own")
    folder = tmp_path / "wheels"
    folder.mkdir()
    shutil.move(wheel, folder)
    make_wheel(folder, "gunicorn", "27.0.1")
    server = ["gunicorn==27.0.1"]
    packed = read(tmp_path, path="project", wheels="wheels", server_requirements=server)
    keys = ("archive", "digest", "requirements", "requirements_digest", "wheels", "wheels_digest")
    return {key: packed[key] for key in keys} | {
        "name": "shop", "project": ".", "build": ["date +%N > page.html; mkdir node_modules; touch node_modules/x.js"],
        "requirements_extra": ["own"], "server_requirements": server, "index_url": "", "hosts": {"web1": build.here()},
        "cache_dir": str(tmp_path / "cache"),
    }  # fmt: skip


def built(tmp_path, package, keep=True):
    scratch = tmp_path / f"build{len(list(tmp_path.glob('build*')))}"
    scratch.mkdir()
    return build.build(package, keep, scratch)


def members(path):
    with tarfile.open(path) as archive:
        return archive.getnames()


def test_the_archive_carries_what_was_built_and_all_wheels(tmp_path, package):
    result = built(tmp_path, package)
    assert {"page.html", "node_modules/x.js", "manage.py"} <= set(members(result["archive"]))
    assert members(result["wheels"]) == ["gunicorn-27.0.1-py3-none-any.whl", "own-1.2-py3-none-any.whl"]


def test_the_same_input_is_built_once(tmp_path, package):
    """Neither a second run nor a check may build, and both name the same outcome."""
    first = built(tmp_path, package)
    stamp = checksum(Path(first["archive"]))
    assert built(tmp_path, package) == built(tmp_path, package, keep=False) == first
    assert checksum(Path(first["archive"])) == stamp
    other = built(tmp_path, package | {"build": ["true"]})
    assert (other["archive"] != first["archive"], other["wheels"] == first["wheels"]) == (True, True)


def test_hosts_unlike_this_computer_are_refused_naming_both(tmp_path, package):
    there = build.here() | {"release": "99", "python": "3.99"}
    with pytest.raises(
        SourceError, match=rf"Python {sys.version_info[0]}\.{sys.version_info[1]} .*\(this control node\).*99 with Python 3\.99 .*\(web9\)"
    ):
        built(tmp_path, package | {"hosts": {"web9": there}})


def test_a_failed_build_shows_the_commands_words_and_no_password(tmp_path, package):
    secret = {"index_url": "https://u:hunter22@index.example.test/simple", "build": ["echo $PIP_INDEX_URL broken; exit 3"]}
    with pytest.raises(SourceError, match=r"exit 3") as refused:
        built(tmp_path, package | secret)
    assert "broken" in str(refused.value)
    assert "hunter22" not in str(refused.value)
