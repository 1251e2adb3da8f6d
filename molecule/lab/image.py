"""What machines are made of: a base file system, and the packages that earlier machines have downloaded.

Both lie in the cache and are never changed once made: machines that run have them as the lower layers of an overlay.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from .system import CACHE, LabError, mounts_below, remove_tree, run, say

# A freshly installed minimal server, with what Ansible needs. Nothing that a role of the appliance installs.
PACKAGES = ("systemd", "systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "sudo", "python3", "python3-apt",
            "iproute2", "ca-certificates", "netbase", "procps", "tzdata", "apt-utils", "less")
RECIPE = 4
MAX_AGE_DAYS = 14
SITE_CERTIFICATES = Path("/usr/local/share/ca-certificates")


def site_certificates():
    return sorted(SITE_CERTIFICATES.rglob("*.crt"))


@contextmanager
def cache_lock():
    """One builder at a time. The builder's children hold the lock too, so that a killed one is waited for."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another lab that is filling the cache")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def base(suite):
    """The base file system of a Debian suite, made when it is missing, of another recipe, or old."""
    recipe = [RECIPE, PACKAGES, [path.read_text() for path in site_certificates()]]
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:10]
    with cache_lock() as lock:
        for found in sorted(CACHE.glob(f"base-{suite}-{digest}-*"), reverse=True):
            made = int(found.name.rsplit("-", 1)[1])
            if time.time() - made < MAX_AGE_DAYS * 86400 and (found / "sources.json").exists():
                return found / "root"
        for stale in CACHE.glob(f"base-{suite}-*"):
            if not in_use(stale):
                remove_tree(stale)
        say(f"making the base file system of Debian {suite} (about a minute, once)")
        part = CACHE / f"base-{suite}-part"
        remove_tree(part)
        part.mkdir()
        build(suite, part / "root", lock)
        (part / "sources.json").write_text(json.dumps(package_sources(part / "root")))
        done = CACHE / f"base-{suite}-{digest}-{int(time.time())}"
        part.rename(done)
        return done / "root"


def build(suite, root, lock):
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(root)]
    result = subprocess.run(command, pass_fds=[lock.fileno()], text=True, capture_output=True)
    if result.returncode:
        raise LabError(f"mmdebstrap failed:\n{result.stderr[-2000:]}")
    for certificate in site_certificates():
        shutil.copy(certificate, root / "usr/local/share/ca-certificates" / certificate.name)
    run("chroot", root, "update-ca-certificates")
    run("systemctl", f"--root={root}", "enable", "systemd-networkd", "ssh")
    run("systemctl", f"--root={root}", "mask", "console-getty.service", "getty@.service")
    run("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", "ansible")
    for key in root.glob("etc/ssh/ssh_host_*"):         # every machine gets its own
        key.unlink()
    (root / "etc/machine-id").write_text("")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    # What systemd does once after an installation is done here once, instead of at each machine's first start.
    run("chroot", root, "journalctl", "--update-catalog")
    run("chroot", root, "ldconfig")
    for mark in (root / "etc/.updated", root / "var/.updated"):
        mark.touch()
        os.utime(mark, ns=((root / "usr").stat().st_mtime_ns,) * 2)


def sources_of(base_root):
    """The package sources that machines of this base may reach: [[host, port]]."""
    return json.loads((base_root.parent / "sources.json").read_text())


def package_sources(root):
    """Asked of the tools themselves: what apt in the image, pip and npm fetch from when nobody configures them."""
    urls = []
    for file in [root / "etc/apt/sources.list", *(root / "etc/apt/sources.list.d").glob("*")]:
        if file.exists():
            urls += [word for word in file.read_text().split() if word.startswith(("http:", "https:"))]
    urls += pip_sources()
    if shutil.which("npm"):
        urls.append(run("npm", "config", "get", "registry", check=False, cwd="/").stdout.strip())
    return endpoints(urls)


def pip_sources():
    asked = "from pip._internal.models.index import PyPI; print(PyPI.simple_url, 'https://' + PyPI.file_storage_domain)"
    for python in (sys.executable, "python3", "/usr/bin/python3"):
        result = subprocess.run([python, "-c", asked], text=True, capture_output=True)
        if not result.returncode:
            return result.stdout.split()
    say("pip is not installed here, so its index is not among what the hosts may reach")
    return []


def endpoints(urls):
    """Hosts and ports of URLs; a host is reached at 80 and 443, since many answer one by a redirect to the other."""
    found = {}
    for url in urls:
        parts = urlsplit(url)
        if parts.hostname:
            for port in [parts.port] if parts.port else [80, 443]:
                found[parts.hostname, port] = None
    return [list(endpoint) for endpoint in found]


def in_use(folder):
    """Whether an overlay that is mounted has the folder among its layers."""
    with open("/proc/self/mountinfo") as lines:
        return any(f"{folder}/" in line or f"{folder}:" in line or f"{folder}," in line for line in lines)


def package_layer(suite):
    """The newest layer of downloaded packages and lists, or None."""
    layers = sorted(CACHE.glob(f"packages-{suite}-[0-9]*"))
    return layers[-1] if layers else None


ARCHIVES, LISTS = Path("var/cache/apt/archives"), Path("var/lib/apt/lists")


def harvest(suite, uppers):
    """Keep what the machines' apt downloaded, in a new layer that machines to come start with."""
    old = package_layer(suite)
    debs, lists = {}, {}
    for upper in uppers:
        debs.update({file.name: file for file in (upper / ARCHIVES).glob("*.deb")})
        for file in (upper / LISTS).glob("*"):
            known = lists.get(file.name)
            if file.is_file() and file.name != "lock" and not (known and known.stat().st_mtime >= file.stat().st_mtime):
                lists[file.name] = file
    new = [name for name in debs if not old or not (old / ARCHIVES / name).exists()]
    fresh = [name for name in lists if not old or not (old / LISTS / name).exists()
             or (old / LISTS / name).stat().st_mtime < lists[name].stat().st_mtime]
    if not new and not fresh:
        return
    with cache_lock():
        old = package_layer(suite)
        part = CACHE / f"packages-{suite}-part"
        remove_tree(part)
        for folder in (ARCHIVES, LISTS):
            (part / folder).mkdir(parents=True)
        replaced = {tuple(name.split("_")[::2]) for name in debs}
        for folder, found in (ARCHIVES, debs), (LISTS, lists):
            for file in (old / folder).iterdir() if old else []:
                superseded = folder == ARCHIVES and tuple(file.name.split("_")[::2]) in replaced
                if file.name not in found and not superseded:
                    os.link(file, part / folder / file.name)
            for name, file in found.items():
                kept = old and old / folder / name
                if kept and kept.exists() and kept.stat().st_size == file.stat().st_size and folder == ARCHIVES:
                    os.link(kept, part / folder / name)
                else:
                    shutil.copy2(file, part / folder / name)
        # Old enough that nobody takes the lists for fresh: a role has to update them, which costs one question each.
        os.utime(part / LISTS, (0, 0))
        part.rename(CACHE / f"packages-{suite}-{time.time_ns()}")
        for stale in CACHE.glob(f"packages-{suite}-[0-9]*"):
            # A lab may just have chosen the one before, and not mounted it yet.
            aged = time.time() - stale.stat().st_ctime > 600
            if stale != package_layer(suite) and aged and not in_use(stale):
                remove_tree(stale)


def clean():
    """Drop the cache, but for what a running lab stands on."""
    with cache_lock():
        for entry in CACHE.glob("*-*"):
            if in_use(entry) or mounts_below(entry):
                say(f"kept, a lab is using it: {entry}")
            else:
                remove_tree(entry)
