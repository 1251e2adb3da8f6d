"""Runs on a host: proportional memory (PSS) of all its processes, in kB by systemd unit, as JSON."""

import json
import os
import re
from pathlib import Path


def unit_of(groups):
    """The unit that /proc/PID/cgroup names; instances of one template count as one."""
    found = re.findall(r"([^/\n]+\.(?:service|scope))", groups)
    return re.sub(r"@.*(?=\.)", "@", found[-1]) if found else "other"


def main():
    sums = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            groups = (process / "cgroup").read_text()
            pss = re.search(r"^Pss:\s+(\d+) kB", (process / "smaps_rollup").read_text(), re.M)
        except OSError:  # it ended, or is a thread of the kernel
            continue
        unit = unit_of(groups)
        # Who measures, and Ansible's connections, are not part of the host at rest.
        if pss and int(process.name) != os.getpid() and not unit.startswith("session-"):
            sums[unit] = sums.get(unit, 0) + int(pss[1])
    print(json.dumps(sums))


if __name__ == "__main__":
    main()
