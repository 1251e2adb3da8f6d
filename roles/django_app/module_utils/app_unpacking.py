"""Archives that somebody else packed: fetched, compared with their checksum, and unpacked without trusting a name in them."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
import urllib.error
import zipfile
from pathlib import Path, PurePosixPath

from ansible.module_utils.app_packing import SourceError, digest_of
from ansible.module_utils.urls import open_url

FETCH_SECONDS = 60


def fetch(address, checksum, base_dir, cache, credentials, scratch, where):
    """The archive as a local file whose checksum is right."""
    wanted = re.fullmatch(r"sha256:([0-9a-f]{64})", checksum or "")
    if not wanted:
        raise SourceError(
            f'{where}.checksum: {checksum or "missing"}; type "sha256:…", 64 digits of it, as the project publishes them'
            " or as sha256sum prints them for a copy that you trust"
        )
    if not re.match(r"https?://", address):
        local = Path(base_dir, address)
        if not local.is_file():
            raise SourceError(
                f"{where}.archive: there is no file {os.path.normpath(local)}; type one relative to the inventory ({base_dir})"
            )
        _compare(local, wanted[1], where)
        return local
    kept = cache / "archives" / wanted[1]
    if not kept.exists():
        part = Path(scratch, "download")
        user, _, password = credentials.partition(":")
        options = {"url_username": user, "url_password": password, "force_basic_auth": True} if credentials else {}
        try:
            with open_url(address, timeout=FETCH_SECONDS, **options) as answer, open(part, "wb") as out:
                shutil.copyfileobj(answer, out)
        except (OSError, ValueError) as error:
            status = f" (HTTP {error.code})" if isinstance(error, urllib.error.HTTPError) else f": {error}"
            raise SourceError(
                f"{where}.archive: {address} cannot be fetched{status}; check the address, and that the control node reaches it"
            ) from None
        _compare(part, wanted[1], where)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(part, kept)
    return kept


def _compare(path, wanted, where):
    found = digest_of(path)
    if found != wanted:
        raise SourceError(
            f"{where}.checksum: the archive has sha256:{found}, not sha256:{wanted}; nothing of it was unpacked."
            " If it was replaced on purpose and you trust it, type its new checksum"
        )


def unpack(path, folder, where):
    """Write an archive's files and links below `folder`, without the single folder that all of them may lie in."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _write(list(_of_zip(archive)), folder, where)
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            _write(list(_of_tar(archive, where)), folder, where)
    else:
        raise SourceError(f"{where}.archive: {Path(path).name} is neither a tar file (plain, gz, bz2, xz) nor a zip file")


def _of_zip(archive):
    """Members as (name, mode, link target or None, how to open)."""
    for info in archive.infolist():
        if not info.is_dir():
            mode = info.external_attr >> 16
            link = archive.read(info).decode() if stat.S_ISLNK(mode) else None
            yield info.filename, mode, link, lambda info=info: archive.open(info)


def _of_tar(archive, where):
    for info in archive:
        if info.isdir():
            continue
        if not (info.isfile() or info.issym() or info.islnk()):
            raise SourceError(f"{where}.archive: {info.name} is a device or a pipe; a source holds files, folders and links")
        yield info.name, info.mode, info.linkname if info.issym() else None, lambda info=info: archive.extractfile(info)


def _write(members, folder, where):
    paths = [PurePosixPath(name) for name, *_ in members]
    for path in paths:
        if path.is_absolute() or ".." in path.parts or "\\" in str(path):
            raise SourceError(f"{where}.archive: {path} leaves the folder that it is unpacked into; this archive is not to be trusted")
    tops = {path.parts[0] for path in paths}
    strip = 1 if len(tops) == 1 and all(len(path.parts) > 1 for path in paths) else 0
    os.makedirs(folder)
    # Links last: while files are written, there is none to write through.
    for (_, mode, link, opened), path in sorted(zip(members, paths, strict=True), key=lambda pair: pair[0][2] is not None):
        target = Path(folder, *path.parts[strip:])
        target.parent.mkdir(parents=True, exist_ok=True)
        if link is not None:
            target.unlink(missing_ok=True)
            target.symlink_to(link)
            continue
        with opened() as content, open(target, "wb") as out:
            shutil.copyfileobj(content, out)
        target.chmod(0o755 if mode & 0o100 else 0o644)
