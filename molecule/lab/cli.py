"""The verbs."""

import argparse
import fcntl
import json
import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from . import image, inventory, machine, network, overlay, services, units
from .inventory import Plan
from .system import STATE, LabError, held, install_missing, invoker, mounts_below, remove_tree, run, say, unmount

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
        part.write_text(json.dumps({"complete": complete, "public_port": public_port, "plan": plan.as_dict()}, indent=1))
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

    def alive(self, plan):
        """Whether its network and its disks are there, so that machines can run."""
        wanted = {network.namespace(self.name), *(network.namespace(self.name, name) for name in plan.outside)}
        disks = all(mounts_below(machine.root(self.state, host)) for host in plan.hosts)
        return disks and wanted <= set(network.namespaces(self.name))


def up(lab, path, given):
    saved = lab.load()
    options = {key: value for key, value in given.items() if value}
    if saved:
        was = saved["plan"]
        options = {**{key: was[key] for key in given}, **options}
        path = path or Path(was["inventory"])
    if not path:
        raise LabError(f"no inventory {lab.name!r}: neither a path, nor a folder of inventories/")
    plan = inventory.make_plan(lab.name, path, *inventory.read(path), **options)
    for note in plan.notes:
        say(f"note: {note}")
    started = time.monotonic()
    if saved and saved["complete"] and lab.alive(plan):
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
    given = {json.loads(file.read_text()).get("public_port") for file in STATE.glob("*/lab.json")}
    while port < 65536:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                if port not in given:
                    probe.bind(("127.0.0.1", port))
                    return port
            except OSError:
                pass
        port += 1
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
    remove_tree(overlay.folder(lab.name))
    with suppress(OSError):                             # other labs are in it
        overlay.folder(lab.name).parent.rmdir()


def empty(folder):
    """Remove what is in it; the folder itself is the lock, and stays until that is released."""
    unmount(folder)
    for entry in folder.iterdir():
        if entry.is_dir():
            remove_tree(entry)
        else:
            entry.unlink()


def status(lab, as_json):
    saved = lab.load()
    if not saved:
        print(json.dumps({"name": lab.name, "up": False}) if as_json else f"lab {lab.name} is down")
        return 1
    plan = Plan.from_dict(saved["plan"])
    hosts = []
    for host in plan.hosts:
        pid = machine.leader(plan, host)
        hosts.append({"name": host.name, "addresses": host.addresses, "groups": host.groups,
                      "power": "on" if pid else "off", "pid": pid,
                      "network": "plugged" if pid and network.plugged(plan, host) else "cut" if pid else "-",
                      "ssh": bool(pid) and answers(plan, host)})
    service_names = [services.RESOLVER, services.RELAY] + [services.PROXY] * plan.http_proxy
    facts = {"name": lab.name, "up": saved["complete"] and all(host["ssh"] for host in hosts), "inventory": plan.inventory,
             "overlay": str(overlay.inventory(lab.name)), "public_port": saved["public_port"], "suite": plan.suite,
             "sudo_password": plan.sudo_password, "http_proxy": plan.http_proxy, "operator": plan.operator,
             "outside": plan.outside, "hosts": hosts,
             "services": {name[1:]: units.running(lab.name, name) for name in service_names}}
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        for key, value in facts.items():
            if key not in ("up", "hosts"):
                print(f"{key + ':':15}{value}")
        width = max(len(host["name"]) for host in hosts) + 2
        print(f"\n{'host':{width}}{'power':7}{'network':9}{'ssh':6}addresses")
        for host in hosts:
            ssh = "yes" if host["ssh"] else "no"
            print(f"{host['name']:{width}}{host['power']:7}{host['network']:9}{ssh:6}{' '.join(host['addresses'])}")
    return 0 if facts["up"] else 1


def url(lab):
    """Where a browser finds each app, who may log in, and a line to try it."""
    plan, port = lab.plan(), lab.load()["public_port"]
    if not port:
        raise LabError(f"lab {lab.name} has no host in the group gateway")
    kept = f".secrets/lab-{lab.name}"
    if not plan.apps:
        print(f"https://127.0.0.1:{port}/")
    for app, domain in plan.apps.items():
        address = f"https://{domain}:{port}/"
        print(f"{app}: {address}")
        print(f"  password of its first administrator: {kept}/{app}_superuser_password")
        print(f"  for a browser, name it in /etc/hosts: 127.0.0.1 {domain}")
        print(f"  curl --cacert {kept}/ca.crt --resolve {domain}:{port}:127.0.0.1 {address}")
    return 0


def answers(plan, host):
    try:
        return network.inside(network.path(network.namespace(plan.name)), machine.banner, plan, host)
    except OSError:
        return False


