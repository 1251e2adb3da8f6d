"""Background processes of a lab: under systemd where PID 1 is systemd, else each in a control group of its own.

The control group, not a PID file, says what runs, so that nothing gets lost when this program is killed.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from .system import LabError, run

SYSTEMD = Path("/run/systemd/system").is_dir()
GROUP = "django-appliance-lab"
SUPERVISE = Path(__file__).with_name("supervise")


def unit(lab, name):
    # A colon is in no lab's name, so that no lab's units look like another's.
    return f"{GROUP}-{lab}:{name.replace('@', ':')}.service"


def hierarchies():
    """Mount points of the control groups: version 2's first, then each of version 1's."""
    found = []
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            fields = line.split()
            kind = fields[fields.index("-") + 1]
            # A mount of a part of the tree (a container's view) still works as a root.
            if kind in ("cgroup2", "cgroup") and os.access(fields[4], os.W_OK):
                found.append((kind != "cgroup2", Path(fields[4])))
    return [folder for _, folder in sorted(found)]


def group_of(lab, name):
    """Where the unit's processes are listed."""
    if SYSTEMD:
        group = run("systemctl", "show", "-P", "ControlGroup", unit(lab, name), check=False).stdout.strip()
        return hierarchies()[0] / group.lstrip("/") if group else None
    return hierarchies()[0] / GROUP / lab / name


def processes(lab, name):
    """PIDs of all processes of a unit."""
    top = group_of(lab, name)
    pids = []
    if top and top.is_dir():
        for folder, _, _ in os.walk(top):
            with suppress(OSError):                     # it went away meanwhile
                pids += [int(pid) for pid in Path(folder, "cgroup.procs").read_text().split()]
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and not is_zombie(pid)]


def is_zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def running(lab, name):
    return bool(processes(lab, name))


def units(lab):
    """Names of the units that exist, running or not."""
    if SYSTEMD:
        lines = run("systemctl", "list-units", "--all", "--plain", "--no-legend", unit(lab, "*")).stdout.splitlines()
        prefix = len(unit(lab, "")) - len(".service")
        return [line.split()[0][prefix:].removesuffix(".service").replace(":", "@") for line in lines]
    names = {}
    for folder in hierarchies():
        top = folder / GROUP / lab
        if top.is_dir():
            names.update(dict.fromkeys(entry.name for entry in top.iterdir() if entry.is_dir()))
    return list(names)


def start(lab, name, command, log, restart="always", environment=None):
    """Run a command in the background. `restart`: always, or the exit status that asks for one."""
    command = [str(word) for word in command]
    environment = environment or {}
    if SYSTEMD:
        run("systemctl", "reset-failed", unit(lab, name), check=False)
        settings = ["Delegate=yes", "StartLimitIntervalSec=0", "KillMode=mixed", "TasksMax=infinity",
                    f"StandardOutput=append:{log}", f"StandardError=append:{log}"]
        if restart == "always":
            settings += ["Restart=always", "RestartSec=1"]
        else:
            settings += [f"RestartForceExitStatus={restart}", f"SuccessExitStatus={restart}", "RestartSec=100ms"]
        run("systemd-run", "-q", f"--unit={unit(lab, name)}", "--slice=machine.slice", *[f"--property={one}" for one in settings],
            *[f"--setenv={key}={value}" for key, value in environment.items()], "--", *command)
        return
    groups = []
    for folder in hierarchies():
        group = folder / GROUP / lab / name
        for step in (folder / GROUP, folder / GROUP / lab, group):
            step.mkdir(exist_ok=True)
            # An empty cpuset takes no process: start from what the parent has.
            for key in ("cpuset.cpus", "cpuset.mems"):
                if (step / key).exists() and not (step / key).read_text().strip() and (step.parent / key).exists():
                    (step / key).write_text((step.parent / key).read_text())
        groups.append(str(group / "cgroup.procs"))
    with open(log, "ab") as output:
        process = subprocess.Popen(["/bin/sh", SUPERVISE, restart, *groups, "--", *command], stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=output, start_new_session=True, cwd="/", env={**os.environ, **environment})
    while process.poll() is None and not running(lab, name):
        time.sleep(0.01)                                # until then nobody would find it


def stop(lab, name):
    """End a unit at once, and remove every trace of it."""
    if SYSTEMD:
        run("systemctl", "kill", "-s", "KILL", unit(lab, name), check=False)
        run("systemctl", "stop", unit(lab, name), check=False)
        run("systemctl", "reset-failed", unit(lab, name), check=False)
        return
    for _ in range(200):
        pids = processes(lab, name)
        if not pids:
            break
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    else:
        raise LabError(f"{name}: these processes do not end: {pids}")
    for folder in hierarchies():
        remove_group(folder / GROUP / lab / name)


def remove_group(top):
    for folder, _, _ in os.walk(top, topdown=False):
        for _ in range(50):
            try:
                os.rmdir(folder)
                break
            except FileNotFoundError:
                break
            except OSError:                             # its last process is still on its way out
                time.sleep(0.02)


def tidy(lab):
    """Remove the control groups that held the units, once they are empty."""
    for folder in [] if SYSTEMD else hierarchies():
        for group in (folder / GROUP / lab, folder / GROUP):
            with suppress(OSError):
                group.rmdir()
