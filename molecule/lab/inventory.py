"""Reads an inventory, by what `ansible-inventory --list` says of it, and decides what its lab looks like.

Nothing here touches the system but the one call of ansible-inventory.
"""

import hashlib
import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from .system import PROJECT, LabError

# Networks for documentation and measurements, in which nobody's hosts are: the outsider's, and the lab's own services'.
OUTSIDER_NETWORKS = ("198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24")
OUTSIDER_NETWORKS_6 = ("2001:db8:6f75:7400::/64", "2001:db8:6f75:7401::/64")
SERVICE_NETWORKS = ("198.18.53.0/24", "198.19.53.0/24", "198.18.54.0/24")

# Variables that ansible prefers to those which the overlay sets anyway.
ALIASES = ("ansible_ssh_host", "ansible_ssh_port", "ansible_ssh_user", "ansible_private_key_file", "ansible_ssh_args",
           "ansible_become_pass", "ansible_sudo_pass")
BECOME_PASSWORDS = ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")

# The subnet that is assumed around a host's address.
PREFIX = {4: 24, 6: 64}


@dataclass
class Host:
    name: str
    addresses: list
    ssh_host: str                 # what ansible connects to: an address, or a name
    ssh_port: int = 22
    groups: list = field(default_factory=list)
    aliases: list = field(default_factory=list)     # older spellings of connection variables that its inventory uses
    machine: str = ""             # short and unique on this computer, for nspawn and the interface


@dataclass
class Plan:
    """All of a lab that follows from its inventory and its options."""

    name: str
    inventory: str
    hosts: list
    gateways: list                # the lab's own addresses on the bridge, "address/prefix", one per subnet
    operator: list                # addresses that connections from the control node come from
    stranger: list                # likewise of connections from a browser, through the public port
    outside: dict                 # whoever else may be played: the outsider, and each named network → addresses
    services: str                 # network of the lab's own resolver and relays
    names: dict                   # DNS names of the inventory → addresses
    apps: dict                    # name → its first domain
    urls: list                    # mirrors and proxies that the inventory names
    suite: str = "trixie"
    sudo_password: bool = False
    http_proxy: bool = False
    certificates: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def host(self, name):
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(f"lab {self.name} has no host {name!r}; it has {', '.join(h.name for h in self.hosts)}")

    @property
    def front(self):
        return front_of(self.hosts)

    def differences(self, other):
        """What two plans do not agree upon, of that which a running lab cannot take over."""
        settled = ("gateways", "operator", "stranger", "outside", "services", "urls", "suite", "sudo_password", "http_proxy")
        found = [name for name in settled if getattr(self, name) != getattr(other, name)]
        machines = [[(host.name, host.addresses, host.ssh_port) for host in plan.hosts] for plan in (self, other)]
        return ["hosts"] * (machines[0] != machines[1]) + found

    def as_dict(self):
        return asdict(self)

    @classmethod
    def from_dict(cls, values):
        """Also from what another version of this program wrote, so that its labs can be taken down."""
        known = {field.name: values.get(field.name) for field in fields(cls)}
        return cls(**{**known, "hosts": [Host(**host) for host in values["hosts"]]})


def locate(argument):
    """Name of the lab, and its inventory, from either of them. The latter is None where only a name is known."""
    path = Path(argument)
    if not path.exists():
        if "/" in argument:
            raise LabError(f"there is no inventory {argument}")
        path = PROJECT / "inventories" / argument
        if not path.exists():
            return checked_name(argument), None
    path = path.resolve()
    return checked_name(path.name if path.is_dir() else path.parent.name), path


def checked_name(name):
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", name):
        raise LabError(f"{name!r} is no inventory that is there, and cannot be the name of a lab")
    return name


def short(name):
    """A lab's name where few characters fit."""
    return hashlib.sha256(name.encode()).hexdigest()[:6]


def tool(name):
    """A command of the virtualenv that runs this, or of the project's, or on PATH."""
    for folder in (Path(sys.executable).parent, Path(sys.prefix, "bin"), PROJECT / ".venv/bin"):
        if (folder / name).exists():
            return str(folder / name)
    found = shutil.which(name)
    if not found:
        raise LabError(f"{name} is missing: run `make venv`, or put ansible on PATH")
    return found


def read(path):
    """The inventory as ansible sees it: (variables of each host, groups of each host)."""
    command = [tool("ansible-inventory"), "-i", str(path), "--list"]
    environment = dict(os.environ, ANSIBLE_INVENTORY_UNPARSED_FAILED="1", ANSIBLE_DEPRECATION_WARNINGS="0")
    result = subprocess.run(command, text=True, capture_output=True, cwd=PROJECT, env=environment)
    if result.returncode:
        raise LabError(f"ansible-inventory cannot read {path}:\n{result.stderr.strip()}")
    return digest(json.loads(result.stdout))


