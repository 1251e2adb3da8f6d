"""One machine per host: its disk (an overlay over the base), its first configuration, its life under nspawn."""

import os
import signal
import socket
import time
import uuid
from pathlib import Path

from . import network, units
from .system import LabError, remove_tree, run, say

BOOT_SECONDS = 60
REBOOT = signal.SIGRTMIN + 5            # what systemd as PID 1 takes for an orderly reboot
REBOOT_STATUS = 133                     # how nspawn says that its machine asked for one


def root(state, host):
    return state / "roots" / host.name


def upper(state, host):
    return state / "disks" / host.name / "upper"


def log(state, host):
    return state / "log" / f"{host.name}.log"


def make_disk(state, plan, host, layers):
    """Mount a fresh disk; `layers`, the cache's, from the top down."""
    disk = state / "disks" / host.name
    for folder in (disk / "upper", disk / "work", root(state, host)):
        folder.mkdir(parents=True)
    options = f"lowerdir={':'.join(map(str, layers))},upperdir={disk}/upper,workdir={disk}/work"
    run("mount", "-t", "overlay", f"lab-{plan.name}", "-o", options, root(state, host))


def configure(top, plan, host, public_key, sudo_password):
    """What an installer would have asked for: name, network, resolver, one administrator with a key."""
    etc = top / "etc"
    (etc / "hostname").write_text(f"{host.name}\n")
    (etc / "hosts").write_text("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
                               f"127.0.1.1\t{host.name}\n")
    (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
    (etc / "resolv.conf").write_text(f"nameserver {network.resolver(plan)}\n")
    lines = ["[Match]", "Name=host0", "[Network]", "IPv6AcceptRA=no", "KeepConfiguration=static"]
    for address in host.addresses:
        gateway = network.gateway_for(plan, address)
        lines += ["[Address]", f"Address={address}/{64 if ':' in address else 24}", "DuplicateAddressDetection=none"]
        if f"Gateway={gateway}" not in lines:
            lines += ["[Route]", f"Gateway={gateway}"]
    (etc / "systemd/network/10-host0.network").write_text("\n".join(lines) + "\n")
    if host.ssh_port != 22:
        (etc / "ssh/sshd_config.d/port.conf").write_text(f"Port {host.ssh_port}\n")
    run("ssh-keygen", "-q", "-A", "-f", top)
    home = top / "home/ansible/.ssh"
    home.mkdir(mode=0o700)
    (home / "authorized_keys").write_text(public_key)
    owner = home.parent.stat()
    for path in (home, home / "authorized_keys"):
        os.chown(path, owner.st_uid, owner.st_gid)
    rule = etc / "sudoers.d/ansible"
    rule.write_text("ansible ALL=(ALL) " + ("ALL\n" if sudo_password else "NOPASSWD: ALL\n"))
    rule.chmod(0o440)
    if sudo_password:
        run("chroot", top, "chpasswd", input=f"ansible:{sudo_password}\n")


def start(state, plan, host):
    command = [
        "nsenter", f"--net={network.path(network.namespace(plan.name))}",
        # The cable of a machine that just went down for a reboot may still be there, and would be in the way.
        "/bin/sh", "-c", 'ip link delete "$0" 2>/dev/null; exec "$@"', network.port(host),
        "systemd-nspawn", "--quiet", f"--directory={root(state, host)}", f"--machine={host.machine}", f"--hostname={host.name}",
        "--boot", "--register=no", "--keep-unit", "--settings=no", "--console=read-only", f"--network-bridge={network.BRIDGE}",
        "--resolv-conf=off", "--timezone=off", "--link-journal=no",
        # So that IPAddressDeny= and the like are enforced as on a real host.
        "--capability=CAP_BPF", "--system-call-filter=bpf @keyring",
    ]
    units.start(plan.name, host.name, command, log(state, host), restart=str(REBOOT_STATUS),
                environment={"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})


def leader(plan, host):
    """PID, seen from here, of the machine's PID 1."""
    for pid in units.processes(plan.name, host.name):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        inner = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
        if len(inner) == 2 and inner[1] == "1":
            return int(pid)
    return None


def power_off(plan, host):
    """Pull the plug: everything in the machine ends at once."""
    pid = leader(plan, host)
    if pid:
        cable = network.namespace_of(pid)
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 5
        while units.running(plan.name, host.name) and time.monotonic() < end:
            time.sleep(0.02)
        if cable:
            network.end_processes(cable)
    units.stop(plan.name, host.name)


def reboot(plan, host):
    pid = leader(plan, host)
    if not pid:
        raise LabError(f"{host.name} is off")
    os.kill(pid, REBOOT)
    end = time.monotonic() + BOOT_SECONDS
    while leader(plan, host) == pid:
        if time.monotonic() > end:
            raise LabError(f"{host.name} has not gone down within {BOOT_SECONDS} s")
        time.sleep(0.05)


def banner(plan, host):
    """Whether sshd answers, to somebody who comes from the operator's address."""
    address = host.addresses[0]
    with socket.create_connection((address, host.ssh_port), 1, (network.source_for(plan, address), 0)) as connection:
        return connection.recv(4) == b"SSH-"


def wait(state, plan, host):
    """Until one can log in. A start under high load is sometimes lost without a word, so it is tried once more."""
    end, retried = time.monotonic() + BOOT_SECONDS, False
    where = network.path(network.namespace(plan.name))
    while time.monotonic() < end:
        pid = leader(plan, host)
        if not pid and not units.running(plan.name, host.name):
            if retried:
                break
            say(f"{host.name} did not start; once more (see {log(state, host)})")
            retried = True
            units.stop(plan.name, host.name)
            start(state, plan, host)
        try:
            # While it boots, only root may log in.
            if pid and not Path(f"/proc/{pid}/root/run/nologin").exists() and network.inside(where, banner, plan, host):
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise LabError(f"no SSH at {host.addresses[0]} port {host.ssh_port} of {host.name}; see {log(state, host)}")


def known_hosts(top, host):
    """Lines for ssh's list of known hosts, from the machine's own keys."""
    names = dict.fromkeys([host.ssh_host, *host.addresses])
    spelled = ",".join(name if host.ssh_port == 22 else f"[{name}]:{host.ssh_port}" for name in names)
    keys = sorted((top / "etc/ssh").glob("ssh_host_*_key.pub"))
    return "".join(f"{spelled} {' '.join(key.read_text().split()[:2])}\n" for key in keys)


def remove_leftovers(plan, host):
    """What nspawn leaves when it is killed itself."""
    for kind in ("unix-export", "propagate"):
        folder = Path("/run/systemd/nspawn", kind, host.machine)
        if folder.exists():
            remove_tree(folder)
