#!/usr/bin/env python3
"""Print an inventory as the drawing it is, in Mermaid: `docs/diagram.py inventories/monolith`.

Boxes are the groups, their content what the apps' contract asks for, arrows `appliance_flows`.
A machine that holds several boxes is drawn around them; a dotted arrow stays on one machine and opens no port.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]

BOXES = {"gateway": "Gateway", "waf": "WAF", "cache": "Cache", "app": "Fat Virtual Server", "db": "PostgreSQL"}
SERVERS = {"gunicorn": "Gunicorn", "uwsgi": "uWSGI"}
ENGINES = {"django": "Django templates", "jinja2": "Jinja2 templates", "mako": "Mako templates"}
#: What Redis and Memcached are reached at; the instance of an app's own has no port.
PORTS = {"redis_cache": 6379, "redis_queue": 6380, "memcached_pages": 11211}


def load_filters():
    """The filters that read the drawing, the very ones that Ansible uses."""
    path = ROOT / "roles/appliance/filter_plugins/appliance.py"
    spec = importlib.util.spec_from_file_location("appliance", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(inventory):
    """An inventory as Ansible sees it: (group to its hosts, host to its variables)."""
    tool = Path(sys.executable).with_name("ansible-inventory")
    command = [str(tool) if tool.exists() else "ansible-inventory", "-i", str(inventory), "--list"]
    environment = {**os.environ, "ANSIBLE_INVENTORY_UNPARSED_FAILED": "1", "ANSIBLE_DEPRECATION_WARNINGS": "0"}
    listing = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)
    hostvars = listing.pop("_meta")["hostvars"]

    def hosts_of(group):
        body = listing.get(group, {})
        return dict.fromkeys([*body.get("hosts", []), *(host for one in body.get("children", []) for host in hosts_of(one))])

    groups = {group: list(hosts_of(group)) for group in (*listing, *listing["all"].get("children", []))}
    return groups, {host: hostvars.get(host, {}) for host in groups["all"]}


def identifier(*words):
    """A Mermaid identifier; it is prefixed, since a host may be called `end`."""
    return re.sub(r"\W", "_", "_".join(words))


class Drawing:
    """An inventory's boxes and arrows as lines of Mermaid."""

    def __init__(self, groups, hostvars):
        self.filters = load_filters()
        self.groups, self.hostvars = groups, hostvars
        common = next(iter(hostvars.values()), {})
        self.networks = common.get("appliance_networks") or {}
        self.flows = common.get("appliance_flows") or []
        defaults = yaml.safe_load((ROOT / "roles/django_app/defaults/main.yml").read_text())["django_app_defaults"]
        self.apps = self.filters.appliance_apps_resolved(common.get("appliance_apps"), defaults)
        self.boxes = {box: groups[box] for box in BOXES if groups.get(box)}
        gateway = next(iter(groups.get("gateway") or []), None)
        self.page_cache = self.filters.appliance_page_cache(self.apps, hostvars.get(gateway, {}).get("gateway_cache_backend", "none"))
        self.stores = self.shared_stores()
        # Boxes that stand on the same hosts stand in one machine.
        self.machines = {}
        for box, hosts in self.boxes.items():
            self.machines.setdefault(frozenset(hosts), []).append(box)
        for host in groups["all"]:
            if not any(host in hosts for hosts in self.machines):
                self.machines[frozenset([host])] = []

    def render(self):
        """The whole drawing."""
        lines = ["flowchart LR", *self.outside(), ""]
        for hosts, boxes in self.machines.items():
            lines += [f"  {line}".rstrip() for line in self.machine(hosts, boxes)] + [""]
        return "\n".join([*lines, *(f"  {line}" for line in dict.fromkeys(self.arrows()))]) + "\n"

    def shared_stores(self):
        """What runs in the cache's box: node to its label."""
        keeps = {use: [use] if any(app["redis"][use] for app in self.apps.values()) else [] for use in ("cache", "queue")}
        if self.page_cache == "redis":
            keeps["cache"].append("pages")
        stores = {f"redis_{use}": f"Redis<br>{', '.join(what)}" for use, what in keeps.items() if what}
        names = [name for name, app in self.apps.items() if app["memcached"]["cache"]]
        names += ["pages"] if self.page_cache == "memcached" else []
        return stores | {identifier("memcached", name): f"Memcached<br>{name}" for name in names}

    # Boxes

    def outside(self):
        """Those who are not in the inventory: the world, and networks at which an arrow starts."""
        ends = {end for flow in self.flows for end in self.ends(flow, "from")}
        if "world" in ends:
            yield '  world(["Users"])'
        for name, ranges in self.networks.items():
            if name in ends:
                ranges = [ranges] if isinstance(ranges, str) else ranges
                yield f'  {identifier("net", name)}(["{name}<br>{", ".join(ranges)}"])'
        for name, app in self.apps.items():
            if external := app["database"].get("external"):
                yield f'  {identifier("db", name)}[("PostgreSQL<br>{external["host"]}")]'

    def hosts_label(self, hosts):
        """Names and addresses, in the inventory's order."""
        ordered = [host for host in self.groups["all"] if host in hosts]
        return ", ".join(f"{host} {self.filters.appliance_addresses(host, self.hostvars)[0]}" for host in ordered)

    def machine(self, hosts, boxes):
        """One machine, or several alike, with the boxes on it."""
        drawn = [box for box in boxes if not self.within_gateway(box)]
        if not drawn:
            return [f'{self.machine_id(hosts)}["{self.hosts_label(hosts)}"]']
        if len(drawn) == 1:
            return self.box(drawn[0], self.machine_id(hosts), f"{BOXES[drawn[0]]}: {self.hosts_label(hosts)}")
        inner = [line for box in drawn for line in self.box(box, identifier("box", box), BOXES[box])]
        return self.subgraph(self.machine_id(hosts), self.hosts_label(hosts), inner)

    def within_gateway(self, box):
        """WAF and cache are drawn inside the gateway where they share its hosts."""
        return box in ("waf", "cache") and set(self.boxes[box]) == set(self.boxes.get("gateway", []))

    def machine_id(self, hosts):
        return identifier("on", *(host for host in self.groups["all"] if host in hosts))

    @staticmethod
    def subgraph(name, title, lines):
        return [f'subgraph {name}["{title}"]', *(f"  {line}" for line in lines), "end"]

    def box(self, box, name, title):
        """A box with its software."""
        content = {"gateway": self.gateway, "waf": self.waf, "cache": self.cache, "app": self.app, "db": self.database}[box]
        return self.subgraph(name, title, list(content()))

    def gateway(self):
        yield 'firewall["Firewall<br>nftables"]'
        inner = [box for box in self.boxes if self.within_gateway(box)]
        pages = any(app["cache"]["mode"] != "off" for app in self.apps.values())
        yield f'nginx["nginx<br>TLS, static files{", page cache" if pages else ""}"]'
        if "waf" in inner:
            yield from self.waf()
        if "cache" in inner and self.stores:
            yield from self.cache()

    def waf(self):
        yield 'waf["WAF<br>ModSecurity"]'

    def cache(self):
        for node, label in self.stores.items():
            yield f'{node}[("{label}")]'
        if not self.stores:
            yield 'cache_none["nothing asks for it"]'

    def app(self):
        if self.origin():
            yield 'origin["nginx<br>origin"]'
        for name, app in self.apps.items():
            server = SERVERS[app["server"]]
            engine = app["env"].get("TEMPLATE_ENGINE") or "django"
            node = identifier("app", name)
            content = [
                f'{node}_server["{server}"]',
                f'{node}["{self.app_label(app)}"]',
                f'{node}_templates["{ENGINES.get(engine, f"{engine} templates")}"]',
                f'{node}_static["static pages"]',
            ]
            yield from self.subgraph(identifier("wsgi", name), f"WSGI: {name}", content)

    @staticmethod
    def app_label(app):
        """The app, with cachalot where the reference project's switch for it is on."""
        with_cachalot = str(app["env"].get("CACHALOT") or "").lower() in ("1", "true", "yes", "on")
        return "Django app<br>with cachalot" if with_cachalot else "Django app"

    def database(self):
        yield 'postgresql[("PostgreSQL")]'

    def origin(self):
        """Whether the gateway reaches the apps over the network, at an nginx of their own."""
        return bool(set(self.boxes.get("gateway", [])) - set(self.boxes.get("app", [])))

    # Arrows

    @staticmethod
    def ends(flow, end):
        return [flow[end]] if isinstance(flow[end], str) else list(flow[end])

    def arrows(self):
        """Every arrow of the drawing, then those inside the boxes."""
        checked = self.filters.appliance_flows(self.flows, self.groups, self.networks)
        for flow, arrow in zip(self.flows, checked, strict=True):
            suffix = "" if arrow["protocol"] == "tcp" else f"/{arrow['protocol']}"
            for source in self.ends(flow, "from"):
                for target in self.ends(flow, "to"):
                    for start, finish in self.pairs(source, target):
                        ports = self.ports(finish, arrow["ports"])
                        if ports and start != finish:
                            label = ", ".join(f"{port}{suffix}" for port in ports)
                            local = self.on_one_machine(source, target)
                            yield f"{start} -.-> {finish}" if local else f'{start} -->|"{label}"| {finish}'
        yield from self.inner_arrows()

    def on_one_machine(self, source, target):
        hosts = set(self.groups.get(source, [])) | set(self.groups.get(target, []))
        return source in self.boxes and target in self.boxes and len(hosts) == 1

    def ports(self, finish, ports):
        """Redis and Memcached have a port each; everything else is reached at all ports of the arrow."""
        return [port for port in ports if PORTS.get(finish, port) == port]

    def pairs(self, source, target):
        """Which software the arrow between two ends connects."""
        for finish in self.entries(target):
            for start in self.starts(source, finish):
                yield start, finish

    def entries(self, target):
        servers = [f"{identifier('app', name)}_server" for name in self.apps]
        known = {
            "gateway": ["firewall"],
            "waf": ["waf"],
            "cache": [node for node in self.stores if node in PORTS],
            "app": ["origin"] if self.origin() else servers,
            "db": ["postgresql"],
        }
        return known[target] if target in self.boxes else self.whole(target)

    def starts(self, source, finish):
        if source == "world":
            return ["world"]
        if source in self.networks:
            return [identifier("net", source)]
        if source == "app" and source in self.boxes:
            users = [name for name, app in self.apps.items() if self.uses(app, finish)]
            return [identifier("app", name) for name in users]
        known = {"gateway": "nginx", "waf": "waf", "cache": next(iter(self.stores), "cache_none"), "db": "postgresql"}
        return [known[source]] if source in self.boxes else self.whole(source)

    def uses(self, app, finish):
        """Whether an app has business with a piece of software."""
        if finish == "postgresql":
            return not app["database"].get("external")
        if finish.startswith("redis_"):
            return app["redis"][finish.removeprefix("redis_")]
        return finish != "memcached_pages"

    def whole(self, group):
        """A group that is no box: the machines that it covers."""
        return [self.machine_id(hosts) for hosts in self.machines if hosts <= set(self.groups[group])]

    def inner_arrows(self):
        if "gateway" in self.boxes:
            yield "firewall --> nginx"
        for name, app in self.apps.items() if "app" in self.boxes else ():
            node = identifier("app", name)
            if self.origin():
                yield f"origin -.-> {node}_server"
                yield f"origin -.-> {node}_static"
            elif "gateway" in self.boxes:
                yield f"nginx -.-> {node}_static"
            yield f"{node}_server --> {node}"
            yield f"{node} --> {node}_templates"
            if app["memcached"]["cache"]:
                yield f"{node} -.-> {identifier('memcached', name)}"
            if external := app["database"].get("external"):
                yield f'{node} -->|"{external.get("port", 5432)}"| {identifier("db", name)}'


def main():
    """Print the drawing of the inventory that the command line names."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} INVENTORY")
    sys.stdout.write(Drawing(*read(sys.argv[1])).render())


if __name__ == "__main__":
    main()
