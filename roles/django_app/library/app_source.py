#!/usr/bin/python
"""Pack an app's source on the control node."""

from __future__ import annotations

import base64
import fcntl
import fnmatch
import gzip
import hashlib
import os
import re
import shutil
import stat
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: app_source
short_description: Pack an app's source into a deterministic archive
description:
  - Reads a folder or a git repository on the control node and packs it; the same content gives the same digest on any control node.
  - Checks that the project is in it. Under check mode nothing is kept.
options:
  name: {description: The app, type: str, required: true}
  path: {description: A folder, type: str}
  git: {description: "A repository, without credentials", type: str}
  git_credentials: {description: "user:password for an https repository", type: str, default: ""}
  version: {description: "Branch, tag or commit", type: str}
  base_dir: {description: What relative paths are relative to, type: path, required: true}
  cache_dir: {description: Where archives and repositories are kept, type: path, required: true}
  project: {description: manage.py's folder in the source, type: str, default: "."}
  requirements: {description: "Requirements files, relative to the project", type: list, elements: str, default: []}
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
requires_python: {description: "What pyproject.toml requires, or empty", type: str, returned: success}
"""

#: Never part of a release, whatever .gitignore says.
EXCLUDED = {".DS_Store", ".cache", ".git", ".secrets", ".tox", ".venv", "__pycache__", "node_modules", "venv"}
EXCLUDED |= {".mypy_cache", ".pytest_cache", ".ruff_cache"}
EXCLUDED_PATTERNS = ("*.pyc", "*.pyo", "*.sock")
#: 1980-01-02: constant, and late enough for zip files made from it.
MTIME = 315619200
GIT_SECONDS = 300
ARCHIVE_SECONDS = 7 * 86400


class SourceError(Exception):
    """What is wrong with the source; the message is for the operator."""


class Git:
    """git, without prompts, without the user's hooks, without credentials in arguments or messages."""

    def __init__(self, credentials=""):
        user, _, password = credentials.partition(":")
        # As they stand in the URL and as they are; a token may come without a user or without a password.
        self.secrets = [part for part in (credentials, password, unquote(password)) if part]
        self.env = dict(os.environ, GIT_TERMINAL_PROMPT="0", GIT_ASKPASS="true", LC_ALL="C")
        self.env.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=20")
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


def wanted(path):
    """Whether a relative path may be part of a release."""
    parts = PurePosixPath(path).parts
    return not EXCLUDED.intersection(parts) and not any(fnmatch.fnmatch(parts[-1], pattern) for pattern in EXCLUDED_PATTERNS)


def files_of_folder(root, git):
    """Relative paths of a folder's files; in a git work tree those that git does not ignore."""
    listed = None
    if shutil.which("git"):
        listed = git("-C", root, "ls-files", "--cached", "--others", "--exclude-standard", "-z", check=False)
    if listed is None:
        paths = [os.path.relpath(os.path.join(folder, name), root) for folder, folders, names in _walk(root) for name in names + folders]
    else:
        paths = []
        for path in filter(None, os.fsdecode(listed).split("\0")):
            full = os.path.join(root, path)
            if os.path.isdir(full) and not os.path.islink(full):
                # A submodule is one entry; its files are its own repository's business.
                paths += [os.path.join(path.rstrip("/"), one) for one in files_of_folder(full, git)]
            elif os.path.lexists(full):
                paths.append(path)
    return sorted({path for path in paths if wanted(path)})


def _walk(root):
    for folder, folders, names in os.walk(root):
        folders[:] = [one for one in folders if one not in EXCLUDED]
        links = [one for one in folders if os.path.islink(os.path.join(folder, one))]
        yield folder, links, names


def pack(root, paths, out, where):
    """Write a tar whose bytes depend on names, contents and the executable bit alone."""
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in paths:
            full = os.path.join(root, path)
            info = tarfile.TarInfo(path)
            info.mtime = MTIME
            mode = os.lstat(full).st_mode
            if stat.S_ISLNK(mode):
                info.type, info.linkname = tarfile.SYMTYPE, os.readlink(full)
                target = os.path.normpath(os.path.join(os.path.dirname(path), info.linkname))
                if os.path.isabs(info.linkname) or target.split(os.sep)[0] == "..":
                    raise SourceError(
                        f"{where}: {path} is a link to {info.linkname}, outside the source; put the file itself there, or exclude the link"
                    )
                archive.addfile(info)
            elif stat.S_ISREG(mode):
                info.mode = 0o755 if mode & 0o100 else 0o644
                with open(full, "rb") as content:
                    info.size = os.fstat(content.fileno()).st_size
                    archive.addfile(info, content)


def requires_python(root, project):
    """``requires-python`` of the pyproject.toml that is nearest to manage.py."""
    try:
        import tomllib
    except ImportError:
        return ""
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
    for file in requirements:
        path = os.path.normpath(os.path.join(project, file))
        if path not in have:
            near = sorted(one for one in have if re.search(r"requirements.*\.txt$", one))
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
                raise SourceError(
                    f"{where}.git: {git.scrub(url)} cannot be read: {error}\n"
                    "Check the address, and that this user of the control node may read it."
                ) from None
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
    git = Git(params["git_credentials"])
    if params["git"]:
        url = params["git"]
        if not re.match(r"[a-z+]+://|[^/]+:", url):
            url = str(Path(params["base_dir"], url).resolve())
        root = os.path.join(scratch, "tree")
        revision = check_out(url, params["version"] or "HEAD", git, cache, root, keep, f"{where}.source")
        paths = sorted(os.path.relpath(os.path.join(folder, name), root) for folder, links, names in _walk(root) for name in names + links)
        paths = [path for path in paths if wanted(path)]
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
    excluded = tuple(os.path.normpath(os.path.join(params["project"], one)) + "/" for one in params["exclude"])
    paths = [path for path in paths if not path.startswith(excluded)]
    check_project(paths, params["project"], params["requirements"], where)
    tar = os.path.join(scratch, "source.tar")
    with open(tar, "wb") as out:
        pack(root, paths, out, f"{where}.source")
    with open(tar, "rb") as content:
        digest = hashlib.sha256(content.read()).hexdigest()
    archive = cache / "sources" / f"{params['name']}-{digest[:16]}.tar.gz"
    if keep:
        archive.parent.mkdir(parents=True, exist_ok=True)
        for old in archive.parent.glob("*.tar.gz"):
            # Another inventory may be about to use a young one.
            if time.time() - old.stat().st_mtime > ARCHIVE_SECONDS:
                old.unlink(missing_ok=True)
    if keep and archive.exists():
        os.utime(archive)
    elif keep:
        part = archive.with_name(f".{archive.name}.{os.getpid()}")
        with open(tar, "rb") as content, open(part, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as out:
            shutil.copyfileobj(content, out)
        os.chmod(part, 0o600)
        os.replace(part, archive)
    return {"archive": str(archive), "digest": digest, "revision": revision, "requires_python": requires_python(root, params["project"])}


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "path": {"type": "str"},
            "git": {"type": "str"},
            "git_credentials": {"type": "str", "default": "", "no_log": True},
            "version": {"type": "str"},
            "base_dir": {"type": "path", "required": True},
            "cache_dir": {"type": "path", "required": True},
            "project": {"type": "str", "default": "."},
            "requirements": {"type": "list", "elements": "str", "default": []},
            "exclude": {"type": "list", "elements": "str", "default": []},
        },
        mutually_exclusive=[("path", "git")],
        required_one_of=[("path", "git")],
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
