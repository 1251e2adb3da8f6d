"""The second inventory: what is different about a host while it is a machine in the lab.

`ansible-playbook -i inventories/NAME -i .lab/NAME/inventory`: later inventories win, and host_vars win over group_vars.
"""

import json
import secrets
import shlex
import shutil
from contextlib import suppress
from pathlib import Path

from . import image, machine
from .inventory import short
from .system import PROJECT, PYTHON, folder_own, run, write_own

CONNECT = Path(__file__).with_name("connect.py")


def folder(name, project=PROJECT):
    return project / ".lab" / name


def inventory(name):
    return folder(name) / "inventory"


def ssh_masters(name):
    """Folder of ssh's shared connections. Their paths must be short."""
    return Path("/run/django-appliance-lab", short(name))


def end_ssh_masters(name):
    """A master that outlives its host would take the next lab's connections, and hang."""
    for master in ssh_masters(name).glob("*"):
        run("ssh", "-o", f"ControlPath={master}", "-O", "exit", "lab", check=False)
    shutil.rmtree(ssh_masters(name), ignore_errors=True)
    with suppress(OSError):                             # other labs are in it
        ssh_masters(name).parent.rmdir()


def make_secrets(plan):
    """The key (and password) of this lab's administrator; returns (public key, password or None)."""
    own = folder(plan.name)
    folder_own(own.parent)
    folder_own(own, 0o700)
    key = own / "id_ed25519"
    if not key.exists():
        part = own / "new_key"
        part.unlink(missing_ok=True)
        part.with_name(part.name + ".pub").unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {plan.name}", "-f", part)
        write_own(key.with_name("id_ed25519.pub"), part.with_name(part.name + ".pub").read_text())
        write_own(key, part.read_text(), 0o600)
        part.unlink()
        part.with_name(part.name + ".pub").unlink()
    password = own / "sudo_password"
    if plan.sudo_password and not password.exists():
        write_own(password, secrets.token_hex(16), 0o600)
    return key.with_name("id_ed25519.pub").read_text(), password.read_text() if plan.sudo_password else None


def write(plan, state, public_port, proxy_url):
    own = folder(plan.name)
    known = "".join(machine.known_hosts(machine.root(state, host), host) for host in plan.hosts)
    write_own(own / "known_hosts", known)
    folder_own(inventory(plan.name))
    folder_own(inventory(plan.name) / "host_vars")
    hosts = "".join(f"    {json.dumps(host.name)}: {{}}\n" for host in plan.hosts)
    write_own(inventory(plan.name) / "hosts.yml", f"# Made by the lab.\nall:\n  hosts:\n{hosts}")
    for host in plan.hosts:
        values = variables(plan, state, host, public_port, proxy_url)
        text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())
        secret = plan.sudo_password or plan.http_proxy
        write_own(inventory(plan.name) / "host_vars" / f"{host.name}.yml", f"# Made by the lab.\n{text}", 0o600 if secret else 0o644)


def variables(plan, state, host, public_port, proxy_url):
    own = folder(plan.name)
    proxy_command = shlex.join([PYTHON, "-IS", str(CONNECT), str(state / "relay.sock")]) + " %h %p"
    options = [
        f"ProxyCommand={proxy_command}", "ProxyUseFdpass=yes", f"UserKnownHostsFile={own / 'known_hosts'}",
        "GlobalKnownHostsFile=/dev/null", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes",
    ]
    values = {
        "ansible_connection": "ssh",
        "ansible_host": host.ssh_host,                  # as it was; for tools that read this inventory alone
        "ansible_user": "ansible",
        "ansible_port": host.ssh_port,
        "ansible_ssh_private_key_file": str(own / "id_ed25519"),
        "ansible_ssh_common_args": " ".join(shlex.join(["-o", option]) for option in options),
        "ansible_ssh_extra_args": "",
        # Another lab may well have a host of the same address. Not among the arguments above: there it could not be overruled,
        # and the firewall's guard needs connections of its own.
        "ansible_control_path_dir": str(ssh_masters(plan.name)),
        "ansible_become": True,
        "ansible_become_method": "sudo",
        "ansible_become_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "appliance_name": f"lab-{plan.name}",
        "appliance_lab": True,
    }
    if public_port:
        values["appliance_public_port"] = public_port
    certificates = plan.certificates + [str(path) for path in image.site_certificates()]
    if certificates:
        values["base_ca_certificates"] = certificates
    if proxy_url:
        values["base_http_proxy"] = proxy_url
    password = (own / "sudo_password").read_text() if plan.sudo_password else None
    if password:
        values["ansible_become_password"] = password
    standins = {
        "ansible_ssh_host": host.ssh_host, "ansible_ssh_port": host.ssh_port, "ansible_ssh_user": values["ansible_user"],
        "ansible_private_key_file": values["ansible_ssh_private_key_file"],
        "ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=60s",
        "ansible_become_pass": password, "ansible_sudo_pass": password,
    }
    return {**values, **{alias: standins[alias] for alias in host.aliases}}
