"""What an app is given, and what is wrong with its contract beyond the schema."""

from __future__ import annotations

import posixpath
import re

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LATER = "is not built yet; a later release brings it."


def _as_file(app, name):
    return (app["secrets"].get(name) or {}).get("as") == "file"


def django_app_environment(defaults, secrets, app, folder):
    """The app's environment: defaults, then secrets, then the contract's ``env``; null unsets, and so does an empty default.

    defaults: name to value. secrets: name to value. folder: where this app's secret files are on the host.
    """
    found = {name: value for name, value in defaults.items() if value not in ("", None)}
    for name, value in secrets.items():
        if _as_file(app, name):
            found[f"{name}_FILE"] = f"{folder}/secrets/{name}"
        else:
            found[name] = value
    found |= app["env"]
    return {name: str(value) for name, value in found.items() if value is not None}


def django_app_secret_files(secrets, app):
    """Secrets that the app wants as files: name to content."""
    return {name: str(value) for name, value in secrets.items() if _as_file(app, name)}


def django_app_files(files, rendered):
    """The contract's ``files`` as ``[{dest, content}]``; `rendered` holds the templates' outcomes, in their order."""
    rendered = iter(rendered)
    result = []
    for file in files:
        content = next(rendered) if file.get("template") else file.get("content") or ""
        result.append({"dest": file["dest"], "content": content if content.endswith("\n") else content + "\n"})
    return result


def django_app_paths(paths, folder):
    """Paths of the contract, which are relative to the inventory."""
    return [posixpath.join(folder, path) for path in paths]


def _by_ssh(url):
    return url.startswith("ssh://") or bool(re.match(r"[^/:]+:(?!//)", url))


def _outside(path):
    return posixpath.isabs(path) or posixpath.normpath(path).startswith("..")


def django_app_problems(app, name):
    """Where a contract asks for what cannot be: a list of sentences, each naming the variable and the remedy."""
    where = f"appliance_apps.{name}"
    problems = []
    source = app["source"]
    for key, kind in (("version", "git"), ("key", "git"), ("host_key", "git"), ("checksum", "archive")):
        if source.get(key) and not source.get(kind):
            problems.append(f"{where}.source.{key}: is for source.{kind} only; remove it")
    if source.get("key") and source.get("git") and not _by_ssh(source["git"]):
        problems.append(f"{where}.source.key: {source['git']} is not read by SSH; type git: ssh://git@host/path, or remove the key")
    if source.get("wheel") and app["requirements"] not in ([], ["requirements.txt"]):
        problems.append(f"{where}.requirements: a wheel says by itself what it needs; remove it, or type requirements_extra")
    if source.get("wheel") and app["project"] != ".":
        problems.append(f"{where}.project: a wheel has no manage.py; remove it")
    if app["index_url"] and not re.fullmatch(r"https://[^\s\"]+", app["index_url"]):
        problems.append(f"{where}.index_url: type a URL that starts with https:// (pip trusts no other)")
    if app["index_url"] and app["wheels"]:
        problems.append(f"{where}.index_url: with wheels, no index is asked; remove one of the two")
    for key in ("workers", "timers"):
        if app[key]:
            problems.append(f"{where}.{key}: this {LATER} Remove it.")
    if not app["domains"]:
        problems.append(f"{where}.domains: missing; type e.g. domains: [shop.example.org]")
    for key in ("env", "secrets"):
        problems += [
            f"{where}.{key}: {one!r} is no name of an environment variable; use letters, digits and _"
            for one in app[key]
            if not VARIABLE.fullmatch(str(one))
        ]
    problems += [
        f"{where}.env.{one}: must be text, a number or null; put text in quotes"
        for one, value in app["env"].items()
        if isinstance(value, (dict, list, tuple))
    ]
    for one, how in app["secrets"].items():
        unknown = sorted(set(how or {}) - {"generate", "value", "as"})
        if unknown:
            problems.append(f"{where}.secrets.{one}.{unknown[0]}: unknown key; type generate: 64 or value: …, and perhaps as: file")
        if (how or {}).get("as", "variable") not in ("variable", "file"):
            problems.append(f"{where}.secrets.{one}.as: type file, or leave it out")
    if app["cache"]["mode"] == "tags" and app["cache"]["seconds"] > 3600:
        problems.append(f"{where}.cache.seconds: what changed is forgotten after an hour, so no page may live longer; type 3600 or less")
    superuser = app["superuser"]
    if superuser and (not isinstance(superuser, dict) or not superuser.get("username")):
        problems.append(f"{where}.superuser: type {{username: admin}}, or false for none")
    for number, file in enumerate(app["files"]):
        if bool(file.get("template")) == (file.get("content") is not None):
            problems.append(f"{where}.files[{number}]: give either template or content")
    inside = {
        "shared": app["shared"],
        "static.root": [app["static"].get("root") or "x"],
        "media.root": [app["media"].get("root") or "x"],
        "files[].dest": [file["dest"] for file in app["files"]],
        "pages[].root": [page["root"] for page in app["pages"]],
    }
    for key, paths in inside.items():
        problems += [
            f"{where}.{key}: {path} leaves the project; type a path relative to manage.py's folder" for path in paths if _outside(path)
        ]
    if _outside(app["project"]):
        problems.append(f"{where}.project: {app['project']} leaves the source; type manage.py's folder, relative to the source")
    else:
        # Requirements may lie beside the project, but not outside the source.
        problems += [
            f"{where}.requirements: {path} leaves the source; type a path relative to manage.py's folder"
            for path in app["requirements"]
            if _outside(posixpath.join(app["project"], path))
        ]
    return problems


class FilterModule:
    """Filters of the role."""

    def filters(self):
        """Name to function, for Ansible."""
        return {
            name: globals()[name]
            for name in (
                "django_app_environment",
                "django_app_files",
                "django_app_paths",
                "django_app_problems",
                "django_app_secret_files",
            )
        }
