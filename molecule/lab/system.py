"""Small helpers around the operating system that every other module uses."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
STATE = Path("/var/lib/django-appliance-lab")
CACHE = Path("/var/cache/django-appliance-lab")
# For small programs of the standard library; a virtualenv may lie where another user cannot run it.
PYTHON = shutil.which("python3", path="/usr/bin:/bin") or sys.executable


class LabError(Exception):
    """Something the user can do something about; shown without a traceback."""


def say(text):
    print(f"lab: {text}", file=sys.stderr, flush=True)


# Locks that the commands we run hold with us, so that those of a killed run are waited for.
held = set()


def run(*command, check=True, **options):
    """Run a command quietly; a failure shows what it said."""
    command = [str(word) for word in command]
    result = subprocess.run(command, text=True, capture_output=True, pass_fds=held, **options)
    if check and result.returncode:
        raise LabError(f"`{' '.join(command)}` failed ({result.returncode}): {(result.stderr or result.stdout).strip()}")
    return result


def mounts_below(path):
    """Mount points at or below a path, deepest first."""
    path = str(path)
    with open("/proc/self/mountinfo") as lines:
        points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return sorted((p for p in points if p == path or p.startswith(path + "/")), key=len, reverse=True)


def unmount(path):
    for point in mounts_below(path):
        if run("umount", point, check=False).returncode:
            run("umount", "-l", point)


def remove_tree(path):
    """Delete a folder, never through a live mount: that would delete what is mounted there."""
    unmount(path)
    if mounts_below(path):
        raise LabError(f"{path} has a mount below it that does not go away: {mounts_below(path)}")
    if path.exists():
        shutil.rmtree(path)


def invoker():
    """User and group that the files in the project belong to: who typed the command, also through sudo."""
    return int(os.environ.get("SUDO_UID", os.getuid())), int(os.environ.get("SUDO_GID", os.getgid()))


def write_own(path, text, mode=0o644):
    """Write a file of the invoker's, whole or not at all and never with a wider mode in between."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    os.chown(part, *invoker())
    part.rename(path)


def folder_own(path, mode=0o755):
    if not path.is_dir():
        path.mkdir(mode=mode, parents=True)
        os.chown(path, *invoker())


NEEDED = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "dnsmasq": "dnsmasq-base",
    "nsenter": "util-linux",
    "ssh-keygen": "openssh-client",
    "tinyproxy": "tinyproxy-bin",
}


def install_missing(*commands):
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    packages = sorted({NEEDED[command] for command in commands if not shutil.which(command)})
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise LabError(f"these are missing here: {' '.join(packages)} (names of Debian's packages)")
    say(f"installing from Debian: {' '.join(packages)}")
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install = ("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages)
    if run(*install, check=False, env=quiet).returncode:
        run("apt-get", "update", "-q", env=quiet)
        run(*install, env=quiet)
