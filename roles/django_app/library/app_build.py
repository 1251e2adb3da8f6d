#!/usr/bin/python
"""Build what an app's hosts install, on the control node."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ansible.module_utils.app_packing import EXCLUDED, SourceError, files_below, pack, store
from ansible.module_utils.app_requirements import requirements_texts
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: app_build
short_description: Build an app's wheels and files on the control node
description:
  - Runs the contract's C(build) commands on a scratch copy of the source, and makes wheels of all that it requires.
  - Refuses unless this computer has the operating system's release, the machine and the Python of the hosts.
  - What was built for the same input is used again. Under check mode nothing is built.
options:
  name: {description: The app, type: str, required: true}
  archive: {description: "The packed source, of app_source", type: path, required: true}
  digest: {description: Its digest, type: str, required: true}
  project: {description: manage.py's folder in the source, type: str, default: "."}
  build: {description: Shell commands, type: list, elements: str, default: []}
  requirements: {description: "Requirements files, relative to the project", type: list, elements: str, default: []}
  requirements_digest: {description: "Of what those files say, by app_source", type: str, default: ""}
  requirements_extra: {description: Further requirements, type: list, elements: str, default: []}
  server_requirements: {description: Of our server, type: list, elements: str, default: []}
  wheels: {description: "A packed folder of wheels to take instead of an index", type: str, default: ""}
  wheels_digest: {description: Its digest, type: str, default: ""}
  index_url: {description: "Where packages come from, if not from where this computer's pip says", type: str, default: ""}
  hosts: {description: "Host to its distribution, release, machine and Python", type: dict, required: true}
  cache_dir: {description: Where outcomes are kept, type: path, required: true}
author: Django Appliance
"""

EXAMPLES = r"""
- name: Build the project
  app_build:
    name: shop
    archive: .cache/appliance/sources/shop-0123456789abcdef.tar.gz
    digest: 0123456789abcdef
    requirements: [requirements.txt]
    hosts: {web1: {distribution: Debian, release: "13", machine: x86_64, python: "3.13"}}
    cache_dir: .cache/appliance
  delegate_to: localhost
"""

RETURN = r"""
archive: {description: "The source with what was built in it", type: str, returned: success}
digest: {description: Of what it was built from, type: str, returned: success}
wheels: {description: "All wheels, packed", type: str, returned: success}
wheels_digest: {description: Of what they were made from, type: str, returned: success}
"""

SECONDS = 3600
#: What of the operator's environment a build is given: how to reach the world, no secret of the project.
PASSED = re.compile(r"HOME|USER|LOGNAME|PATH|LANG|LC_.*|TMPDIR|SSH_AUTH_SOCK|(https?|no|all)_proxy|(PIP|NPM|NODE|SSL_CERT)_.*", re.I)


def here():
    """This computer, as `hosts` describes one."""
    system = platform.freedesktop_os_release()
    return {
        "distribution": system.get("ID", "").capitalize(),
        "release": system.get("VERSION_ID", ""),
        "machine": platform.machine(),
        "python": ".".join(platform.python_version_tuple()[:2]),
    }


def check_hosts(hosts, mine, where):
    """What is built here runs there."""
    for host, theirs in hosts.items():
        if theirs != mine:
            said = ["{distribution} {release} with Python {python} on {machine}".format(**one) for one in (mine, theirs)]
            raise SourceError(
                f"{where}.build_on: what is built on {said[0]} (this control node) would not run on {said[1]} ({host});"
                " type build_on: host, or run this from a control node that is like the hosts"
            )


