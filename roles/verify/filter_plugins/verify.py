"""What must be open according to the drawing, what was found, and the table of both.

The expectation is derived from the arrows alone, not from the firewall's rules: a mistake there must show here.
"""

from __future__ import annotations

import ipaddress
import json
import textwrap

#: Ports at which seldom anybody listens; trying one tells a firewall that drops from a host that refuses.
UNUSED_PORTS = (9, 19, 79, 109, 513, 1025)


def _version(address):
    return ipaddress.ip_address(address).version


def _within(address, networks):
    address = ipaddress.ip_address(address)
    return any(address in network for network in map(ipaddress.ip_network, networks) if network.version == address.version)


def verify_arrow(arrows, source, source_addresses, host, protocol, port):
    """Name of the arrow by which `source` may open the port of `host`, or None."""
    for arrow in arrows:
        if host in arrow["to_hosts"] and protocol == arrow["protocol"] and port in arrow["ports"]:
            named = any(_within(one, arrow["from_networks"]) for one in source_addresses)
            if arrow["from_world"] or source in arrow["from_hosts"] or named:
                return arrow["name"]
    return None


def verify_idle_ports(hosts, groups, apps, ports, pages=None):
    """Ports of the boxes' software that runs only when something asks for it, and nothing does: host to its ports.

    An arrow to one of them may be drawn ahead of need. ports: numbers by name (origin, cache, queue, memcached, database).
    pages: that of those at which gateways share pages, if they do so over the network.
    """
    unwanted = {ports[use] for use in ("cache", "queue") if use != pages and not any(app["redis"].get(use) for app in apps.values())}
    if pages != "memcached":
        unwanted.add(ports["memcached"])
    if all(app["database"].get("external") for app in apps.values()):
        unwanted.add(ports["database"])
    # An app host that is a gateway too hands requests on by a unix socket.
    origins = set(groups.get("app") or []) - set(groups.get("gateway") or [])
    return {host: sorted(unwanted | (set() if host in origins else {ports["origin"]})) for host in hosts}


def verify_apps(apps):
    """What a host's checks need to know of the apps."""
    return [
        {
            "name": name,
            "domains": list(app["domains"]),
            "redirects": list(app["redirects"]),
            "path": app["path"],
            "health": {"path": app["path"].rstrip("/") + app["health"]["path"], "status": app["health"]["status"]},
            "redis": any(app["redis"].get(use) for use in ("cache", "queue")),
            "companions": bool(app["workers"] or app["timers"]),
            "cache": {"mode": app["cache"]["mode"], "path": next(iter(app["cache"]["paths"]), "/")},
            "sslmode": (app["database"].get("external") or {}).get("sslmode", "verify-full"),
        }
        for name, app in apps.items()
    ]


def verify_outside_probe(targets, done):
    """The outsider's tries as a probe; `done` is what the command returned."""
    if done["rc"] == 0:
        return {"targets": targets, "answers": json.loads(done["stdout"])}
    said = " ".join((done.get("stderr") or done.get("msg") or "no reason given").split())
    return {"targets": [], "answers": [], "untried": said[-200:]}


def verify_results(hosts, hostvars, name):
    """What a module returned on each host where it ran to its end; `name` is the register."""
    results = {host: hostvars[host].get(name) or {} for host in hosts}
    return {host: result for host, result in results.items() if "asked_at" in result}


def _drawn(arrows, host):
    """(protocol, port) of all arrows that come to `host` from elsewhere."""
    found = set()
    for arrow in arrows:
        if host in arrow["to_hosts"] and (arrow["from_world"] or arrow["from_networks"] or set(arrow["from_hosts"]) - {host}):
            found |= {(arrow["protocol"], port) for port in arrow["ports"]}
    return found


def _bound(listener, address):
    """Whether a listener hears what comes to `address`. A socket on :: or * hears both versions unless told otherwise."""
    return listener["address"] in ("*", "::", address) or (listener["address"] == "0.0.0.0" and _version(address) == 4)  # noqa: S104


def _unused(drawn, listeners):
    taken = {port for _, port in drawn} | {one["port"] for one in listeners}
    return next(port for port in UNUSED_PORTS if port not in taken)


