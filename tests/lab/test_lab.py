"""The lab itself: machines that live and die as real ones do, in a network that nothing leaves."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
from lab_under_test import Lab

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

FIRST, SECOND = "10.77.0.11", "10.77.0.12"


@pytest.fixture(scope="session")
def labs(tmp_path_factory):
    """A maker of labs; takes them all down in the end."""
    made = []

    def make(name, hosts):
        lab = Lab(tmp_path_factory.mktemp("lab") / name, hosts)
        made.append(lab)
        return lab

    yield make
    for lab in made:
        lab.run("down")


@pytest.fixture(scope="session")
def lab(labs):
    lab = labs(
        "selftest",
        {
            "gateway": {"hosts": {"front": {"ansible_host": FIRST, "appliance_addresses": [FIRST, "fd77::11"]}}},
            "db": {"hosts": {"data": {"ansible_host": SECOND, "ansible_port": 2222}}},
            "all": {"vars": {"appliance_networks": {"operators": ["10.78.0.0/24"], "monitoring": ["10.77.0.200/32"]}}},
        },
    )
    lab.run("down")
    lab.run("up")
    return lab


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def test_up_again_changes_nothing(lab):
    before = [host["pid"] for host in lab.status()["hosts"]]
    lab.run("up")
    assert [host["pid"] for host in lab.status()["hosts"]] == before


def test_ansible_comes_from_the_operators_network(lab):
    """The same way that ansible-playbook, molecule and testinfra take, at each host's own port."""
    seen = "set -- $SSH_CONNECTION; echo $1 FROM $3 $4"
    assert f"10.78.0.1 FROM {FIRST} 22" in lab.ansible("front", seen, become=False)
    assert f"10.78.0.1 FROM {SECOND} 2222" in lab.ansible("data", seen, become=False)


def test_machine_is_bare(lab):
    """What the roles install must not be there already, or its absence would go unnoticed."""
    found = lab.on("front", "sh", "-c", "command -v nft nginx psql redis-server pip curl gcc", check=False)
    assert found.stdout == ""


def test_hosts_reach_each_other(lab):
    assert lab.reaches("front", SECOND, 2222)
    assert not lab.reaches("front", SECOND, 22)


def test_outsider_reaches_hosts_as_itself(lab):
    """No address translation: the firewall has to see a stranger."""
    outsider = lab.status()["outside"]["outsider"][0]
    server = lab.serve("front", 8080, "hello")
    assert lab.reaches("outsider", FIRST, 8080)
    assert server.communicate()[0].strip() == outsider
    assert lab.reaches("outsider", "fd77::11", 22)


def test_named_network_reaches_hosts_as_itself(lab):
    server = lab.serve("front", 8081, "hello")
    assert lab.reaches("monitoring", FIRST, 8081)
    assert server.communicate()[0].strip() == "10.77.0.200"


def test_public_port_leads_to_the_gateway_as_a_stranger(lab):
    server = lab.serve("front", 443, "hello")
    with socket.create_connection(("127.0.0.1", lab.status()["public_port"]), 5) as browser:
        assert browser.recv(5) == b"hello"
    assert server.communicate()[0].strip().startswith("198.51.100.")


@contextmanager
def listener(address):
    with socket.create_server((address, 0)) as server:

        def greet():
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=greet, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def own_address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.200", 9))
        return probe.getsockname()[0]


@contextmanager
def cable(lab, far, far_route, near_route):
    """The failing twin: a link out of the lab, which it is made never to have."""
    inside = f"lab-{lab.name}"
    far_side = ["-n", far] if far else []
    ip("link", "add", "twin0", "netns", inside, "type", "veth", "peer", "name", "twin0", *(["netns", far] if far else []))
    try:
        ip("-n", inside, "addr", "add", "198.18.99.1/30", "dev", "twin0")
        ip("-n", inside, "link", "set", "twin0", "up")
        ip(*far_side, "addr", "add", "198.18.99.2/30", "dev", "twin0")
        ip(*far_side, "link", "set", "twin0", "up")
        ip(*far_side, "route", "add", far_route, "via", "198.18.99.1")
        ip("-n", inside, "route", "add", near_route, "via", "198.18.99.2")
        yield
    finally:
        ip("-n", inside, "link", "delete", "twin0")


def test_hosts_do_not_reach_the_control_machine(lab):
    """Nor anything that it reaches. With a link of their own they would."""
    address = own_address()
    with listener(address) as port:
        assert not lab.reaches("front", address, port)
        with cable(lab, None, "10.77.0.0/24", f"{address}/32"):
            assert lab.reaches("front", address, port)


