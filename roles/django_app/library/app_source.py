#!/usr/bin/python
"""Pack an app's source on the control node."""

from __future__ import annotations

import base64
import email
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import tomllib
import zipfile
from pathlib import Path
from urllib.parse import unquote

from ansible.module_utils.app_packing import SourceError, digest_of, files_below, pack, store, wanted
from ansible.module_utils.app_requirements import path_of, requirements_digest, requirements_files
from ansible.module_utils.app_unpacking import fetch, unpack
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: app_source
short_description: Pack an app's source into a deterministic archive
description:
  - Reads a folder, a git repository, an archive or a wheel on the control node and packs it; the same content gives the same digest on
    any control node.
  - Checks that the project is in it. Under check mode nothing is kept.
options:
  name: {description: The app, type: str, required: true}
  path: {description: A folder, type: str}
  git: {description: "A repository, without credentials", type: str}
  archive: {description: "An archive: a file or a URL, without credentials", type: str}
  checksum: {description: "Of the archive, as sha256:…", type: str}
  wheel: {description: "A wheel that carries the project, or a requirement of one version", type: str}
  credentials: {description: "user:password for an https repository or archive", type: str, default: ""}
  key: {description: "Deploy key for a repository by SSH: its text, or a path", type: str, default: ""}
  host_key: {description: "The only host keys that its server may show, one a line", type: str, default: ""}
  version: {description: "Branch, tag or commit", type: str}
  base_dir: {description: What relative paths are relative to, type: path, required: true}
  cache_dir: {description: Where archives and repositories are kept, type: path, required: true}
  project: {description: manage.py's folder in the source, type: str, default: "."}
  requirements: {description: "Requirements files, relative to the project", type: list, elements: str, default: []}
  requirements_extra: {description: "Further requirements, of which ./… are folders of the project", type: list, elements: str, default: []}
  wheels: {description: "A folder of wheels that nothing beside is installed from", type: str, default: ""}
  server_requirements: {description: "What must be in that folder as well, pinned", type: list, elements: str, default: []}
  exclude: {description: "Folders to leave out, relative to the project", type: list, elements: str, default: []}
author: Django Appliance
"""

EXAMPLES = r"""
- name: Pack the project
  app_source:
    name: shop
    path: ../../django_app
    base_dir: "{{ inventory_dir }}"
    cache_dir: .cache/appliance
  delegate_to: localhost
"""

RETURN = r"""
archive: {description: "The archive (tar, gzip); under check mode it may not exist", type: str, returned: success}
digest: {description: SHA-256 of the uncompressed archive, type: str, returned: success}
revision: {description: "The commit, with -dirty after it where files differ; empty outside git", type: str, returned: success}
requires_python: {description: "What pyproject.toml or the wheel requires, or empty", type: str, returned: success}
requirements: {description: "Requirements files as pip reads them, relative to the project", type: list, returned: success}
requirements_digest: {description: SHA-256 of what they say, type: str, returned: success}
wheels: {description: "The folder of wheels as an archive, or empty", type: str, returned: success}
wheels_digest: {description: SHA-256 of that archive, type: str, returned: success}
"""

KINDS = ("path", "git", "archive", "wheel")
GIT_SECONDS = 300


class Git:
    """git, without prompts, without the user's hooks, without credentials in arguments or messages."""

    def __init__(self, credentials="", ssh=""):
        user, _, password = credentials.partition(":")
        # As they stand in the URL and as they are; a token may come without a user or without a password.
        self.secrets = [part for part in (credentials, password, unquote(password)) if part]
        self.env = dict(os.environ, GIT_TERMINAL_PROMPT="0", GIT_ASKPASS="true", LC_ALL="C")
        self.env.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=20")
        if ssh:
            self.env["GIT_SSH_COMMAND"] = ssh
        # The repository may belong to another user than the one who runs Ansible; nothing of its own configuration is run.
        settings = [("safe.directory", "*"), ("core.fsmonitor", "false"), ("core.hooksPath", "/dev/null")]
        if credentials:
            token = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
            self.secrets.append(token)
            settings.append(("http.extraHeader", f"Authorization: Basic {token}"))
        self.env["GIT_CONFIG_COUNT"] = str(len(settings))
        for number, (key, value) in enumerate(settings):
            self.env[f"GIT_CONFIG_KEY_{number}"], self.env[f"GIT_CONFIG_VALUE_{number}"] = key, value

    def __call__(self, *arguments, check=True):
        try:
            done = subprocess.run(
                ["git", *map(str, arguments)], env=self.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=GIT_SECONDS, check=False
            )
        except FileNotFoundError:
            raise SourceError("git is not installed on the control node; install it") from None
        except subprocess.TimeoutExpired:
            raise SourceError(f"git {arguments[0]} took more than {GIT_SECONDS} s") from None
        if check and done.returncode:
            raise SourceError(self.scrub(done.stderr.decode(errors="replace").strip()))
        return done.stdout if not done.returncode else None

    def scrub(self, text):
        for secret in self.secrets:
            text = text.replace(secret, "********")
        return re.sub(r"://[^/@\s]+@", "://********@", text)


def files_of_folder(root, git):
    """Relative paths of a folder's files; in a git work tree those that git does not ignore."""
    listed = None
    if shutil.which("git"):
        listed = git("-C", root, "ls-files", "--cached", "--others", "--exclude-standard", "-z", check=False)
    if listed is None:
        return files_below(root)
    paths = []
    for path in filter(None, os.fsdecode(listed).split("\0")):
        full = os.path.join(root, path)
        if os.path.isdir(full) and not os.path.islink(full):
            # A submodule is one entry; its files are its own repository's business.
            paths += [os.path.join(path.rstrip("/"), one) for one in files_of_folder(full, git)]
        elif os.path.lexists(full):
            paths.append(path)
    return sorted({path for path in paths if wanted(path)})


def ssh_command(key, host_key, base_dir, scratch, where):
    """How git calls ssh: with this key and no other, and only to the server that shows one of these host keys. Empty: as the user does."""
    if not key and not host_key:
        return ""
    if not host_key:
        raise SourceError(
            f'{where}.host_key: missing beside key; type "ssh-ed25519 AAAA…": what  ssh-keyscan -t ed25519 HOST  prints after the name,'
            " once compared with what the server's owner publishes"
        )
    lines = [line.strip() for line in host_key.splitlines() if line.strip()]
    wrong = [line for line in lines if not re.fullmatch(r"(ssh|ecdsa|sk)-[\w@.-]+ [A-Za-z0-9+/=]+( .*)?", line)]
    if wrong:
        raise SourceError(f'{where}.host_key: {wrong[0][:40]} is no host key; type "ssh-ed25519 AAAA…", without the host\'s name before it')
    known = Path(scratch, "known_hosts")
    known.write_text("".join(f"appliance {line}\n" for line in lines))
    # By an alias, so that neither port nor address decides what is compared.
    options = {"BatchMode": "yes", "ConnectTimeout": "20", "HostKeyAlias": "appliance", "StrictHostKeyChecking": "yes", "CheckHostIP": "no"}
    options |= {"UserKnownHostsFile": known, "GlobalKnownHostsFile": "/dev/null", "UpdateHostKeys": "no"}
    command = ["ssh"]
    if key:
        if "PRIVATE KEY-----" not in key:
            path = Path(base_dir, key)
            if not path.is_file():
                raise SourceError(
                    f"{where}.key: there is no file {os.path.normpath(path)}; type a private key's path relative to the"
                    f" inventory ({base_dir}), or the key itself, vault-encrypted"
                )
            key = path.read_text()
        # A copy: ssh takes no key that others may read, and a checked-out inventory is read by others.
        own = Path(scratch, "key")
        own.touch(mode=0o600)
        own.write_text(key.rstrip("\n") + "\n")
        command += ["-i", str(own)]
        options |= {"IdentitiesOnly": "yes", "IdentityAgent": "none"}
    return shlex.join(command + [part for name, value in options.items() for part in ("-o", f"{name}={value}")])


def requires_python(root, project):
    """``requires-python`` of the pyproject.toml that is nearest to manage.py."""
    for folder in (Path(root, project), Path(root)):
        pyproject = folder / "pyproject.toml"
        if pyproject.is_file():
            try:
                found = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("project", {}).get("requires-python")
            except tomllib.TOMLDecodeError as error:
                raise SourceError(f"{pyproject}: {error}") from None
            if found:
                return found
    return ""


def check_project(paths, project, requirements, where):
    """The source has what the contract says."""
    have = set(paths)
    if project not in (".", "") and not any(path.startswith(os.path.normpath(project) + "/") for path in have):
        raise SourceError(f"{where}.project: the source has no folder {project}; type manage.py's folder, relative to the source")
    manage = os.path.normpath(os.path.join(project, "manage.py"))
    if manage not in have:
        near = sorted(os.path.dirname(path) or "." for path in have if os.path.basename(path) == "manage.py")
        remedy = f"; it is in {', '.join(near)}, so type project: {near[0]}" if near else ""
        raise SourceError(f"{where}.project: there is no {manage} in the source{remedy}")
    for file in map(path_of, requirements):
        path = os.path.normpath(os.path.join(project, file))
        if path not in have:
            near = sorted(one for one in have if re.search(r"requirements.*\.txt$|(^|/)(pyproject|pylock.*)\.toml$", one))
            raise SourceError(
                f"{where}.requirements: there is no {path} in the source; type files relative to {project}, or [] for none"
                + (f" (there are {', '.join(near)})" if near else "")
            )


def check_out(url, version, git, cache, folder, keep, where):
    """Put the commit that `version` names into `folder`. Returns the commit."""
    bare = cache / "git" / hashlib.sha256(url.encode()).hexdigest()[:16]
    if not keep:
        bare = Path(folder).parent / "repository"
    bare.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{bare}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if git("--git-dir", bare, "rev-parse", "--git-dir", check=False) is None:
            shutil.rmtree(bare, ignore_errors=True)
            git("init", "--quiet", "--bare", bare)
        commit = _resolve(git, bare, version) if re.fullmatch(r"[0-9a-f]{40}", version) else None
        if commit is None:
            try:
                refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
                git("--git-dir", bare, "fetch", "--quiet", "--force", "--prune", url, *refs)
            except SourceError as error:
                raise SourceError(f"{where}.git: {git.scrub(url)} cannot be read: {error}\n{_remedy(str(error), where)}") from None
            commit = _resolve(git, bare, version)
        if commit is None:
            listed = git("--git-dir", bare, "for-each-ref", "--sort=-creatordate", "--count=10", "--format=%(refname:short)")
            names = listed.decode().split()
            raise SourceError(
                f"{where}.version: {version} is no branch, tag or commit of {git.scrub(url)}; there are {', '.join(names) or 'none'}"
            )
        os.makedirs(folder)
        git("--git-dir", bare, "--work-tree", folder, "-c", "core.autocrlf=false", "checkout", "--quiet", "--force", commit, "--", ".")
        if os.path.exists(os.path.join(folder, ".gitmodules")):
            raise SourceError(f"{where}.git: submodules are not fetched; check the repository out yourself and use source.path")
    return commit


def _remedy(error, where):
    if "Host key verification failed" in error:
        return (
            f"The server showed another host key than {where}.host_key. Ask its owner: if it was changed on purpose, type the new one"
            " there, else somebody stands between."
        )
    if "Permission denied" in error:
        return f"The server does not take {where}.key, or it has a passphrase: add its public half to the repository's deploy keys."
    return "Check the address, and that this user of the control node may read it."


def wheel_source(wheel, base_dir, where):
    """What installs the project, as (requirement's text, files beside it, revision, requires_python)."""
    named = re.fullmatch(r"(?P<path>.+\.whl)(?P<extras>\[[^\]]*\])?", wheel)
    if not named:
        if not re.fullmatch(r"[A-Za-z0-9._-]+(\[[^\]]*\])?\s*==\s*[^\s*;,]+", wheel):
            raise SourceError(
                f"{where}.wheel: {wheel} is no wheel and no requirement of one version; type dist/site-1.2-py3-none-any.whl or site==1.2"
            )
        return f"{wheel}\n", {}, wheel, ""
    path = Path(base_dir, named["path"])
    if not path.is_file():
        raise SourceError(f"{where}.wheel: there is no file {os.path.normpath(path)}; type a path relative to the inventory ({base_dir})")
    try:
        with zipfile.ZipFile(path) as archive:
            metadata = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
            requires = email.message_from_bytes(archive.read(metadata))["Requires-Python"] or ""
    except (zipfile.BadZipFile, StopIteration):
        raise SourceError(f"{where}.wheel: {path.name} is no wheel; build one with  python -m build --wheel") from None
    data = path.read_bytes()
    beside = f".appliance-wheel/{path.name}"
    # The digest makes another text of another file of the same name.
    text = f"./{beside}{named['extras'] or ''}  # sha256:{hashlib.sha256(data).hexdigest()}\n"
    return text, {beside: data}, path.name, requires


def wheels_folder(params, scratch, where):
    """Pack the folder of wheels. Returns the tar."""
    folder = Path(params["base_dir"], params["wheels"])
    names = sorted(path.name for path in folder.glob("*") if re.search(r"\.(whl|tar\.gz|zip)$", path.name))
    if not names:
        raise SourceError(
            f"{where}.wheels: {os.path.normpath(folder)} has no wheels; type a folder relative to the inventory ({params['base_dir']})"
        )
    for one in params["server_requirements"]:
        name, _, version = one.partition("==")
        if not any(file.lower().startswith(f"{name}-{version}-") for file in names):
            raise SourceError(
                f"{where}.wheels: {one} is not among them, and they are all that is installed;"
                f" type  pip download --only-binary :all: --dest {folder} {one}"
            )
    tar = os.path.join(scratch, "wheels.tar")
    with open(tar, "wb") as out:
        pack(folder, names, out, f"{where}.wheels")
    return tar


def _resolve(git, bare, version):
    for name in (version, f"refs/heads/{version}", f"refs/tags/{version}"):
        found = git("--git-dir", bare, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", check=False)
        if found:
            return found.decode().strip()
    return None


def work_tree_revision(root, git):
    """The folder's commit, marked where files differ from it; empty outside git."""
    if not shutil.which("git"):
        return ""
    commit = git("-C", root, "rev-parse", "--verify", "--quiet", "HEAD", check=False)
    if not commit:
        return ""
    changed = git("-C", root, "status", "--porcelain", "--", ".", check=False)
    return commit.decode().strip() + ("-dirty" if changed else "")


def read_source(params, keep, scratch):
    """Pack what the parameters name. Returns the module's result."""
    where = f"appliance_apps.{params['name']}"
    cache = Path(params["cache_dir"]).resolve()
    ssh = ssh_command(params["key"], params["host_key"], params["base_dir"], scratch, f"{where}.source") if params["git"] else ""
    git = Git(params["credentials"], ssh)
    root, project, requirements = os.path.join(scratch, "tree"), params["project"], params["requirements"]
    paths, made, requires = [], {}, None
    if params["git"]:
        url = params["git"]
        if not re.match(r"[a-z+]+://|[^/]+:", url):
            url = str(Path(params["base_dir"], url).resolve())
        revision = check_out(url, params["version"] or "HEAD", git, cache, root, keep, f"{where}.source")
        paths = files_below(root)
    elif params["archive"]:
        kept = cache if keep else Path(scratch)
        local = fetch(params["archive"], params["checksum"], params["base_dir"], kept, params["credentials"], scratch, f"{where}.source")
        unpack(local, root, f"{where}.source")
        paths, revision = files_below(root), params["checksum"]
    elif params["wheel"]:
        project, requirements = ".", []
        text, made, revision, requires = wheel_source(params["wheel"], params["base_dir"], f"{where}.source")
        made[".appliance-wheel/requirements.txt"] = text.encode()
    else:
        root = os.path.join(params["base_dir"], params["path"])
        if not os.path.isdir(root):
            raise SourceError(
                f"{where}.source.path: there is no folder {os.path.normpath(root)};"
                f" type a path relative to the inventory ({params['base_dir']})"
            )
        root = os.path.realpath(root)
        paths = files_of_folder(root, git)
        revision = work_tree_revision(root, git)
    excluded = tuple(os.path.normpath(os.path.join(project, one)) + "/" for one in params["exclude"])
    paths = [path for path in paths if not path.startswith(excluded)]
    if params["wheel"]:
        requirements = [".appliance-wheel/requirements.txt"]
    else:
        check_project(paths, project, requirements, where)
        requirements, texts = requirements_files(requirements, lambda name: Path(root, project, name).read_text(encoding="utf-8"), where)
        made |= {os.path.normpath(os.path.join(project, name)): text.encode() for name, text in texts.items()}
    tar = os.path.join(scratch, "source.tar")
    with open(tar, "wb") as out:
        pack(root, paths, out, f"{where}.source", made)
    digest = digest_of(tar)
    archive = cache / "sources" / f"{params['name']}-{digest[:16]}.tar.gz"
    result = {
        "archive": str(archive),
        "digest": digest,
        "revision": revision,
        "requirements": requirements,
        "wheels": "",
        "wheels_digest": "",
        "requirements_digest": requirements_digest(os.path.join(root, project), requirements, made, params["requirements_extra"]),
    }
    result["requires_python"] = requires_python(root, project) if requires is None else requires
    if keep:
        store(tar, archive, compress=True)
    if params["wheels"]:
        tar = wheels_folder(params, scratch, where)
        result["wheels_digest"] = digest_of(tar)
        wheels = cache / "wheels" / f"{params['name']}-{result['wheels_digest'][:16]}.tar"
        result["wheels"] = str(wheels)
        if keep:
            store(tar, wheels, compress=False)
    return result


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "path": {"type": "str"},
            "git": {"type": "str"},
            "archive": {"type": "str"},
            "checksum": {"type": "str"},
            "wheel": {"type": "str"},
            "credentials": {"type": "str", "default": "", "no_log": True},
            "key": {"type": "str", "default": "", "no_log": True},
            "host_key": {"type": "str", "default": "", "no_log": False},
            "version": {"type": "str"},
            "base_dir": {"type": "path", "required": True},
            "cache_dir": {"type": "path", "required": True},
            "project": {"type": "str", "default": "."},
            "requirements": {"type": "list", "elements": "str", "default": []},
            "requirements_extra": {"type": "list", "elements": "str", "default": []},
            "wheels": {"type": "str", "default": ""},
            "server_requirements": {"type": "list", "elements": "str", "default": []},
            "exclude": {"type": "list", "elements": "str", "default": []},
        },
        mutually_exclusive=[KINDS],
        required_one_of=[KINDS],
        supports_check_mode=True,
    )
    with tempfile.TemporaryDirectory(prefix="appliance-source-") as scratch:
        try:
            result = read_source(module.params, not module.check_mode, scratch)
        except SourceError as error:
            module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