def digest(listing):
    variables = dict(listing.get("_meta", {}).get("hostvars", {}))
    groups = {}

    def visit(group, above):
        body = listing.get(group, {})
        for host in body.get("hosts", []):
            variables.setdefault(host, {})
            groups.setdefault(host, set()).update(above | {group})
        for child in body.get("children", []):
            visit(child, above | {group})

    visit("all", set())
    return variables, {host: sorted(names - {"all", "ungrouped"}) for host, names in groups.items()}


def is_address(text):
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def as_host(name, values, groups):
    """One host of the inventory, or the reason why a lab cannot stand in for it."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?", name):
        raise LabError(f"{name!r} cannot be a machine's name")
    connection = values.get("ansible_connection", "ssh")
    if connection not in ("ssh", "smart", "paramiko", "ansible.builtin.ssh", "ansible.builtin.paramiko_ssh"):
        raise LabError(f"{name}: ansible_connection is {connection!r}; the lab's machines are reached by ssh only")
    ssh_host = str(values.get("ansible_ssh_host", values.get("ansible_host", name)))
    addresses = values.get("appliance_addresses", [])
    if isinstance(addresses, str):
        raise LabError(f"{name}: appliance_addresses must be a list of plain addresses, not {addresses!r}")
    if not addresses:
        if "{{" in ssh_host:
            raise LabError(f"{name}: ansible_host is a template, which the lab does not compute: set appliance_addresses")
        if not is_address(ssh_host):
            raise LabError(f"{name}: {ssh_host!r} is a name, not an address: set appliance_addresses: [ADDRESS]")
        addresses = [ssh_host]
    for address in addresses:
        if not is_address(address):
            raise LabError(f"{name}: appliance_addresses has {address!r}, which is no plain address")
        parsed = ipaddress.ip_address(address)
        if parsed.is_loopback or parsed.is_multicast or parsed.is_unspecified or parsed.is_link_local:
            raise LabError(f"{name}: {address} cannot be another machine's address")
    if all(ipaddress.ip_address(address).version == 6 for address in addresses):
        raise LabError(f"{name}: it has IPv6 addresses only; the lab needs an IPv4 one in appliance_addresses as well")
    port = values.get("ansible_ssh_port", values.get("ansible_port", 22))
    if not str(port).isdigit():
        raise LabError(f"{name}: ansible_port must be a plain number, not {port!r}")
    return Host(name=name, addresses=[str(ipaddress.ip_address(a)) for a in addresses], ssh_host=ssh_host,
                ssh_port=int(port), groups=groups, aliases=[alias for alias in ALIASES if alias in values])


def subnet(address):
    parsed = ipaddress.ip_address(address)
    return ipaddress.ip_network(f"{address}/{PREFIX[parsed.version]}", strict=False)


def first_free(network, taken):
    """The first usable address of a network that nobody has; None when there is none."""
    for address in network.hosts():
        if str(address) not in taken:
            return str(address)
    return None


def spare(candidates, occupied, what):
    for candidate in map(ipaddress.ip_network, candidates):
        if not any(candidate.version == other.version and candidate.overlaps(other) for other in occupied):
            return candidate
    raise LabError(f"no network is left for {what}: the inventory uses all of {', '.join(candidates)}")


def named_networks(variables):
    """`appliance_networks`, as the union over the hosts: {name: [network]}."""
    found = {}
    for host, values in variables.items():
        named = values.get("appliance_networks", {})
        if not isinstance(named, dict):
            raise LabError(f"{host}: appliance_networks must be a mapping of plain lists, not {named!r}")
        for name, entries in named.items():
            for entry in [entries] if isinstance(entries, str) else entries:
                try:
                    network = ipaddress.ip_network(entry, strict=False)
                except ValueError:
                    raise LabError(f"{host}: appliance_networks.{name} has {entry!r}, which is no plain network") from None
                if network not in found.setdefault(name, []):
                    found[name].append(network)
    return found


def make_plan(name, path, variables, groups, **options):
    if not variables:
        raise LabError(f"{path} has no hosts")
    hosts = [as_host(host, values, groups.get(host, [])) for host, values in variables.items()]
    taken = {}
    for host in hosts:
        for address in host.addresses:
            if address in taken:
                raise LabError(f"{taken[address]} and {host.name} have the same address {address}: one machine is one host")
            taken[address] = host.name
    for number, host in enumerate(hosts):
        host.machine = f"m{short(name)}-{number}"

    networks = named_networks(variables)
    subnets = list(dict.fromkeys(subnet(address) for address in taken))
    # A network as wide as the world is no place: whoever is in it is anybody.
    occupied = subnets + [n for nets in networks.values() for n in nets if n.prefixlen > 0]
    taken = dict(taken)

    gateways = []
    # An address that has a name is left to whom it belongs.
    singles = {str(n[0]) for nets in networks.values() for n in nets if n.num_addresses == 1}
    for network in subnets:
        address = first_free(network, singles.union(taken)) or first_free(network, taken)
        taken[address] = "the lab"
        gateways.append(f"{address}/{network.prefixlen}")
    lab_addresses = {gateway.split("/")[0] for gateway in gateways}

    notes = []
    # The operator may well share an address with the lab's gateway: neither is a host.
    hosts_only = {a for a in taken if a not in lab_addresses}
    operators = networks.get("operators", [])
    operator = free_addresses(operators, hosts_only, {network.version for network in subnets})
    if operators and not operator:
        raise LabError(f"appliance_networks.operators ({', '.join(map(str, operators))}) has no address that is not a host's")
    if not operator:
        notes.append("appliance_networks names no operators: SSH comes from the gateway's address, which a firewall may refuse")

    versions = {network.version for network in subnets}
    strange = [spare(OUTSIDER_NETWORKS, occupied, "the outsider")]
    if 6 in versions:
        strange.append(spare(OUTSIDER_NETWORKS_6, occupied, "the outsider"))
    outside = {"outsider": [str(network[2]) for network in strange]}
    for who, named in networks.items():
        addresses = free_addresses(named, {**taken, **dict.fromkeys(operator)}, versions)
        if who not in ("operators", *outside) and addresses:
            outside[who] = addresses
            taken.update(dict.fromkeys(addresses, who))
    services = spare(SERVICE_NETWORKS, occupied, "the lab's own services")

    jumps = [h for h, v in variables.items() if any(
        re.search(r"Proxy(Jump|Command)|(^|\s)-J", str(v.get(key, ""))) for key in
        ("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"))]
    if jumps:
        notes.append(f"jump hosts are not used here: the lab reaches {', '.join(jumps)} directly")
    if any(key in values for values in variables.values() for key in BECOME_PASSWORDS):
        options["sudo_password"] = True

    return Plan(name=name, inventory=str(path), hosts=hosts, gateways=gateways, operator=operator,
                stranger=[str(network[1]) for network in strange], outside=outside,
                services=str(services), names=dns_names(hosts, variables), apps=app_domains(hosts, variables),
                urls=named_urls(variables),
                certificates=certificates(variables), notes=notes, **options)


def free_addresses(networks, taken, versions):
    """Per IP version, the first address in some networks that nobody has."""
    found = []
    for version in sorted(versions):
        candidates = [n for n in networks if n.version == version and n.prefixlen > 0]
        free = [address for address in (first_free(n, taken) for n in candidates) if address]
        found += free[:1]
    return found


def dns_names(hosts, variables):
    """What the site's DNS would say: hosts by name, and each app's domains at the gateway."""
    names = {}
    for host in hosts:
        for name in {host.name, host.ssh_host}:
            if not is_address(name):
                names[name] = host.addresses
    front = front_of(hosts)
    if front:
        for domains in domains_of(variables[front.name]).values():
            for domain in domains:
                names.setdefault(domain, front.addresses)
    return names


def app_domains(hosts, variables):
    front = front_of(hosts)
    found = domains_of(variables[front.name]) if front else {}
    return {app: domains[0] for app, domains in found.items() if domains}


def domains_of(values):
    apps = values.get("appliance_apps", {})
    found = {}
    for name, app in apps.items() if isinstance(apps, dict) else []:
        domains = app.get("domains", []) if isinstance(app, dict) else []
        listed = domains if isinstance(domains, list) else []
        found[name] = [domain for domain in map(str, listed) if re.fullmatch(r"[A-Za-z0-9.-]+", domain)]
    return found


def front_of(hosts):
    """The host that the public port leads to."""
    return next((host for host in hosts if "gateway" in host.groups), None)


def named_urls(variables):
    keys = ("base_apt_mirror", "base_pip_index_url", "base_http_proxy")
    urls = [values[key] for values in variables.values() for key in keys if isinstance(values.get(key), str)]
    return list(dict.fromkeys(url for url in urls if url and "{{" not in url))


def certificates(variables):
    found = []
    for values in variables.values():
        entries = values.get("base_ca_certificates", [])
        found += [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []
    return list(dict.fromkeys(found))
