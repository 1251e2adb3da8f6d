"""A project as an archive, as a wheel, out of a repository with a deploy key, and built on the control node."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
import yaml
from site_in_lab import ROOT, changes

PROJECT = ROOT / "tests/projects/mirror"
GUNICORN = yaml.safe_load((ROOT / "roles/django_app/defaults/main.yml").read_text())["django_app_gunicorn_version"]
PYPROJECT = """
[project]
name = "mirror"
version = "1.0"
dependencies = ["django>=5.2,<5.3"]
[project.optional-dependencies]
prod = ["whitenoise"]
"""


def app(name, **changes):
    """As much of the contract as mirror needs."""
    return {
        "settings_module": "mirror", "wsgi": "mirror:application", "domains": [f"{name}.example.test"], "superuser": False,
        "static": {"root": None}, "media": {"served_by": "none"}, "health": {"path": "/"}, "processes": 1, "threads": 2,
    } | changes  # fmt: skip


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pylock(wheels):
    """A lock of the wheels in a folder, but for our server's."""
    lines = ['lock-version = "1.0"', 'created-by = "test"']
    for wheel in sorted(wheels.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        if name in ("django", "asgiref", "sqlparse"):
            file = f'{{name = "{wheel.name}", hashes = {{sha256 = "{sha256(wheel)}"}}}}'
            lines += ["[[packages]]", f'name = "{name}"', f'version = "{version}"', f"wheels = [{file}]"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def inventory(copy_of):
    """One machine with all boxes, and one beside it that holds a repository and acts as a control node."""
    target = copy_of("tests/inventories/single", "sources")
    hosts = yaml.safe_load((target / "hosts.yml").read_text())
    hosts["all"]["hosts"]["ctl1"] = {"ansible_host": "192.168.30.22"}
    hosts["all"]["children"]["control"] = {"hosts": {"ctl1": None}}
    (target / "hosts.yml").write_text(yaml.safe_dump(hosts))
    flows = yaml.safe_load((target / "group_vars/all/flows.yml").read_text())
    flows["appliance_flows"] += [{"from": "control", "to": "all", "ports": [22]}, {"from": "app", "to": "control", "ports": [8443]}]
    (target / "group_vars/all/flows.yml").write_text(yaml.safe_dump(flows))
    # Beside it: Ansible reads every file in an inventory's folder as an inventory.
    files = target.with_name("files")
    pip = [sys.executable, "-m", "pip", "download", "-q", "-d", files / "wheels", "django>=5.2,<5.3", f"gunicorn=={GUNICORN}"]
    subprocess.run(pip, check=True)
    lock = files / "pylock.toml"
    lock.write_text(pylock(files / "wheels"))
    with tarfile.open(files / "mirror.tar.gz", "w:gz") as archive:
        archive.add(PROJECT, "mirror-1.0")
        archive.add(lock, "mirror-1.0/pylock.toml")
    shutil.copytree(PROJECT, files / "built")
    (files / "built/public").mkdir()
    (files / "built/public/index.html").write_text("not built")
    with zipfile.ZipFile(files / "mirror-1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(PROJECT / "mirror.py", "mirror.py")
        metadata = "Metadata-Version: 2.1\nName: mirror\nVersion: 1.0\nRequires-Dist: django>=5.2,<5.3\n"
        wheel.writestr("mirror-1.0.dist-info/METADATA", metadata)
        wheel.writestr("mirror-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("mirror-1.0.dist-info/RECORD", "")
    return target


@pytest.fixture(scope="module")
def lab(raise_site, inventory):
    return raise_site(inventory)


@pytest.fixture(scope="module")
def repository(lab, tmp_path_factory):
    """A git server: SSH on ctl1, a deploy key, a repository. It is reached by a port of 127.0.0.1."""
    folder = tmp_path_factory.mktemp("git")
    for name in ("deploy", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)
    lab.on("ctl1", "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install git && useradd -m git")
    public = (folder / "deploy.pub").read_text()
    lab.on("ctl1", f"install -d -o git -m 0700 ~git/.ssh && echo {shlex.quote(public)} >~git/.ssh/authorized_keys")
    lab.on("ctl1", "runuser -u git -- git init -q --bare -b main ~git/mirror.git")
    variables = lab.variables("ctl1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ssh = [
        "ssh",
        *shlex.split(variables["ansible_ssh_common_args"]),
        "-o",
        "ControlPath=none",
        "-i",
        variables["ansible_ssh_private_key_file"],
    ]
    forward = ["-N", "-L", f"127.0.0.1:{port}:127.0.0.1:22", f"{variables['ansible_user']}@{variables['ansible_host']}"]
    with subprocess.Popen([*ssh, *forward], stdin=subprocess.DEVNULL) as tunnel:
        try:
            end = time.monotonic() + 20
            while time.monotonic() < end:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.1)
            host_key = lab.on("ctl1", "cat /etc/ssh/ssh_host_ed25519_key.pub").strip()
            work = folder / "work"
            shutil.copytree(PROJECT, work)
            (work / "pyproject.toml").write_text(PYPROJECT)
            url = f"ssh://git@127.0.0.1:{port}/home/git/mirror.git"
            env = lab.env | {"GIT_SSH_COMMAND": f"ssh -i {folder}/deploy -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"}
            identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.test"]
            for command in (["init", "-qb", "main"], ["add", "-A"], [*identity, "commit", "-qm", "Mirror"], ["push", "-q", url, "main"]):
                subprocess.run(["git", *command], cwd=work, env=env, check=True)
            yield {"url": url, "host_key": host_key, "folder": folder}
        finally:
            tunnel.terminate()


@pytest.fixture(scope="module")
def site(lab, inventory, repository):
    inventory.with_name("files").joinpath("deploy_key").write_text((repository["folder"] / "deploy").read_text())
    checksum = f"sha256:{sha256(inventory.with_name('files') / 'mirror.tar.gz')}"
    apps = {
        "archived": app("archived", source={"archive": "../files/mirror.tar.gz", "checksum": checksum}, requirements=["pylock.toml"]),
        "wheeled": app("wheeled", source={"wheel": "../files/mirror-1.0-py3-none-any.whl"}, wheels="../files/wheels"),
        "keyed": app(
            "keyed",
            source={"git": repository["url"], "version": "main", "key": "../files/deploy_key", "host_key": repository["host_key"]},
            requirements=["pyproject.toml[prod]"],
        ),
        "built": app("built", source={"path": "../files/built"}, pages=[{"url": "/built/", "root": "public"}]),
    }
    (inventory / "group_vars/all/main.yml").write_text(yaml.safe_dump({"appliance_apps": apps}))
    done = lab.play()
    assert (repository["folder"] / "deploy").read_text().splitlines()[2] not in done.stdout
    return lab


def files_of(site):
    return site.inventory.with_name("files")


def release_of(site, name):
    return json.loads(site.on("all1", f"appliance-release status {name}"))["current"]


def with_app(site, name, **changes):
    """The inventory's apps, one of them changed."""
    apps = yaml.safe_load((site.inventory / "group_vars/all/main.yml").read_text())["appliance_apps"]
    return {"appliance_apps": apps | {name: apps[name] | changes}}


@pytest.mark.parametrize("name", ["archived", "wheeled", "keyed"])
def test_project_answers(site, name):
    assert json.loads(site.get(f"{name}.example.test").text)["method"] == "GET"


def test_a_second_run_changes_nothing(site):
    again = site.play()
    assert set(changes(again).values()) == {0}, again.stdout[-4000:]


def test_versions_are_those_of_the_lock(site):
    wheel = next(files_of(site).glob("wheels/django-*.whl"))
    assert site.on("all1", "archived-manage version").strip() == wheel.name.split("-")[1]


def test_a_wheel_is_managed_without_manage_py(site):
    assert "mirror" in site.on("all1", "wheeled-manage diffsettings | grep ROOT_URLCONF")


def test_a_group_of_the_pyproject_is_installed(site):
    assert "whitenoise" in site.on("all1", "/srv/keyed/current/venv/bin/pip list")


def test_nothing_but_the_folder_of_wheels_is_installed_from(site):
    """What is not in it is not fetched from anywhere, although a way there exists; the old release keeps serving."""
    before = release_of(site, "wheeled")
    with site.told(with_app(site, "wheeled", requirements_extra=["whitenoise"])):
        done = site.play("site.yml", "--tags", "django_app", check=False)
    assert done.returncode != 0
    assert "No matching distribution found for whitenoise" in done.stdout
    assert release_of(site, "wheeled") == before
    assert site.get("wheeled.example.test").status == 200


def test_a_file_with_another_hash_is_not_installed(site):
    """Somebody changed what the index serves, or the lock."""
    before, path = release_of(site, "archived"), files_of(site) / "other.tar.gz"
    work = files_of(site) / "other"
    with tarfile.open(files_of(site) / "mirror.tar.gz") as archive:
        archive.extractall(work, filter="data")
    lock = work / "mirror-1.0/pylock.toml"
    lock.write_text(re.sub(r'(sha256 = ")\w{4}', r"\g<1>0000", lock.read_text(), count=1))
    with tarfile.open(path, "w:gz") as archive:
        archive.add(work / "mirror-1.0", "mirror-1.0")
    with site.told(with_app(site, "archived", source={"archive": "../files/other.tar.gz", "checksum": f"sha256:{sha256(path)}"})):
        done = site.play("site.yml", "--tags", "django_app", check=False)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stdout
    assert release_of(site, "archived") == before


def test_a_wrong_checksum_changes_nothing(site):
    said = site.refuses(with_app(site, "archived", source={"archive": "../files/mirror.tar.gz", "checksum": "sha256:" + "0" * 64}))
    assert "appliance_apps.archived.source.checksum: the archive has sha256:" in said


def keyed(site, repository, **changes):
    source = {"git": repository["url"], "version": "main", "key": "../files/deploy_key", "host_key": repository["host_key"]}
    return with_app(site, "keyed", source=source | changes)


def test_another_host_key_is_refused(site, repository):
    """Somebody between would otherwise hand us any code."""
    other = (repository["folder"] / "stranger.pub").read_text()
    assert "another host key than appliance_apps.keyed.source.host_key" in site.refuses(keyed(site, repository, host_key=other))


def test_another_deploy_key_is_refused(site, repository):
    """Not even if the operator's agent would do: the contract says which key."""
    said = site.refuses(keyed(site, repository, key=(repository["folder"] / "stranger").read_text()))
    assert "does not take appliance_apps.keyed.source.key" in said


# -- A private index

INDEX = """
import base64, functools, http.server, ssl
class Index(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get("Authorization") == "Basic " + base64.b64encode(b"pip:hunter2222").decode():
            return super().do_GET()
        self.send_error(401)
server = http.server.ThreadingHTTPServer(("", 8443), functools.partial(Index, directory="/root/index"))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/root/index.crt", "/root/index.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def index(site):
    """An index on ctl1 that wants a password, with the folder of wheels and one of its own. Its URL, without them."""
    address, folders = site.variables("ctl1")["ansible_host"], files_of(site) / "index"
    for wheel in files_of(site).glob("wheels/*.whl"):
        folder = folders / "simple" / wheel.name.split("-")[0].replace("_", "-")
        folder.mkdir(parents=True)
        shutil.copy(wheel, folder)
    (folders / "simple/private").mkdir()
    with zipfile.ZipFile(folders / "simple/private/private-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("private.py", "")
        wheel.writestr("private-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: private\nVersion: 1.0\n")
        wheel.writestr("private-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("private-1.0.dist-info/RECORD", "")
    packed = subprocess.run(["tar", "-cz", "-C", folders.parent, "index"], capture_output=True, check=True).stdout
    site.on("ctl1", "base64 -d | tar -xz -C /root", input=base64.b64encode(packed).decode())
    site.on("ctl1", "cat >/root/index.py", input=INDEX)
    certificate = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=index -addext subjectAltName=IP:{address}"
    site.on("ctl1", f"cd /root && {certificate} -keyout index.key -out index.crt && systemd-run --unit=index python3 /root/index.py")
    trust = "cat >/usr/local/share/ca-certificates/index.crt && update-ca-certificates"
    site.on("all1", trust, input=site.on("ctl1", "cat /root/index.crt"))
    return f"{address}:8443/simple"


def test_a_private_index_is_asked_and_its_password_shown_to_nobody(site, index):
    """Neither in what Ansible prints, nor to the app, which has no use for it."""
    with site.told(with_app(site, "built", index_url=f"https://pip:hunter2222@{index}", requirements_extra=["private"])):
        done = site.play("site.yml", "--tags", "django_app", "-v")
    assert "private" in site.on("all1", "/srv/built/current/venv/bin/pip list")
    assert "hunter2222" not in done.stdout
    assert "hunter2222" not in site.on("all1", "cat /etc/appliance/apps/built/environment")
    assert site.on("all1", "stat -c '%U %a' /etc/appliance/apps/built/releases/*/pip.env").split() == ["root", "600"]


def test_an_index_that_refuses_shows_no_password(site, index):
    with site.told(with_app(site, "built", index_url=f"https://pip:wrong-pass-77@{index}", requirements_extra=["private==2"])):
        done = site.play("site.yml", "--tags", "django_app", check=False)
    assert done.returncode != 0
    assert "No matching distribution" in done.stdout
    assert "wrong-pass-77" not in done.stdout


# -- build_on: control

BUILD = {
    "build_on": "control",
    "build": ["mkdir -p public && echo $(hostname) $(date +%s%N) >public/index.html"],
    "requirements_extra": ["whitenoise"],
}


def test_a_control_node_unlike_the_hosts_is_refused_naming_both(site):
    """What is built for one Python does not run under another."""
    said = site.refuses(with_app(site, "built", **BUILD))
    assert re.search(
        r"appliance_apps.built.build_on: what is built on .* \(this control node\) would not run on Debian 13 with Python 3.13", said
    )


class Control:
    """ctl1, which is like the hosts, as the control node of the app `built`."""

    def __init__(self, site):
        self.site = site
        git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(git, cwd=ROOT, capture_output=True, check=True).stdout
        self.copy(["-C", str(ROOT), "--null", "-T", "-"], "/root/appliance", listed)
        folders = [str(path.relative_to("/")) for path in (site.inventory, files_of(site))]
        self.copy(["-C", "/", *folders], "/")
        self.copy(["-C", str(ROOT), str(site.secrets.relative_to(ROOT))], "/root/appliance")
        key = Path(site.variables("all1")["ansible_ssh_private_key_file"]).read_text()
        site.on("ctl1", "umask 077; mkdir -p /root/.ssh && cat >/root/.ssh/id_ed25519", input=key)
        variables = {
            "ansible_user": "ansible", "ansible_become": True, "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
            "appliance_name": f"lab-{site.name}", "appliance_public_port": site.public_port,
        }  # fmt: skip
        site.on("ctl1", "cat >/root/overlay.yml", input=yaml.safe_dump({"all": {"hosts": {"all1": variables}}}))
        self.sh("apt-get -qq install python3-venv && python3 -m venv /root/venv")
        self.sh("/root/venv/bin/pip install -q -r /root/appliance/requirements.lock")

    def sh(self, command, check=True):
        command = f"export DEBIAN_FRONTEND=noninteractive; {command}"
        return self.site.lab("exec", "--on", "ctl1", "sh", "-c", command, check=check, timeout=900)

    def copy(self, what, target, listed=None):
        packed = subprocess.run(["tar", "-cz", *what], input=listed, capture_output=True, check=True).stdout
        self.site.on("ctl1", f"mkdir -p {target} && base64 -d | tar -xz -C {target}", input=base64.b64encode(packed).decode())

    def deploy(self, **contract):
        """The inventory's `built` with these keys, released from there."""
        told = yaml.safe_dump(with_app(self.site, "built", **contract))
        self.site.on("ctl1", f"cat >{self.site.inventory}/group_vars/all/zz_told.yml", input=told)
        command = f"ansible-playbook -i {self.site.inventory} -i /root/overlay.yml playbooks/deploy.yml -e appliance_deploy=built"
        return self.sh(f"cd /root/appliance && PATH=/root/venv/bin:$PATH ANSIBLE_NOCOLOR=1 LC_ALL=C.UTF-8 {command}", check=False)


@pytest.fixture(scope="module")
def control(site):
    """Its hosts reach no index meanwhile."""
    control = Control(site)
    nowhere = "[global]\nindex-url = https://192.0.2.1/simple\nretries = 0\ntimeout = 1\n"
    site.on("all1", "cp /etc/pip.conf /root/pip.conf && cat >/etc/pip.conf", input=nowhere)
    yield control
    site.on("all1", "mv /root/pip.conf /etc/pip.conf")


def test_a_host_installs_what_its_control_node_built(site, control):
    """Wheels and files: the host has no npm, no git, no compiler, and no way to an index."""
    done = control.deploy(**BUILD)
    assert done.returncode == 0, done.stdout[-4000:]
    page = site.get("built.example.test", "/built/").text
    assert page.startswith("ctl1 ")
    assert "whitenoise" in site.on("all1", "/srv/built/current/venv/bin/pip list")
    again = control.deploy(**BUILD)
    assert set(changes(again).values()) == {0}, again.stdout[-4000:]
    assert site.get("built.example.test", "/built/").text == page, "it was built again"


def test_twin_a_host_left_to_itself_reaches_no_index(site, control):
    """The proof above would be none if it did."""
    done = control.deploy(requirements_extra=["sqlparse", "pytz"])
    assert done.returncode != 0
    assert "No matching distribution found" in done.stdout
