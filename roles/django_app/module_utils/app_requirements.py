"""What a project asks for, in the one form that Debian's pip reads: requirements files."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import tomllib
from pathlib import Path

from ansible.module_utils.app_packing import SourceError, files_below

#: Where files that are made of others lie, in the project.
FOLDER = ".appliance-requirements"
PYLOCK = re.compile(r"pylock(\.[^.]+)?\.toml")
#: Locks that only their own tool reads, and what makes a file of them that pip reads.
EXPORTS = {
    "uv.lock": "uv export --no-dev --no-emit-project -o requirements.txt",
    "poetry.lock": "poetry export -o requirements.txt   (with poetry-plugin-export)",
    "pdm.lock": "pdm export --prod -o requirements.txt",
    "Pipfile.lock": "pipenv requirements --hash > requirements.txt",
    "Pipfile": "pipenv requirements --hash > requirements.txt",
}
ENTRY = re.compile(r"(?P<path>[^\[\]]+)(\[(?P<groups>[^\[\]]*)\])?")


def path_of(entry):
    """The file that an entry of `requirements` names."""
    return ENTRY.fullmatch(entry)["path"] if ENTRY.fullmatch(entry) else entry


def requirements_files(entries, read, where):
    """Entries of the contract as files for pip. `read` gives the text of one.

    Returns (names relative to the project, {name: text} of those that have to be made).
    """
    names, made = [], {}
    for number, entry in enumerate(entries):
        path, groups = path_of(entry), ENTRY.fullmatch(entry) and ENTRY.fullmatch(entry)["groups"]
        base = posixpath.basename(path)
        here = f"{where}.requirements: {entry}"
        if base in EXPORTS:
            raise SourceError(f"{here}: pip cannot read it; type  {EXPORTS[base]}  in the project, and requirements: [requirements.txt]")
        if base == "pyproject.toml":
            lines = _of_pyproject(_toml(read(path), here), [one.strip() for one in (groups or "").split(",") if one.strip()], here)
        elif groups is not None:
            raise SourceError(f"{here}: only pyproject.toml has groups; type {path}")
        elif PYLOCK.fullmatch(base):
            lines = _of_pylock(_toml(read(path), here), here)
        else:
            names.append(entry)
            continue
        name = f"{FOLDER}/{number}-{base}.txt"
        names.append(name)
        made[name] = f"# Made of {entry}.\n" + "".join(f"{line}\n" for line in lines)
    return names, made


def _toml(text, here):
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SourceError(f"{here}: {error}") from None


def _name(requirement):
    found = re.match(r"\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?", requirement)
    return re.sub(r"[-_.]+", "-", found[1]).lower(), [one.strip() for one in (found[2] or "").split(",") if one.strip()]


def _of_pyproject(content, wanted, here):
    """A project's dependencies, with those of the named extras or groups."""
    project = content.get("project") or {}
    if "dependencies" in (project.get("dynamic") or []):
        source = (((content.get("tool") or {}).get("setuptools") or {}).get("dynamic") or {}).get("dependencies") or {}
        files = source.get("file") or []
        files = [files] if isinstance(files, str) else files
        raise SourceError(
            f"{here}: its dependencies are dynamic; type the files that they come from: requirements: [{', '.join(files) or '…'}]"
        )
    if "dependencies" not in project and "poetry" in (content.get("tool") or {}):
        raise SourceError(f"{here}: Poetry's own form; type  {EXPORTS['poetry.lock']}  and requirements: [requirements.txt]")
    extras = {_name(name)[0]: lines for name, lines in (project.get("optional-dependencies") or {}).items()}
    groups = {_name(name)[0]: lines for name, lines in (content.get("dependency-groups") or {}).items()}
    itself = _name(project.get("name") or "-")[0]
    found, seen = [], set()

    def add(lines):
        for line in lines:
            if isinstance(line, dict):
                take(line.get("include-group", ""))
            elif _name(line)[0] == itself:
                for one in _name(line)[1]:
                    take(one)
            else:
                found.append(line)

    def take(name):
        key = _name(name)[0] if name else ""
        if key not in extras and key not in groups:
            known = ", ".join(sorted({*extras, *groups})) or "none"
            raise SourceError(f"{here}: there is no group {name} in it; there are {known}")
        if key not in seen:
            seen.add(key)
            add(extras[key] if key in extras else groups[key])

    add(project.get("dependencies") or [])
    for name in wanted:
        take(name)
    return list(dict.fromkeys(found))


def _of_pylock(content, here):
    """A lock of PEP 751 with its hashes. pip reads it by itself from 26.1 on; Debian 13 has 25.1."""
    if content.get("lock-version") != "1.0":
        raise SourceError(f"{here}: lock-version {content.get('lock-version')} is not known; type requirements with hashes instead")
    lines = []
    for package in content.get("packages") or []:
        name, marker = package["name"], package.get("marker", "")
        if re.search(r"\b(extras|dependency_groups)\b", marker):
            raise SourceError(f"{here}: {name} is locked for some extras or groups only; lock what is to run, nothing else")
        files = [*(package.get("wheels") or []), *([package["sdist"]] if "sdist" in package else [])]
        hashes = [file["hashes"]["sha256"] for file in files if "sha256" in file.get("hashes", {})]
        if "version" not in package or not hashes:
            remedy = "leave the project itself out (uv export --no-emit-project)" if "directory" in package else "publish it in your index"
            raise SourceError(f"{here}: {name} is locked without version and sha256 of its files; {remedy}")
        lines.append(
            f"{name}=={package['version']}" + (f" ; {marker}" if marker else "") + "".join(f" --hash=sha256:{one}" for one in hashes)
        )
    return lines


def requirements_texts(project, names):
    """The requirements files' texts, with those that they include."""
    todo, found = [Path(project, name) for name in names], {}
    while todo:
        path = Path(os.path.normpath(todo.pop()))
        if path not in found and path.is_file():
            found[path] = path.read_text(encoding="utf-8")
            for include in re.findall(r"^\s*(?:-[rc]|--requirement|--constraint)[ =]*(\S+)", found[path], re.MULTILINE):
                todo.append(path.parent / include)
    return [found[path] for path in sorted(found)]


def requirements_digest(project, names, made, extra):
    """Of everything that says what is installed: files, those made of others, packages that lie in the project (./… in `extra`)."""
    packages = [Path(project, name) for name in extra if name.startswith(".")]
    contents = [(folder / path).read_bytes() for folder in packages if folder.is_dir() for path in files_below(folder)]
    decides = [requirements_texts(project, names), [hashlib.sha256(one).hexdigest() for one in [*made.values(), *contents]]]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()
