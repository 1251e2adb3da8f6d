"""The verbs."""

import argparse
import json
import os
import sys
from pathlib import Path

from . import image, inventory, machine, network, overlay, services, units
from .inventory import Plan
from .lifecycle import Lab, down, up
from .system import LabError, install_missing, invoker, say


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
    try:
        if options.verb == "inventory":
            print(overlay.inventory(inventory.locate(options.lab)[0]))
            return 0
        become_root()
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
        lab.check_owner(path)
        if verb == "up":
            up(lab, path, {key: getattr(options, key) for key in ("suite", "sudo_password", "http_proxy")})
        elif verb == "down":
            down(lab)
        else:
            on_host(lab, verb, options.host)
    return 0