def execute(lab, origin, on, command):
    """Become a command in the lab's network: as the operator, as somebody outside, as a host; or one on a host."""
    plan = lab.plan()
    if not command:
        raise LabError("exec needs a command")
    if on:
        clean = ["/usr/bin/env", "-i", "HOME=/root", "TERM=dumb", "LANG=C.UTF-8",
                 "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        become(["nsenter", f"--target={running_leader(plan, plan.host(on))}", "--mount", "--uts", "--ipc", "--net", "--pid",
                "--cgroup", "--root", "--wd", "--", *clean, *command])
    if origin is None or origin == "operator":
        where = network.path(network.namespace(lab.name))
    elif origin in plan.outside and origin not in [host.name for host in plan.hosts]:
        where = network.path(network.namespace(lab.name, origin))
    else:
        where = f"/proc/{running_leader(plan, plan.host(origin))}/ns/net"
    # In a mount namespace of its own, since names are to be looked up as the hosts do.
    user, group = invoker()
    demote = ["setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups"] if user else []
    script = ('for file in resolv.conf nsswitch.conf; do '
              '[ ! -e /etc/$file ] || mount --bind "$0/$file" "$(readlink -f /etc/$file)" || exit; done; exec "$@"')
    become(["nsenter", f"--net={where}", "unshare", "--mount", "--propagation", "slave", "/bin/sh", "-c", script,
            str(lab.state), *demote, *command])


def become(command):
    os.execvp(command[0], command)  # noqa: S606


def running_leader(plan, host):
    pid = machine.leader(plan, host)
    if not pid:
        raise LabError(f"{host.name} is off")
    return pid


def on_host(lab, verb, name):
    plan = lab.plan()
    host = plan.host(name)
    if verb == "power-off":
        machine.power_off(plan, host)
        return
    if verb == "power-on":
        if not units.running(lab.name, host.name):
            machine.start(lab.state, plan, host)
        machine.wait(lab.state, plan, host)
        return
    running_leader(plan, host)
    if verb == "reboot":
        machine.reboot(plan, host)
        machine.wait(lab.state, plan, host)
    else:
        network.plug(plan, host, "down" if verb == "cut" else "up")


def parser():
    main_parser = argparse.ArgumentParser(prog="lab", description="A throw-away machine for each host of an inventory.")
    verbs = main_parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name, text):
        added = verbs.add_parser(name, help=text, description=text)
        added.add_argument("lab", metavar="NAME-or-INVENTORY")
        return added

    added = verb("up", "make the lab, or start what is not running of it")
    added.add_argument("--suite", choices=["trixie", "bookworm"], help="Debian's release (default: trixie)")
    added.add_argument("--sudo-password", action="store_true", help="sudo on the hosts wants a password")
    added.add_argument("--http-proxy", action="store_true", help="hosts reach the world only through an HTTP proxy with a password")
    verb("down", "remove the lab and every trace of it")
    verb("status", "show it; fails unless every host answers").add_argument("--json", action="store_true", dest="as_json")
    added = verb("exec", "run a command in the lab's network, by default as an operator")
    added.add_argument("--from", dest="origin", metavar="WHO",
                       help="operator, outsider, a name of appliance_networks, or a host (its network only)")
    added.add_argument("--on", metavar="HOST", help="run it on this host, as root")
    added.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    for name, text in {"reboot": "restart a host in order", "power-off": "stop a host as a power failure does",
                       "power-on": "start a host that is off", "cut": "take a host off the network",
                       "restore": "put a host back on the network"}.items():
        verb(name, text).add_argument("host")
    verb("inventory", "print where the lab's own inventory lies")
    verb("url", "print where a browser finds the apps, and how to try them")
    verbs.add_parser("clean", help="drop the cached base file systems and packages")
    return main_parser


def parse(arguments):
    """Options of `exec` may also stand between the lab and the command."""
    if arguments[:1] == ["exec"] and len(arguments) > 2 and not arguments[1].startswith("-"):
        rest, options = arguments[2:], []
        while rest and (rest[0] in ("--from", "--on") or rest[0].startswith(("--from=", "--on="))):
            count = 1 if "=" in rest[0] else 2
            options, rest = options + rest[:count], rest[count:]
        arguments = ["exec", *options, arguments[1], *rest]
    parsed = parser().parse_args(arguments)
    if parsed.verb == "exec" and parsed.command[:1] == ["--"]:
        parsed.command = parsed.command[1:]
    return parsed


def become_root():
    if os.geteuid() == 0:
        return
    kept = [f"{key}={value}" for key, value in os.environ.items() if key == "PATH" or key.startswith(("ANSIBLE_", "LAB_"))]
    become(["sudo", "env", *kept, sys.executable, str(Path(__file__).parent), *sys.argv[1:]])


def main():
    options = parse(sys.argv[1:])
    if options.verb == "inventory":
        print(overlay.inventory(inventory.locate(options.lab)[0]))
        return 0
    become_root()
    try:
        return dispatch(options) or 0
    except LabError as error:
        say(error)
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next run cleans up")
        return 130


def dispatch(options):
    verb = options.verb
    if verb == "clean":
        return image.clean()
    name, path = inventory.locate(options.lab)
    lab = Lab(name)
    if verb == "status":
        return status(lab, options.as_json)
    if verb == "url":
        return url(lab)
    if verb == "exec":
        return execute(lab, options.origin, options.on, options.command)
    if verb == "up":
        install_missing("mmdebstrap", "systemd-nspawn", "ip", "dnsmasq", "nsenter", "ssh-keygen",
                        *["tinyproxy"] * options.http_proxy)
    with lab.lock():
        if verb == "up":
            up(lab, path, {key: getattr(options, key) for key in ("suite", "sudo_password", "http_proxy")})
        elif verb == "down":
            down(lab)
        else:
            on_host(lab, verb, options.host)
    return 0