def verify_targets(source, addresses, arrows, states, seconds):
    """What `source` tries: ``[{host, address, protocol, port, arrow, seconds}]``.

    That is every port that is drawn, every listener found, and one port of each host at which nobody listens.
    addresses: of all hosts, by name. states: what the hosts told, those that did. seconds: how long a silent port is
    waited for; twice as long where an answer is expected.
    """
    own = addresses.get(source, [])
    versions = {_version(one) for one in own} or {4, 6}
    targets = []
    for host, known in addresses.items():
        if host == source:
            continue
        state = states.get(host, {"listeners": [], "addresses": []})
        drawn = _drawn(arrows, host)
        # Beyond the inventory's addresses only those that are unique in the world: another one may be somebody else's.
        public = [one for one in state["addresses"] if ipaddress.ip_address(one).is_global and one not in known]
        for address in [*known, *public]:
            if _version(address) not in versions:
                continue
            listening = {(one["protocol"], one["port"]) for one in state["listeners"] if _bound(one, address)}
            unused = {("tcp", _unused(drawn, state["listeners"]))}
            for protocol, port in sorted(drawn | listening | unused):
                arrow = verify_arrow(arrows, source, own, host, protocol, port)
                targets.append(
                    {
                        "host": host,
                        "address": address,
                        "protocol": protocol,
                        "port": port,
                        "arrow": arrow,
                        "seconds": seconds * 2 if arrow else seconds,
                    }
                )
    return targets


def _row(host, check, ok, detail):
    return {"host": host, "check": check, "ok": ok, "detail": detail}


def _problem(one, idle, process):
    """What is wrong with one try, with {} in the place of who tried; None where it went as drawn."""
    port, answer = (one["protocol"], one["port"]), one["answer"]
    if not one["arrow"]:
        if answer == "open":
            return "open from {}, though no arrow says so"
        if answer == "refused" and port not in process:
            return "refused to {} instead of dropped: no firewall is in force"
        return None
    if answer == "open" or (port in idle and port not in process):
        return None
    if port[0] == "udp" and answer == "silent" and port in process:
        return None  # a service that answers nobody's empty datagram
    why = {"refused": "nothing listens", "silent": "no answer", "unreachable": "no route, or rejected"}[answer]
    return f"shut from {{}} ({why}), though the arrow '{one['arrow']}' is drawn"


def _problems(tries, idle, process):
    """Problems of all tries of one port; who had the same one is named together."""
    found = {}
    for one in tries:
        problem = _problem(one, idle, process)
        if problem and one["source"] not in found.setdefault(problem, []):
            found[problem].append(one["source"])
    return [problem.format(", ".join(sources)) for problem, sources in found.items()]


def _sources(tries):
    return ", ".join(dict.fromkeys(one["source"] for one in tries))


def verify_port_rows(host, arrows, states, idle_ports, tries):
    """Rows about the ports of one host, from all tries: ``[{source, host, address, protocol, port, arrow, answer}]``."""
    state = states.get(host)
    process = {(one["protocol"], one["port"]): one["process"] for one in (state or {"listeners": []})["listeners"]}
    idle = {("tcp", port) for port in idle_ports}
    by_port = {port: [] for port in sorted(_drawn(arrows, host), key=lambda one: one[::-1])}
    rest = {}
    for one in tries:
        if one["host"] == host:
            port = (one["protocol"], one["port"])
            (by_port[port] if port in by_port else rest.setdefault(port, [])).append(one)
    rows = []
    for port, here in by_port.items():
        if not here and not state:
            continue
        name = f"port {port[1]}/{port[0]}"
        problems = _problems(here, idle, process)
        opened, shut = ([one for one in here if (one["answer"] == "open") is way] for way in (True, False))
        if state and port not in process and not problems and not opened:
            if port in idle:
                rows.append(_row(host, name, None, "drawn, but nothing in this inventory asks for it"))
                continue
            problems = ["nothing listens, though an arrow is drawn"]
        said = [process.get(port), opened and f"open from {_sources(opened)}", shut and f"shut from {_sources(shut)}"]
        said = "; ".join(filter(None, said)) if here else "there is nobody to try it from"
        rows.append(_row(host, name, not problems, "; ".join(problems) or said))
    return rows + _rest(host, rest, process)


