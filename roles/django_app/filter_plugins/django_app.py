"""What an app is given, and what is wrong with its contract beyond the schema."""

from __future__ import annotations

import posixpath
import re

#: What an entry of the contract's ``workers`` and ``timers`` is unless it says otherwise.
WORKER = {
    "command": None, "instances": 1, "stop_signal": "TERM", "stop_seconds": 60, "start_seconds": 4, "listen": None, "hosts": "all",
    "memory_mb": 128, "connections": 1,
}  # fmt: skip
TIMER = {"command": None, "on_calendar": None, "jitter_seconds": 60, "seconds": 3600, "hosts": "first", "memory_mb": 128, "connections": 1}
#: The least of what is a number in them.
LEAST = {
    "instances": 1, "stop_seconds": 1, "start_seconds": 0, "memory_mb": 16, "connections": 0, "jitter_seconds": 0, "seconds": 1,
}  # fmt: skip
#: What a worker may be stopped by: whatever its software takes for an orderly end.
SIGNALS = ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH")
UNIT_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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


def django_app_workers(workers, address=""):
    """The contract's ``workers`` with their defaults; one that listens does so at `address`, unless it says another."""
    found = {name: WORKER | one for name, one in workers.items()}
    for one in found.values():
        if one["listen"]:
            one["listen"] = {"address": address or "0.0.0.0"} | one["listen"]  # noqa: S104 - what the firewall lets in is another matter
    return found


def django_app_timers(timers):
    """The contract's ``timers`` with their defaults."""
    return {name: TIMER | one for name, one in timers.items()}


def _number(value, low=0):
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _companion_problems(app, where):
    """What is wrong with workers and timers."""
    for kind, defaults in (("workers", WORKER), ("timers", TIMER)):
        for name, one in app[kind].items():
            here = f"{where}.{kind}.{name}"
            if not UNIT_NAME.fullmatch(str(name)):
                yield f"{here}: the name is part of a unit's; type lower-case letters, digits and _ only, a letter first, at most 31"
                continue
            if name == "feed" or (kind == "timers" and name in app["workers"]):
                yield f"{here}: the journal knows {name} as another one's; choose another name"
            if not isinstance(one, dict) or not isinstance(one.get("command"), str) or not one["command"].strip():
                yield f"{here}.command: missing; type e.g. command: python manage.py {'work' if kind == 'workers' else 'clearsessions'}"
                continue
            yield from (f"{here}.{key}: unknown key; known: {', '.join(defaults)}" for key in one if key not in defaults)
            one = defaults | one
            yield from (
                f"{here}.{key}: must be a whole number, {low} or more"
                for key, low in LEAST.items()
                if key in one and not _number(one[key], low)
            )
            if one["hosts"] not in ("all", "first"):
                yield f"{here}.hosts: type all, or first for the first host of group app alone"
            if kind == "timers" and (not isinstance(one["on_calendar"], str) or not one["on_calendar"].strip()):
                yield f'{here}.on_calendar: missing; type e.g. on_calendar: "*-*-* 03:00" (systemd-analyze calendar explains it)'
            if kind == "workers":
                if one["stop_signal"] not in SIGNALS:
                    yield f"{here}.stop_signal: {one['stop_signal']} is no orderly end; type one of {', '.join(SIGNALS)}"
                yield from _listen_problems(one, here)


def _listen_problems(worker, here):
    listen = worker["listen"]
    if listen is None:
        return
    if not isinstance(listen, dict) or set(listen) - {"port", "address"} or not _number(listen.get("port"), 1024) or listen["port"] > 65535:
        yield f"{here}.listen: type e.g. listen: {{port: 8600}}, with a port from 1024 to 65535, and perhaps an address"
    elif worker["instances"] != 1:
        yield f"{here}.instances: one port is for one process; type instances: 1, and let the command fork"


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
    problems += _companion_problems(app, where)
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
                "django_app_timers",
                "django_app_workers",
            )
        }
