"""What the postgresql role computes on the control node."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode

ITERATIONS = 4096


def postgresql_scram_verifier(password: str, role: str, system: str) -> str:
    """What PostgreSQL keeps of `password` (RFC 5803): the host never sees the password itself, and its logs cannot leak it.

    The salt is the same at every run, so that an unchanged password shows as unchanged, yet differs by role and by cluster,
    whose `system` identifier goes in. A salt need not be secret: the server tells it to whoever starts to log in.
    """
    salt = hashlib.sha256(f"{system}:{role}".encode()).digest()[:16]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt, stored, server = (b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}"


class FilterModule:
    def filters(self):
        return {"postgresql_scram_verifier": postgresql_scram_verifier}