def _rest(host, tries, process):
    """One row about all ports that are not drawn. tries: by port."""
    if not tries:
        return []
    problems, listening = [], []
    for port, here in tries.items():
        name = f"{port[1]}/{port[0]}" + (f" ({process[port]})" if port in process else "")
        problems += [f"{name} is {problem}" for problem in _problems(here, (), process)]
        listening += [name] if port in process else []
    everybody = _sources(one for here in tries.values() for one in here)
    detail = f"shut from {everybody}" + (f", {', '.join(listening)} among them" if listening else "")
    return [_row(host, "all other ports", not problems, "; ".join(problems) or detail)]


def verify_clock_row(host, state, asked_after, seconds):
    """The host's clock between the control node's time before and after it was asked; chrony's own word comes first."""
    told = [row for row in state["rows"] if row["check"] == "clock"]
    off = max(state["asked_at"] - state["clock"], state["clock"] - asked_after, 0)
    if any(not row["ok"] for row in told):
        return _row(host, "clock", False, told[0]["detail"])
    if off > seconds:
        return _row(host, "clock", False, f"{off:.0f} s off the control node's")
    detail = "in step with the control node's"
    return _row(host, "clock", True, "; ".join([*(row["detail"] for row in told), detail]))


def verify_rows(hosts, asked, arrows, states, probes, idle_ports, seconds):
    """All rows of the report, host by host.

    hosts: all of the inventory. asked: whom the run was for; of the others only what was tried is told.
    states, probes: what came back, by host; a probe is ``{asked_at, targets, answers}``, and the outsider's has
    ``untried`` in place of ``asked_at`` where it did not come about.
    idle_ports: by host. seconds: how far clocks may be apart.
    """
    tries = [
        {**target, "source": source, "answer": answer}
        for source, probe in probes.items()
        for target, answer in zip(probe["targets"], probe["answers"], strict=True)
    ]
    rows = []
    for host in hosts:
        state = states.get(host)
        if not state and host in asked:
            rows.append(_row(host, "reachable", False, "Ansible could not reach it, or could not look around there; see above"))
        if state:
            rows += [_row(host, **row) for row in state["rows"] if row["check"] != "clock"]
            if host in probes:
                rows.append(verify_clock_row(host, state, probes[host]["asked_at"], seconds))
        rows += verify_port_rows(host, arrows, states, idle_ports[host], tries)
    rows += [_row(source, "ports", False, f"not tried: {probe['untried']}") for source, probe in probes.items() if "untried" in probe]
    return rows


def verify_table(rows, width=150):
    """Rows as aligned text: host, check, result, detail."""
    words = {True: "ok", False: "FAILED", None: "note"}
    lines = [("host", "check", "result", "detail")]
    lines += [(row["host"], row["check"], words[row["ok"]], row["detail"]) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    indent = sum(widths) + 6
    text = []
    for line in lines:
        head = "  ".join(word.ljust(size) for word, size in zip(line, widths, strict=False))
        parts = textwrap.wrap(line[3], max(40, width - indent)) or [""]
        text += [f"{head}  {parts[0]}".rstrip(), *(" " * indent + part for part in parts[1:])]
    failed = len(verify_problems(rows))
    text.append(f"{len(rows)} checks, " + (f"{failed} FAILED" if failed else "all well"))
    return "\n".join(text)


def verify_problems(rows):
    """What is off, one sentence each."""
    return [f"{row['host']}: {row['check']}: {row['detail']}" for row in rows if row["ok"] is False]


class FilterModule:
    """Filters of the proof."""

    def filters(self):
        """Name to function, for Ansible."""
        return {
            name: globals()[name]
            for name in (
                "verify_apps",
                "verify_idle_ports",
                "verify_outside_probe",
                "verify_problems",
                "verify_results",
                "verify_rows",
                "verify_table",
                "verify_targets",
            )
        }
