"""A lab as its tests see it: through its commands, and by the traces that it leaves."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Lab:
    def __init__(self, folder, hosts):
        folder.mkdir()
        self.name = folder.name
        self.inventory = folder
        (folder / "hosts.yml").write_text(json.dumps(hosts))  # JSON is YAML
        self.state = Path("/var/lib/django-appliance-lab", self.name)
        self.overlay = ROOT / ".lab" / self.name / "inventory"

    def command(self, verb, *words):
        return [sys.executable, str(ROOT / "molecule/lab"), verb, str(self.inventory) if verb == "up" else self.name, *words]

    def run(self, verb, *words, check=True, timeout=120):
        result = subprocess.run(self.command(verb, *words), cwd=ROOT, text=True, capture_output=True, timeout=timeout)
        assert not check or result.returncode == 0, result.stderr
        return result

    def on(self, host, *words, **options):
        return self.run("exec", "--on", host, *words, **options)

    def reaches(self, who, address, port):
        """Whether somebody gets a TCP connection: a host (all of it), the operator, or the outsider."""
        origin = ["--from", who] if who in ("operator", "outsider", "monitoring") else ["--on", who]
        probe = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}'"
        return self.run("exec", *origin, "bash", "-c", probe, check=False).returncode == 0

    def status(self):
        return json.loads(self.run("status", "--json", check=False).stdout)

    def ansible(self, host, shell, become=True):
        command = [
            Path(sys.executable).with_name("ansible"),
            "-i",
            self.inventory,
            "-i",
            self.overlay,
            host,
            "-e",
            f"ansible_become={str(become).lower()}",
            "-m",
            "ansible.builtin.raw",
            "-a",
            shell,
        ]
        result = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=60)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def serve(self, host, port, text):
        """A listener on a host that greets one client and then prints who it was."""
        program = (
            f"import socket; s = socket.create_server(('', {port})); print('ready', flush=True); c, peer = s.accept(); "
            f"c.sendall(b'{text}'); c.close(); print(peer[0], flush=True)"
        )
        process = subprocess.Popen(
            self.command("exec", "--on", host, "python3", "-c", program), cwd=ROOT, text=True, stdout=subprocess.PIPE
        )
        assert process.stdout.readline() == "ready\n"
        return process

    def traces(self):
        """All that there is of the lab on this computer."""
        mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if f"/{self.name}/" in line or f"lab-{self.name} " in line]
        groups = [
            str(path)
            for pattern in (f"*/django-appliance-lab/{self.name}", f"machine.slice/django-appliance-lab-{self.name}:*")
            for path in Path("/sys/fs/cgroup").glob(pattern)
        ]
        spaces = [str(path) for path in Path("/run/netns").glob("*") if path.name.split("@")[0] == f"lab-{self.name}"]
        folders = [str(path) for path in (self.state, self.overlay.parent) if path.exists()]
        listing = subprocess.run(["pgrep", "-fa", f"django-appliance-lab/{self.name}/"], text=True, capture_output=True).stdout
        return mounts + groups + spaces + folders + listing.splitlines()