class Builder:
    """One app's build."""

    def __init__(self, params, scratch):
        self.params, self.scratch = params, Path(scratch)
        self.where = f"appliance_apps.{params['name']}"
        self.tree = self.scratch / "tree"
        self.project = self.tree / params["project"]
        url = urlsplit(params["index_url"])
        self.secrets = [one for one in {url.password or "", unquote(url.password or "")} if one]
        self.env = {name: value for name, value in os.environ.items() if PASSED.fullmatch(name)}
        if params["index_url"]:
            self.env["PIP_INDEX_URL"] = params["index_url"]

    def unpack(self):
        if not self.tree.exists():
            with tarfile.open(self.params["archive"]) as archive:
                archive.extractall(self.tree, filter="data")

    def run(self, step, command):
        shell = isinstance(command, str)
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", command] if shell else command,
                cwd=self.project, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, errors="replace", timeout=SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise SourceError(f"{self.where}: {step} took more than {SECONDS} s on the control node") from None
        if done.returncode:
            text = done.stdout
            for secret in self.secrets:
                text = text.replace(secret, "********")
            shown = "\n".join(text.rstrip().splitlines()[-60:])[-8000:]
            raise SourceError(f"{self.where}: {step} failed on the control node (exit {done.returncode}):\n{shown}")

    def files(self, tar):
        """Run the build commands and pack the outcome; node_modules too, since collectstatic may read from them."""
        self.unpack()
        for command in self.params["build"]:
            self.run(f"build: {command}", command)
        with open(tar, "wb") as out:
            excluded = EXCLUDED - {"node_modules"}
            pack(self.tree, files_below(self.tree, excluded), out, f"{self.where}.build")

    def wheels(self, tar):
        """Make wheels of everything, our server last and fitting the rest, as a host's own pip would install it."""
        self.unpack()
        made, offline, server = self.scratch / "made", self.scratch / "offline", self.scratch / "server"
        self.run("venv", [sys.executable, "-m", "venv", str(self.scratch / "venv")])
        pip = [str(self.scratch / "venv/bin/pip"), "wheel", "--quiet", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
        if self.params["wheels"]:
            with tarfile.open(self.params["wheels"]) as archive:
                archive.extractall(offline, filter="data")
            pip += ["--no-index", f"--find-links={offline}"]
        made.mkdir()
        files = [part for name in self.params["requirements"] for part in ("-r", name)]
        extra = self.params["requirements_extra"]
        hashed = any("--hash" in text for text in requirements_texts(self.project, self.params["requirements"]))
        for title, what in (
            ("requirements", files if hashed else files + extra),
            ("requirements_extra", extra if hashed else []),
        ):
            if what:
                self.run(title, [*pip, "--wheel-dir", str(made), *what])
        if self.params["server_requirements"]:
            ours = {one.partition("==")[0] for one in self.params["server_requirements"]}
            constraints = self.scratch / "constraints.txt"
            constraints.write_text("".join(f"{name}=={version}\n" for name, version in names_in(made) if name not in ours))
            self.run("server", [*pip, "--wheel-dir", str(server), "-c", str(constraints), *self.params["server_requirements"]])
            newer = {name for name, _ in names_in(server)}
            for path in [path for path in made.iterdir() if path.name.split("-")[0].lower().replace("_", "-") in newer]:
                path.unlink()
            for path in server.iterdir():
                shutil.move(path, made / path.name)
        with open(tar, "wb") as out:
            pack(made, sorted(path.name for path in made.iterdir()), out, f"{self.where}.requirements")


def names_in(folder):
    """(name, version) of a folder's wheels."""
    return sorted((path.name.split("-")[0].lower().replace("_", "-"), path.name.split("-")[1]) for path in folder.glob("*.whl"))


def build(params, keep, scratch):
    """Build what is not built yet. Returns the module's result."""
    where, mine = f"appliance_apps.{params['name']}", here()
    check_hosts(params["hosts"], mine, where)
    cache = Path(params["cache_dir"]).resolve()
    digest = hashlib.sha256(json.dumps([params["digest"], params["build"], mine]).encode()).hexdigest()
    digest = digest if params["build"] else params["digest"]
    result = {"archive": str(cache / "sources" / f"{params['name']}-{digest[:16]}.tar.gz"), "digest": digest}
    decides = [params[key] for key in ("requirements_digest", "requirements_extra", "server_requirements", "wheels_digest")] + [mine]
    wheels_digest = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
    wheels = cache / "wheels" / f"{params['name']}-{wheels_digest[:16]}.tar"
    result |= {"wheels": str(wheels), "wheels_digest": wheels_digest}
    if not keep:
        return result
    builder = Builder(params, scratch)
    (cache / "wheels").mkdir(parents=True, exist_ok=True)
    with open(cache / "wheels" / f".{params['name']}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for target, make, compress in ((Path(result["archive"]), builder.files, True), (wheels, builder.wheels, False)):
            tar = os.path.join(scratch, "outcome.tar")
            if not target.exists():
                make(tar)
            store(tar, target, compress)
    return result


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "archive": {"type": "path", "required": True},
            "digest": {"type": "str", "required": True},
            "project": {"type": "str", "default": "."},
            "build": {"type": "list", "elements": "str", "default": []},
            "requirements": {"type": "list", "elements": "str", "default": []},
            "requirements_digest": {"type": "str", "default": ""},
            "requirements_extra": {"type": "list", "elements": "str", "default": []},
            "server_requirements": {"type": "list", "elements": "str", "default": []},
            "wheels": {"type": "str", "default": ""},
            "wheels_digest": {"type": "str", "default": ""},
            "index_url": {"type": "str", "default": "", "no_log": True},
            "hosts": {"type": "dict", "required": True},
            "cache_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    with tempfile.TemporaryDirectory(prefix="appliance-build-") as scratch:
        try:
            result = build(module.params, not module.check_mode, scratch)
        except SourceError as error:
            module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
