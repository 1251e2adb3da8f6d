"""A whole site in the lab: raised from an inventory, broken, and looked at from outside."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.M)


def descendants(pid):
    """Processes below one; Ansible's workers have sessions of their own, so that its process group does not hold them."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = stat.read_text().rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        new = children.get(todo.pop(), [])
        found += new
        todo += new
    return found


class Answer:
    """What an HTTP request brought: status, headers, text."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode(errors="replace")


class Site:
    """One inventory and its lab."""

    def __init__(self, inventory, *, up=(), env=None):
        self.inventory = Path(inventory)
        self.name = self.inventory.name
        self.overlay = ROOT / ".lab" / self.name / "inventory"
        self.secrets = ROOT / ".secrets" / f"lab-{self.name}"
        self.up_options = list(up)
        self._variables = {}
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_NOCOLOR": "1",
            **(env or {}),
        }

    @classmethod
    def under_test(cls):
        """The site that APPLIANCE_INVENTORY names, or molecule's scenario; else the monolith."""
        scenario = os.environ.get("MOLECULE_SCENARIO_NAME", "monolith")
        return cls(ROOT / os.environ.get("APPLIANCE_INVENTORY", f"inventories/{scenario}"))

    def lab(self, verb, *args, check=True, timeout=600):
        """Run a verb of the lab on this inventory."""
        command = [sys.executable, "molecule/lab", verb, str(self.inventory), *args]
        return subprocess.run(command, cwd=ROOT, env=self.env, text=True, capture_output=True, check=check, timeout=timeout)

    def up(self):
        """Raise fresh machines."""
        self.down()
        self.lab("up", *self.up_options)
        return self

    def down(self):
        """Take the machines down, and forget the lab's secrets: fresh machines deserve fresh ones."""
        self.lab("down")
        shutil.rmtree(self.secrets, ignore_errors=True)

    def command(self, playbook="site.yml", *args):
        """The command line of a run."""
        return ["ansible-playbook", "-i", str(self.inventory), "-i", str(self.overlay), playbook, *args]

    def play(self, playbook="site.yml", *args, check=True, timeout=1500, root=ROOT):
        """Run a playbook to its end; with check, it must succeed. root: another copy of the project."""
        done = subprocess.run(
            self.command(playbook, *args),
            cwd=root,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
        )
        if check:
            assert done.returncode == 0, done.stdout[-6000:]
        return done

    @contextlib.contextmanager
    def told(self, variables):
        """For a while, the inventory says something else."""
        file = self.inventory / "group_vars/all/zz_told.yml"
        file.write_text(yaml.safe_dump(variables))
        try:
            yield
        finally:
            file.unlink()

    def refuses(self, variables):
        """Run with some variables of the inventory replaced: it must fail without a change. What was printed, in one line."""
        with self.told(variables):
            done = self.play(check=False)
        assert done.returncode != 0
        assert set(changes(done).values()) <= {0}, done.stdout[-4000:]
        return " ".join(done.stdout.split())

    def play_killed(self, task, seconds, playbook="site.yml", *args):
        """Start a playbook and kill it, with all its children, so many seconds after it began a task; True if it still ran."""
        process = subprocess.Popen(
            self.command(playbook, *args), cwd=ROOT, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for line in process.stdout:
            if line.startswith("TASK") and task in line:
                break
        time.sleep(seconds)
        running = process.poll() is None
        for pid in [process.pid, *descendants(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        return running

    def on(self, host, command, check=True, input=""):
        """Run a shell command on a host as root, by SSH; its standard output and error as one text."""
        variables = self.variables(host)
        ssh = ["ssh", *shlex.split(variables.get("ansible_ssh_common_args", "")), "-i", variables["ansible_ssh_private_key_file"]]
        ssh += ["-p", str(variables.get("ansible_port", 22)), f"{variables['ansible_user']}@{variables.get('ansible_host', host)}"]
        password = variables.get("ansible_become_password")
        sudo = ["sudo", "-S", "-p", "''"] if password else ["sudo", "-n"]
        done = subprocess.run(
            [*ssh, *sudo, "sh", "-c", shlex.quote(f"exec 2>&1; {command}")],
            text=True, capture_output=True, timeout=120, input=f"{password}\n{input}" if password else input,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def variables(self, host):
        """A host's inventory variables, the lab's on top."""
        if host not in self._variables:
            self._variables[host] = self._read_variables(host)
        return self._variables[host]

    def _read_variables(self, host):
        command = ["ansible-inventory", "-i", str(self.inventory), "-i", str(self.overlay), "--host", host]
        return json.loads(subprocess.run(command, cwd=ROOT, env=self.env, text=True, capture_output=True, check=True).stdout)

    @property
    def shop(self):
        """What the inventory asks of the reference app."""
        return self.variables("web1")["appliance_apps"]["shop"]

    @property
    def cache_units(self):
        """Units of the cache's box, by what the shop and the gateways ask for."""
        shop = self.shop
        pages = self.variables("web1").get("gateway_cache_backend", "none") if shop.get("cache") else "none"
        units = ["redis-server@cache"] if shop.get("redis", {}).get("cache") or pages == "redis" else []
        units += ["memcached-shop"] if shop.get("memcached", {}).get("cache") else []
        return units + (["memcached-pages"] if pages == "memcached" else [])

    @property
    def units(self):
        """Units that not every drawing has."""
        return self.cache_units + (["shop-feed"] if self.shop.get("cache") else [])

    @property
    def public_port(self):
        """The port of 127.0.0.1 that leads to the gateway."""
        file = next((self.overlay / "host_vars").iterdir())
        return yaml.safe_load(file.read_text())["appliance_public_port"]

    def dial(self, timeout=10):
        """A bare connection to the front door."""
        return socket.create_connection(("127.0.0.1", self.public_port), timeout)

    def get(self, domain, path="/", timeout=10, headers=None):
        """Fetch a page through the front door, the certificate checked."""
        port = self.public_port
        context = ssl.create_default_context(cafile=str(self.secrets / "ca.crt"))

        class Connection(urllib.request.HTTPSHandler):
            def https_open(handler, request):
                return handler.do_open(self._connection(port, context, domain), request)

        opener = urllib.request.build_opener(Connection())
        try:
            return Answer(opener.open(urllib.request.Request(f"https://{domain}:{port}{path}", headers=headers or {}), timeout=timeout))
        except urllib.error.HTTPError as error:
            return Answer(error)

    @staticmethod
    def _connection(port, context, domain):
        class ToTheForward(http.client.HTTPSConnection):
            def connect(self):
                plain = socket.create_connection(("127.0.0.1", port), self.timeout)
                self.sock = context.wrap_socket(plain, server_hostname=domain)

        def build(host, timeout=10, **_):
            return ToTheForward(host, timeout=timeout, context=context)

        return build

    def wait_for(self, domain, path="/", seconds=60):
        """Wait until a page answers 200; the seconds it took."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            try:
                if self.get(domain, path, timeout=3).status == 200:
                    return time.monotonic() - began
            except OSError:
                pass
            time.sleep(0.3)
        raise AssertionError(f"https://{domain}{path} did not answer 200 within {seconds} s")


def changes(done):
    """Host to number of changes, from a run's recap."""
    return {host: int(changed) for host, _, changed, _, _ in RECAP.findall(done.stdout)}