def test_labs_side_by_side_do_not_touch(lab, labs):
    """The same addresses in both; and the other's own addresses are out of reach."""
    other = labs("selftest-other", {"all": {"hosts": {"twin": {"ansible_host": FIRST}, "lone": {"ansible_host": "10.79.0.5"}}}})
    other.run("up")
    assert other.on("twin", "hostname").stdout == "twin\n"
    assert lab.on("front", "hostname").stdout == "front\n"
    assert "HOST=twin" in other.ansible("twin", "echo HOST=$(hostname)")
    assert "HOST=front" in lab.ansible("front", "echo HOST=$(hostname)")
    assert not lab.reaches("data", "10.79.0.5", 22)
    with cable(lab, f"lab-{other.name}", f"{SECOND}/32", "10.79.0.5/32"):
        assert lab.reaches("data", "10.79.0.5", 22)
    other.run("down")
    assert lab.reaches("operator", FIRST, 22)


def test_hosts_reach_package_sources_and_nothing_else_there(lab):
    sources = json.loads((lab.state / "relay.json").read_text())["sources"]
    names = {host for _, _, host, _ in sources}
    assert names
    name = sorted(names)[0]
    assert lab.reaches("front", name, 443)
    assert not lab.reaches("front", name, 22)
    real = socket.getaddrinfo(name, 443, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    assert not lab.reaches("front", real, 443), "the source itself is only reached through the relay"
    lab.on("front", "apt-get", "update", "-q")


def test_other_names_are_refused_at_once(lab):
    started = time.monotonic()
    assert lab.on("front", "getent", "hosts", "example.com", check=False).returncode != 0
    assert time.monotonic() - started < 3


def test_lists_of_packages_are_never_taken_for_fresh(lab):
    """A cached list must not hide that a role forgot to update it."""
    lists = lab.on("data", "stat", "-c", "%Y", "/var/lib/apt/lists").stdout
    stamp = lab.on("data", "test", "-e", "/var/lib/apt/periodic/update-success-stamp", check=False)
    assert int(lists) < time.time() - 86400 or stamp.returncode != 0


def test_sandbox_of_units_is_enforced(lab):
    """IPAddressDeny needs privileges that a container rarely has."""

    def run(*properties):
        probe = f"timeout 2 bash -c 'echo > /dev/tcp/{SECOND}/2222'"
        return lab.on("front", "systemd-run", "-q", "--pipe", "--wait", *properties, "bash", "-c", probe, check=False).returncode

    assert run("-p", "IPAddressDeny=any") != 0
    assert run() == 0


def test_cut_and_restore(lab):
    lab.run("cut", "data")
    try:
        assert not lab.reaches("front", SECOND, 2222)
        assert {host["name"]: host["network"] for host in lab.status()["hosts"]} == {"front": "plugged", "data": "cut"}
    finally:
        lab.run("restore", "data")
    assert lab.reaches("front", SECOND, 2222)


def test_power_failure_keeps_the_disk_only(lab):
    lab.on("data", "touch", "/var/kept", "/run/lost")
    lab.run("power-off", "data")
    assert not lab.reaches("operator", SECOND, 2222)
    lab.run("power-on", "data")
    assert lab.reaches("operator", SECOND, 2222)
    assert lab.on("data", "sh", "-c", "ls /var/kept /run/lost 2>/dev/null", check=False).stdout == "/var/kept\n"


def test_reboot(lab):
    lab.on("front", "touch", "/run/lost")
    lab.run("reboot", "front")
    assert lab.on("front", "test", "-e", "/run/lost", check=False).returncode == 1
    assert lab.reaches("operator", FIRST, 22)


def test_host_may_reboot_itself(lab):
    before = next(host["pid"] for host in lab.status()["hosts"] if host["name"] == "data")
    lab.on("data", "systemctl", "reboot")
    for _ in range(100):
        status = next(host for host in lab.status()["hosts"] if host["name"] == "data")
        if status["ssh"] and status["pid"] != before:
            break
        time.sleep(0.1)
    assert lab.reaches("operator", SECOND, 2222)


def test_second_run_is_refused(lab):
    descriptor = os.open(lab.state, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        refused = lab.run("up", check=False)
    finally:
        os.close(descriptor)
    assert refused.returncode == 1
    assert "another run is busy with lab selftest" in refused.stderr


def test_changed_inventory_is_refused(lab):
    hosts = lab.inventory / "hosts.yml"
    text = hosts.read_text()
    hosts.write_text(text.replace(SECOND, "10.77.0.13"))
    try:
        refused = lab.run("up", check=False)
    finally:
        hosts.write_text(text)
    assert "made with other hosts: take it `down` first" in refused.stderr


def test_changed_apps_are_taken_over(lab):
    """An inventory grows while its lab is up."""
    hosts = lab.inventory / "hosts.yml"
    text = hosts.read_text()
    values = json.loads(text)
    values["all"]["vars"]["appliance_apps"] = {"shop": {"domains": ["shop.example.test"]}}
    hosts.write_text(json.dumps(values))
    try:
        lab.run("up")
    finally:
        hosts.write_text(text)
    assert FIRST in lab.on("data", "getent", "ahostsv4", "shop.example.test").stdout
    assert "https://shop.example.test:" in lab.run("url").stdout


def test_up_after_all_processes_were_killed(lab):
    """As after a power failure: what was on the disks is there."""
    lab.on("front", "touch", "/var/kept")
    for _ in range(20):
        pids = [trace.split()[0] for trace in lab.traces() if trace.split()[0].isdigit()]
        for pid in pids:
            os.kill(int(pid), signal.SIGKILL)
        if not pids:
            break
        time.sleep(0.1)
    lab.run("up")
    assert lab.on("front", "ls", "/var/kept").stdout
    assert lab.status()["up"]


@pytest.mark.parametrize("seconds", [0.8, 1.1, 1.5])
def test_down_leaves_nothing_of_a_killed_up(labs, seconds):
    lab = labs(f"selftest-{str(seconds).replace('.', '')}", {"all": {"hosts": {"one": {"ansible_host": FIRST}}}})
    with subprocess.Popen(lab.command("up"), stderr=subprocess.DEVNULL) as process:
        time.sleep(seconds)
        process.kill()
    lab.run("down")
    assert lab.traces() == []


def test_up_after_a_killed_up(labs):
    lab = labs("selftest-killed", {"all": {"hosts": {"one": {"ansible_host": FIRST}}}})
    with subprocess.Popen(lab.command("up"), stderr=subprocess.DEVNULL) as process:
        while not (lab.state / "roots").exists():
            time.sleep(0.02)
        time.sleep(0.1)
        process.kill()
    lab.run("up")
    assert lab.status()["up"]
    lab.run("down")
    assert lab.traces() == []


def test_http_proxy_is_the_only_way_out(labs):
    lab = labs("selftest-proxy", {"all": {"hosts": {"one": {"ansible_host": FIRST}}}})
    lab.run("up", "--http-proxy", "--sudo-password")
    url = json.loads(
        next(line for line in (lab.overlay / "host_vars/one.yml").read_text().splitlines() if line.startswith("base_http_proxy")).split(
            ": ", 1
        )[1]
    )
    name = sorted({host for _, _, host, _ in json.loads((lab.state / "relay.json").read_text())["sources"]})[0]
    assert not lab.reaches("one", name, 443)
    assert lab.on("one", "getent", "hosts", name, check=False).returncode != 0
    update = ["apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any", "-o"]
    assert lab.on("one", *update, f"Acquire::http::Proxy={url}").returncode == 0
    stripped = "http://" + url.split("@")[1]
    assert lab.on("one", *update, f"Acquire::http::Proxy={stripped}", check=False).returncode != 0
    assert "uid=0" in lab.ansible("one", "id"), "sudo with the lab's password"
    assert lab.on("one", "runuser", "-u", "ansible", "--", "sudo", "-n", "true", check=False).returncode != 0


def test_another_copy_of_an_inventory_is_refused(lab, tmp_path):
    """Its lab would have the same name, and its `down` would take ours."""
    copy = tmp_path / lab.name
    copy.mkdir()
    (copy / "hosts.yml").write_text((lab.inventory / "hosts.yml").read_text())
    for verb in ("up", "down"):
        refused = subprocess.run([*lab.command(verb)[:3], str(copy)], text=True, capture_output=True)
        assert refused.returncode == 1
        assert f"a lab selftest was made from {lab.inventory}" in refused.stderr
    assert lab.status()["up"]


def test_down_leaves_nothing(lab):
    """Not even what somebody runs in there."""
    commands = [subprocess.Popen(lab.command("exec", *who, "sleep", "1000")) for who in ([], ["--from", "front"], ["--on", "data"])]
    time.sleep(1)
    assert len(lab.traces()) > 5, "a search that finds nothing proves nothing"
    lab.run("down")
    assert lab.traces() == []
    for command in commands:
        assert command.wait(10) != 0
    assert lab.status() == {"name": lab.name, "up": False}
