"""A lab from its first `up` to its `down`."""

import fcntl
import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from . import image, inventory, machine, network, overlay, services, units
from .inventory import Plan
from .system import PROJECT, STATE, LabError, held, invoker, mounts_below, remove_tree, run, say, unmount

PUBLIC_PORT = 8443
MEMORY_DISK_MB = 6000
LOCK_SECONDS = 3


class Lab:
    """A lab's state on this computer."""

    def __init__(self, name):
        self.name = name
        self.state = STATE / name
        self.file = self.state / "lab.json"

    def load(self):
        """What `up` wrote, or None where there is no whole lab."""
        try:
            return json.loads(self.file.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def plan(self):
        saved = self.load()
        if not saved:
            raise LabError(f"there is no lab {self.name}: `up` makes it")
        return Plan.from_dict(saved["plan"])

    def save(self, plan, public_port, complete):
        part = self.file.with_suffix(".part")
        part.touch(mode=0o600)                          # a proxy's address may carry a password
        facts = {"complete": complete, "project": str(PROJECT), "public_port": public_port, "plan": plan.as_dict()}
        part.write_text(json.dumps(facts, indent=1))
        part.rename(self.file)

    @contextmanager
    def lock(self):
        """Held by one run at a time. The lock is the folder, which `down` removes: so look whether it still is the one."""
        patience = time.monotonic() + LOCK_SECONDS
        while True:
            self.state.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.state, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self.state.exists() and os.fstat(descriptor).st_ino == self.state.stat().st_ino:
                    break
            except BlockingIOError:
                if time.monotonic() > patience:
                    raise LabError(f"another run is busy with lab {self.name}") from None
                time.sleep(0.1)
            os.close(descriptor)
        held.add(descriptor)
        try:
            yield
        finally:
            held.remove(descriptor)
            for folder in (self.state, STATE):
                with suppress(OSError):                 # it has something in it
                    folder.rmdir()
            os.close(descriptor)

    def is_of(self, path):
        """Whether the lab was made from this inventory."""
        saved = self.load()
        return not (saved and path) or Path(saved["plan"]["inventory"]).resolve() == path.resolve()

    def check_owner(self, path):
        """Another copy of the project may have an inventory of the same name; its lab is not ours while one of its machines runs."""
        saved = self.load()
        if not self.is_of(path) and any(units.running(self.name, host.name) for host in self.plan().hosts):
            raise LabError(f"a lab {self.name} was made from {saved['plan']['inventory']}; to remove it: down {saved['plan']['inventory']}")

    def alive(self, plan):
        """Whether its network and its disks are there, so that machines can run."""
        wanted = {network.namespace(self.name), *(network.namespace(self.name, name) for name in plan.outside)}
        disks = all(mounts_below(machine.root(self.state, host)) for host in plan.hosts)
        return disks and wanted <= set(network.namespaces(self.name))


def up(lab, path, given):
    saved = lab.load()
    options = {key: value for key, value in given.items() if value}
    if saved and lab.is_of(path):
        was = saved["plan"]
        options = {**{key: was[key] for key in given}, **options}
        path = path or Path(was["inventory"])
    if not path or not path.exists():
        raise LabError(f"no inventory {lab.name!r}: neither a path, nor a folder of inventories/")
    plan = inventory.make_plan(lab.name, path, *inventory.read(path), **options)
    for note in plan.notes:
        say(f"note: {note}")
    started = time.monotonic()
    if saved and saved["complete"] and lab.is_of(path) and lab.alive(plan):
        changed = plan.differences(Plan.from_dict(saved["plan"]))
        if changed:
            raise LabError(f"lab {lab.name} was made with other {', '.join(changed)}: take it `down` first")
        public_port = saved["public_port"]
        services.write(lab.state, plan, image.base(plan.suite), public_port)
    else:
        if any(lab.state.iterdir()):
            say("removing what an earlier run left")
        remove(lab)
        public_port = make(lab, plan)
    credentials = overlay.make_secrets(plan)
    layers = [layer for layer in (image.package_layer(plan.suite), image.base(plan.suite)) if layer]

    def raise_host(host):
        if not mounts_below(machine.root(lab.state, host)):
            machine.make_disk(lab.state, plan, host, layers)
            machine.configure(machine.root(lab.state, host), plan, host, *credentials)
        if not units.running(lab.name, host.name):
            machine.start(lab.state, plan, host)
        machine.wait(lab.state, plan, host)

    with ThreadPoolExecutor(len(plan.hosts) + 1) as pool:
        surroundings = pool.submit(services.start, lab.state, plan)
        list(pool.map(raise_host, plan.hosts))
        surroundings.result()
    overlay.write(plan, lab.state, public_port, services.proxy_url(lab.state))
    lab.save(plan, public_port, complete=True)
    say(f"{len(plan.hosts)} hosts of lab {lab.name} are up after {time.monotonic() - started:.1f} s; "
        f"ansible-playbook -i {os.path.relpath(path)} -i {os.path.relpath(overlay.inventory(lab.name))} site.yml")


def make(lab, plan):
    """All that the hosts share, but for running processes."""
    lab.save(plan, None, complete=False)
    base = image.base(plan.suite)
    (lab.state / "log").mkdir()
    for folder in ("roots", "disks"):                   # the machines' files are not for other users here
        (lab.state / folder).mkdir(mode=0o700)
    if available_mb() >= MEMORY_DISK_MB:
        run("mount", "-t", "tmpfs", "-o", "mode=0700", f"lab-{plan.name}", lab.state / "disks")
    else:
        say("little memory is free, so the machines' disks lie on this computer's disk, which is slower")
    public_port = take_port(lab, plan) if plan.front else None
    masters = overlay.ssh_masters(plan.name)
    masters.parent.mkdir(exist_ok=True)
    masters.mkdir(mode=0o700, exist_ok=True)
    os.chown(masters, *invoker())
    network.create(plan, services.write(lab.state, plan, base, public_port))
    return public_port


def available_mb():
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:"))


def take_port(lab, plan):
    """Choose one and have it written down before another lab chooses."""
    everybody = os.open(STATE, os.O_RDONLY)
    try:
        fcntl.flock(everybody, fcntl.LOCK_EX)
        port = free_port(PUBLIC_PORT)
        lab.save(plan, port, complete=False)
    finally:
        os.close(everybody)
    return port


def free_port(port):
    """The first port of 127.0.0.1, from this one on, that nobody listens on and no other lab has been given."""
    given = {(Lab(folder.name).load() or {}).get("public_port") for folder in STATE.iterdir()}
    for candidate in range(port, 65536):
        with suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if candidate not in given:
                probe.bind(("127.0.0.1", candidate))
                return candidate
    raise LabError("no free port on 127.0.0.1")


def down(lab):
    saved = lab.load()
    if saved and saved["complete"]:
        plan = Plan.from_dict(saved["plan"])
        halt(lab, plan)
        image.harvest(plan.suite, [machine.upper(lab.state, host) for host in plan.hosts])
    remove(lab)


def halt(lab, plan):
    with ThreadPoolExecutor(len(plan.hosts)) as pool:
        list(pool.map(lambda host: machine.power_off(plan, host), plan.hosts))
    for host in plan.hosts:
        machine.remove_leftovers(plan, host)


def remove(lab):
    """Take away whatever there is of a lab, in whatever state."""
    saved = lab.load()
    if saved:
        halt(lab, Plan.from_dict(saved["plan"]))
    for name in units.units(lab.name):
        units.stop(lab.name, name)
    units.tidy(lab.name)
    overlay.end_ssh_masters(lab.name)
    network.delete(lab.name)
    empty(lab.state)
    for project in {PROJECT, Path((saved or {}).get("project", PROJECT))}:
        remove_tree(overlay.folder(lab.name, project))
        with suppress(OSError):                         # other labs are in it
            overlay.folder(lab.name, project).parent.rmdir()


def empty(folder):
    """Remove what is in it; the folder itself is the lock, and stays until that is released."""
    unmount(folder)
    for entry in folder.iterdir():
        if entry.is_dir():
            remove_tree(entry)
        else:
            entry.unlink()
