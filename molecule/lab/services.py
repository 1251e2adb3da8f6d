"""What surrounds the hosts: the resolver, the relay to the package sources, and on demand an HTTP proxy."""

import hashlib
import ipaddress
import json
import secrets
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from . import image, network, units
from .inventory import is_address
from .system import LabError, invoker

RESOLVER, RELAY, PROXY = "@resolver", "@relay", "@proxy"
START_SECONDS = 15
PROXY_NAME, PROXY_PORT = "proxy.lab.test", 3128


def package_sources(plan, base_root):
    """[[address inside the lab, port, host, port]], one address per host, and the names that lead to them."""
    listeners, names = [], {}
    here = {*plan.names, *(address for host in plan.hosts for address in host.addresses)}
    for host, port in [*image.sources_of(base_root), *image.endpoints(plan.urls)]:
        if host in here:
            continue                                    # a host of the inventory is a source itself
        if host not in names:
            # Behind the proxy they answer at loopback addresses, which only the proxy can reach.
            names[host] = host if is_address(host) else (
                f"127.53.0.{len(names) + 1}" if plan.http_proxy else network.service_address(plan, len(names)))
        if [names[host], port, host, port] not in listeners:
            listeners.append([names[host], port, host, port])
    return listeners, names


def proxy_address(plan):
    return str(ipaddress.ip_network(plan.services)[80])


def proxy_url(state):
    file = state / "proxy_password"
    return f"http://lab:{file.read_text()}@{PROXY_NAME}:{PROXY_PORT}" if file.exists() else None


def write(state, plan, base_root, public_port):
    """Configure them; returns the addresses of the lab that they need."""
    listeners, source_names = package_sources(plan, base_root)
    addresses = list(dict.fromkeys(listener[0] for listener in listeners))
    names = dict(plan.names)
    if plan.http_proxy:
        addresses.append(proxy_address(plan))
        names[PROXY_NAME] = [proxy_address(plan)]
        write_proxy(state, plan, source_names)
    else:
        names.update({name: [address] for name, address in source_names.items() if not is_address(name)})
    write_resolver(state, plan, names)

    hosts = {}
    for host in plan.hosts:
        for name in (host.ssh_host, *host.addresses):
            address = name if is_address(name) else host.addresses[0]
            hosts[name] = [address, network.source_for(plan, address)]
    relay = {
        "namespace": str(network.path(network.namespace(plan.name))),
        "sources": listeners,
        "public": [public_port, plan.front.addresses[0], plan.stranger[0]] if plan.front else None,
        "socket": str(state / "relay.sock"),
        "owner": invoker(),
        "hosts": hosts,
    }
    (state / "relay.json").write_text(json.dumps(relay, indent=1))
    # For commands on this computer, whose own lookups may go through a daemon outside the lab.
    switch = Path("/etc/nsswitch.conf").read_text().splitlines() if Path("/etc/nsswitch.conf").exists() else []
    lines = [line for line in switch if not line.startswith("hosts:")]
    (state / "nsswitch.conf").write_text("\n".join([*lines, "hosts: files dns"]) + "\n")
    return addresses


def write_resolver(state, plan, names):
    """It knows these names, and refuses all others: there is no upstream."""
    lines = ["no-resolv", "no-hosts", "no-poll", "bind-interfaces", "user=root", "group=root", "pid-file=", "local-ttl=60",
             "cache-size=0", f"listen-address={network.resolver(plan)}"]
    for name, addresses in names.items():
        lines += [f"host-record={name},{','.join(addresses)}", f"local=/{name}/"]
    (state / "dnsmasq.conf").write_text("\n".join(lines) + "\n")
    (state / "resolv.conf").write_text(f"nameserver {network.resolver(plan)}\n")


def write_proxy(state, plan, source_names):
    password = state / "proxy_password"
    if not password.exists():
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16))
    (state / "proxy_hosts").write_text("".join(f"{address}\t{name}\n" for name, address in source_names.items()))
    config = state / "tinyproxy.conf"
    config.touch(mode=0o600)
    config.write_text(
        f"Port {PROXY_PORT}\nListen {proxy_address(plan)}\nTimeout 120\nMaxClients 100\nLogLevel Notice\n"
        f"BasicAuth lab {password.read_text()}\nDisableViaHeader Yes\nUser nobody\nGroup nogroup\nConnectPort 443\n")


def start(state, plan):
    """Start what does not run, and start anew what runs with another configuration."""
    where = f"--net={network.path(network.namespace(plan.name))}"
    relay = Path(__file__).with_name("relay.py")
    # Where the resolver refuses all names of the outside, the proxy has a file of its own for them.
    own_names = (f"mount --bind {state}/proxy_hosts /etc/hosts && mount --bind {state}/resolv.conf /etc/resolv.conf"
                 f" && exec tinyproxy -d -c {state}/tinyproxy.conf")
    commands = {
        RESOLVER: (["nsenter", where, "dnsmasq", "--keep-in-foreground", f"--conf-file={state}/dnsmasq.conf"],
                   [state / "dnsmasq.conf"]),
        RELAY: ([sys.executable, "-I", str(relay), state / "relay.json"], [relay, state / "relay.json"]),
    }
    if plan.http_proxy:
        commands[PROXY] = (["nsenter", where, "unshare", "--mount", "--propagation", "slave", "/bin/sh", "-c", own_names],
                           [state / "tinyproxy.conf", state / "proxy_hosts"])
    for name, (command, files) in commands.items():
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
        stamp = state / f"{name[1:]}.started"
        if units.running(plan.name, name) and stamp.exists() and stamp.read_text() == digest:
            continue
        units.stop(plan.name, name)
        units.start(plan.name, name, command, state / "log" / f"{name[1:]}.log")
        stamp.write_text(digest)
    check(state)


def check(state):
    """Until the relay answers: without it nobody gets to a host."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as relay:
            relay.connect(str(state / "relay.sock"))
            relay.sendall(b"nobody 0\n")
            if relay.recv(400):
                return
        time.sleep(0.02)
    lines = [line for line in (state / "log" / "relay.log").read_text().splitlines() if not line.startswith("supervise:")]
    raise LabError(f"the relay does not start: {lines[-1] if lines else 'it says nothing'}")
