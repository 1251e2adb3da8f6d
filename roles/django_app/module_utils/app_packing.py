"""Packing of files on the control node, so that the same content gives the same digest anywhere."""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import io
import os
import shutil
import stat
import tarfile
import time
from pathlib import PurePosixPath

#: Never part of a source, whatever .gitignore says.
EXCLUDED = {".DS_Store", ".cache", ".git", ".secrets", ".tox", ".venv", "__pycache__", "node_modules", "venv"}
EXCLUDED |= {".mypy_cache", ".pytest_cache", ".ruff_cache"}
EXCLUDED_PATTERNS = ("*.pyc", "*.pyo", "*.sock")
#: 1980-01-02: constant, and late enough for zip files made from it.
MTIME = 315619200
AGE_SECONDS = 7 * 86400


class SourceError(Exception):
    """What is wrong with the source; the message is for the operator."""


def wanted(path, excluded=EXCLUDED):
    """Whether a relative path may be part of a release."""
    parts = PurePosixPath(path).parts
    return not excluded.intersection(parts) and not any(fnmatch.fnmatch(parts[-1], pattern) for pattern in EXCLUDED_PATTERNS)


def files_below(root, excluded=EXCLUDED):
    """Relative paths of a folder's files and links that may be part of a release."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [one for one in folders if one not in excluded]
        links = [one for one in folders if os.path.islink(os.path.join(folder, one))]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names + links]
    return sorted(path for path in found if wanted(path, excluded))


def pack(root, paths, out, where, made=None):
    """Write a tar whose bytes depend on names, contents and the executable bit alone.

    made: path to bytes, of files that are not in `root`.
    """
    made = made or {}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted({*paths, *made}):
            info = tarfile.TarInfo(path)
            info.mtime = MTIME
            if path in made:
                info.size = len(made[path])
                archive.addfile(info, io.BytesIO(made[path]))
                continue
            full = os.path.join(root, path)
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


def digest_of(path):
    """SHA-256 of a file."""
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def store(tar, target, compress):
    """Keep a packed tar as `target`, for its owner alone; old ones, which no run used for days, go."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for old in target.parent.glob("*.tar*"):
        # Another inventory may be about to use a young one.
        if time.time() - old.stat().st_mtime > AGE_SECONDS:
            old.unlink(missing_ok=True)
    if target.exists():
        os.utime(target)
        return
    part = target.with_name(f".{target.name}.{os.getpid()}")
    with open(tar, "rb") as content, open(part, "wb") as raw:
        if compress:
            with gzip.GzipFile("", "wb", 6, raw, mtime=0) as out:
                shutil.copyfileobj(content, out)
        else:
            shutil.copyfileobj(content, raw)
    os.chmod(part, 0o600)
    os.replace(part, target)
