"""Try ports, all at once.

Standard library only, since it also runs as a script where there is no Ansible: `appliance_sockets.py < targets.json`.
"""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

#: What makes a UDP service answer; others are sent an empty datagram.
QUESTIONS = {
    53: bytes.fromhex("0001010000010000000000000000020001"),
    123: b"\x23" + bytes(47),
}


def attempt(target):
    """Try one ``{address, port, protocol, seconds}``: open, refused, silent or unreachable."""
    kind = socket.SOCK_STREAM if target["protocol"] == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in target["address"] else socket.AF_INET
    try:
        with socket.socket(family, kind) as tried:
            tried.settimeout(target["seconds"])
            tried.connect((target["address"], target["port"]))
            if kind == socket.SOCK_DGRAM:
                tried.send(QUESTIONS.get(target["port"], b""))
                tried.recv(1)
            return "open"
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silent"
    except OSError:
        return "unreachable"


def attempts(targets):
    """Try all targets; the answers come in their order."""
    with ThreadPoolExecutor(max_workers=64) as pool:
        return list(pool.map(attempt, targets))


if __name__ == "__main__":
    json.dump(attempts(json.load(sys.stdin)), sys.stdout)
