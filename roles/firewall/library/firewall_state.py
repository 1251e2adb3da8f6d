#!/usr/bin/python
"""Compare a host's firewall with what it should be, and find who would be cut off. Changes nothing."""

DOCUMENTATION = r"""
module: firewall_state
short_description: Compare a host's firewall with what it should be
description:
  - Compares the table in the kernel, the file that is loaded at boot and the unit that loads it with what is given.
  - What the kernel should show is found by loading the ruleset in a network namespace of its own, so that a table changed by hand is seen.
options:
  table: {description: Family and name of the table, type: str, required: true}
  ruleset: {description: The wanted ruleset file, type: str, required: true}
  boot_file: {description: Where it is loaded from at boot, type: path, required: true}
  unit: {description: The wanted unit file, type: str, required: true}
  unit_file: {description: Where the unit file is, type: path, required: true}
  rules: {description: The arrows that end here, type: list, elements: dict, required: true}
  accepted: {description: Peers whose connections may be cut, type: list, elements: str, required: true}
author: [Django Appliance]
"""

EXAMPLES = r"""
- name: Compare the firewall with the arrows
  firewall_state:
    table: inet appliance
    ruleset: "{{ lookup('ansible.builtin.template', 'firewall.nft.j2') }}"
    boot_file: /etc/appliance/firewall.nft
    unit: "{{ lookup('ansible.builtin.template', 'appliance-firewall.service.j2') }}"
    unit_file: /etc/systemd/system/appliance-firewall.service
    rules: "{{ firewall_rules }}"
    accepted: []
"""

RETURN = r"""
differs: {description: Whether anything is not as it should be; as C(changed) under check mode only, returned: always, type: bool}
installed: {description: Whether nft is there, returned: always, type: bool}
first: {description: Whether this host never had a table of ours, returned: always, type: bool}
peers: {description: Established inbound connections that no rule covers, returned: always, type: list, elements: str}
managers: {description: Other firewalls that are at work, returned: always, type: list, elements: str}
"""

import ipaddress
import json
import os

from ansible.module_utils.basic import AnsibleModule


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return None


def endpoint(text):
    """Address and port of a column of ss; an IPv4 address may come wrapped in an IPv6 one, and with its interface."""
    address, _, port = text.rpartition(":")
    address = ipaddress.ip_address(address.strip("[]").split("%")[0].replace("*", "::"))
    return getattr(address, "ipv4_mapped", None) or address, int(port)


def networks(entries, variable, module):
    try:
        return [ipaddress.ip_network(entry, strict=False) for entry in entries if entry != "world"]
    except ValueError as error:
        module.fail_json(msg=f"{variable}: {error}")


def covered(address, port, rules, module):
    for rule in rules:
        if rule["protocol"] == "tcp" and port in [int(p) for p in rule["ports"]] and ("world" in rule["sources"] or any(
                address in network for network in networks(rule["sources"], "firewall_rules", module))):
            return True
    return False


def uncovered(module, rules, accepted):
    """Peers of connections that somebody else opened, and that the ruleset would cut."""
    def ss(*state):
        out = module.run_command(["ss", "-Htn", *state], check_rc=True)[1]
        return [[endpoint(column) for column in line.split()[-2:]] for line in out.splitlines()]

    # ss shows a listener's peer as *:*, whose port is no number.
    out = module.run_command(["ss", "-Htln"], check_rc=True)[1]
    listening = {int(line.split()[3].rpartition(":")[2]) for line in out.splitlines()}
    own = {ipaddress.ip_address(info["local"])
           for link in json.loads(module.run_command(["ip", "-j", "address"], check_rc=True)[1])
           for info in link.get("addr_info", []) if "local" in info}
    peers = {}
    for (_, port), (peer, _) in ss("state", "established"):
        if port in listening and not (peer.is_loopback or peer in own):
            if not covered(peer, port, rules, module) and not any(peer in network for network in accepted):
                peers[peer, port] = peers.get((peer, port), 0) + 1
    return ["%s on port %d (%d)" % (peer, port, count) for (peer, port), count in sorted(
        peers.items(), key=lambda item: (item[0][0].version, item[0]))]


def main():
    module = AnsibleModule(
        argument_spec=dict(
            table=dict(type="str", required=True),
            ruleset=dict(type="str", required=True),
            boot_file=dict(type="path", required=True),
            unit=dict(type="str", required=True),
            unit_file=dict(type="path", required=True),
            rules=dict(type="list", elements="dict", required=True),
            accepted=dict(type="list", elements="str", required=True),
        ),
        supports_check_mode=True,
    )
    params = module.params
    for rule in params["rules"]:
        networks(rule["sources"], "firewall_rules, “{}”".format(rule["name"]), module)
    accepted = networks(params["accepted"], "firewall_accept_connections", module)

    nft = module.get_bin_path("nft", opt_dirs=["/usr/sbin"])
    show = [nft, "-s", "list", "table", *params["table"].split()]
    boot, loaded, wanted = read(params["boot_file"]), None, None
    if nft:
        status, out, _ = module.run_command(show)
        loaded = out if status == 0 else None
        status, wanted, error = module.run_command(
            ["unshare", "--net", "sh", "-c", '"$1" -f - && shift && "$@"', "sh", nft, *show], data=params["ruleset"])
        if status:
            module.fail_json(msg="nft refuses the ruleset: " + error)

    def systemctl(*args):
        return module.run_command(["systemctl", *args])[1].strip()

    name = os.path.basename(params["unit_file"])
    unit_state = systemctl("show", "-P", "UnitFileState", name) + " " + systemctl("show", "-P", "ActiveState", name)
    # A revert that is still pending would take back what looks right now.
    pending = systemctl("list-units", "--no-legend", "appliance-firewall-revert-*.timer")

    first = loaded is None and boot is None
    managers = []
    if first:
        if "ENABLED=yes" in (read("/etc/ufw/ufw.conf") or ""):
            managers.append("ufw")
        if systemctl("is-active", "firewalld") == "active":
            managers.append("firewalld")

    diff = []
    if boot != params["ruleset"]:
        diff.append({"before_header": params["boot_file"], "after_header": params["boot_file"],
                     "before": boot or "", "after": params["ruleset"]})
    elif loaded != wanted:
        diff.append({"before_header": "in the kernel", "after_header": "in the kernel", "before": loaded or "", "after": wanted or ""})
    if read(params["unit_file"]) != params["unit"]:
        diff.append({"before_header": params["unit_file"], "after_header": params["unit_file"],
                     "before": read(params["unit_file"]) or "", "after": params["unit"]})

    differs = bool(diff) or not nft or unit_state != "enabled active" or bool(pending)
    # It only looks; under check mode it speaks for what a run would change.
    module.exit_json(
        changed=differs and module.check_mode, differs=differs, diff=diff, installed=bool(nft), first=first, managers=managers,
        peers=uncovered(module, params["rules"], accepted) if first else [])


if __name__ == "__main__":
    main()
