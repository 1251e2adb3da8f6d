"""The lab's network: a namespace with a bridge for the hosts, and one for each stranger, such as the outsider.

No link leads from it to this computer or to the outside. What the hosts may reach, the package sources, they reach
through relay.py alone, which answers at addresses inside; so there is nothing that a firewall would have to forbid.
"""

import ctypes
import ipaddress
import itertools
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from .system import LabError, run

CLONE_NEWNET = 0x40000000
BRIDGE = "br0"


def namespace(lab, outside=None):
    return f"lab-{lab}@{outside}" if outside else f"lab-{lab}"


def path(name):
    return Path("/run/netns", name)


def namespaces(lab):
    """Those of one lab that exist."""
    folder = Path("/run/netns")
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return [name for name in names if name == namespace(lab) or name.startswith(namespace(lab) + "@")]


def resolver(plan):
    return str(ipaddress.ip_network(plan.services)[53])


def service_address(plan, number):
    return str(ipaddress.ip_network(plan.services)[100 + number])


def gateway_for(plan, address):
    """The lab's own address in the subnet of a host's."""
    for gateway in map(ipaddress.ip_interface, plan.gateways):
        if gateway.version == ipaddress.ip_address(address).version and ipaddress.ip_address(address) in gateway.network:
            return str(gateway.ip)
    raise LabError(f"no gateway for {address}")


def source_for(plan, address):
    """Where connections of the operator come from."""
    for source in plan.operator:
        if ipaddress.ip_address(source).version == ipaddress.ip_address(address).version:
            return source
    return gateway_for(plan, address)


def create(plan, relayed):
    """Make the namespaces. `relayed`: the addresses at which the package sources answer."""
    lab = namespace(plan.name)
    run("ip", "netns", "add", lab)
    steps = [
        "link set lo up",
        f"link add {BRIDGE} type bridge stp_state 0 forward_delay 0",
        # Without an address of its own a bridge changes it as machines come and go.
        f"link set {BRIDGE} address 02:00:5e:00:53:01 up",
    ]
    on_bridge = [ipaddress.ip_interface(gateway) for gateway in plan.gateways]
    for gateway in on_bridge:
        steps.append(f"addr add {gateway} dev {BRIDGE}" + (" nodad" if gateway.version == 6 else ""))
    for address in [resolver(plan), *relayed, *plan.operator, *plan.stranger]:
        address = ipaddress.ip_interface(address)
        if not address.is_loopback and address.ip not in [gateway.ip for gateway in on_bridge]:
            steps.append(f"addr add {address} dev lo" + (" nodad" if address.version == 6 else ""))
    for gateway in on_bridge:
        for source in plan.operator:
            if ipaddress.ip_address(source).version == gateway.version:
                steps += [f"route del {gateway.network} dev {BRIDGE}", f"route add {gateway.network} dev {BRIDGE} src {source}"]
    for address in itertools.chain(*plan.outside.values()):
        steps.append(f"route add {ipaddress.ip_interface(address)} dev {BRIDGE}")
    run("ip", "-n", lab, "-batch", "-", input="\n".join(steps) + "\n")
    inside(path(lab), set_router)
    for number, (name, addresses) in enumerate(plan.outside.items()):
        create_outside(plan, namespace(plan.name, name), number, addresses)


def create_outside(plan, name, number, addresses):
    port = f"outside{number}"
    run("ip", "netns", "add", name)
    run("ip", "-n", namespace(plan.name), "-batch", "-", input=(
        f"link add {port} type veth peer name host0 netns {name}\n"
        f"link set {port} master {BRIDGE} up\n"))
    steps = ["link set lo up", "link set host0 up"]
    for address in map(ipaddress.ip_interface, addresses):
        steps.append(f"addr add {address} dev host0" + (" nodad" if address.version == 6 else ""))
        gateway = next(found for found in map(ipaddress.ip_interface, plan.gateways) if found.version == address.version)
        steps.append(f"route add default via {gateway.ip} dev host0 onlink")
    run("ip", "-n", name, "-batch", "-", input="\n".join(steps) + "\n")


def set_router():
    # A switch looks into no packet; where Docker has been, a bridge hands each of them to iptables.
    switch = {f"net/bridge/bridge-nf-call-{tables}": 0 for tables in ("iptables", "ip6tables", "arptables")}
    for key, value in {**switch, "net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1,
                       "net/ipv4/conf/all/rp_filter": 0, "net/ipv4/conf/all/send_redirects": 0, f"net/ipv4/conf/{BRIDGE}/send_redirects": 0,
                       "net/ipv4/ping_group_range": "0 2147483647"}.items():
        if Path("/proc/sys", key).exists():
            Path("/proc/sys", key).write_text(f"{value}\n")


def delete(lab):
    """Also what still runs in there: an open connection would keep the namespace alive without a name."""
    for name in namespaces(lab):
        with suppress(OSError):                         # a half-made one
            end_processes(path(name).stat().st_ino)
        for link in interfaces(name):
            run("ip", "-n", name, "link", "delete", link, check=False)
        run("ip", "netns", "delete", name)


def end_processes(inode):
    """End what runs in a network namespace, also commands of `exec`."""
    for _ in range(100):
        pids = [process.name for process in Path("/proc").glob("[0-9]*") if namespace_of(process.name) == inode]
        if not pids or inode == namespace_of("self"):
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.02)


def namespace_of(pid):
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None


def interfaces(name):
    lines = run("ip", "-n", name, "-o", "link", check=False).stdout.splitlines()
    return [line.split(": ")[1].split("@")[0] for line in lines if ": lo:" not in line]


def port(host):
    """The lab's end of a host's cable, as nspawn names it."""
    return f"vb-{host.machine}"


def plugged(plan, host):
    line = run("ip", "-n", namespace(plan.name), "-o", "link", "show", port(host), check=False).stdout
    return ",UP" in line


def plug(plan, host, state):
    run("ip", "-n", namespace(plan.name), "link", "set", port(host), state)


def enter(namespace_path):
    """Move the calling thread. os.setns came with Python 3.12 only."""
    with open(namespace_path) as file:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace_path}")


def inside(namespace_path, function, *arguments):
    """Call a function in a namespace: in a thread of its own, which ends there."""
    outcome = {}

    def work():
        try:
            enter(namespace_path)
            outcome["value"] = function(*arguments)
        except BaseException as error:  # handed to the caller
            outcome["error"] = error

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]
