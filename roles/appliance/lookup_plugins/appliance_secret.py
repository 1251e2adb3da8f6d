"""Secrets on the control node: read, or made on first use."""

from __future__ import annotations

import fcntl
import os
import secrets
import string
from pathlib import Path

from ansible.errors import AnsibleLookupError
from ansible.parsing.vault import match_encrypt_secret
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: appliance_secret
short_description: a secret of the appliance, generated on first use
description:
  - Looks in C(appliance_secrets) first, then in a file of C(appliance_secrets_dir), and makes the file otherwise.
  - The folder is 0700, files are 0600; they are vault-encrypted when a vault password is configured.
  - Under C(--check), or while the variable C(appliance_secrets_wanted) is false, nothing is made, and a placeholder is returned instead.
options:
  _terms: {description: names of secrets, or dictionaries of C(name) and the options below, required: true}
  kind: {description: what to make, choices: [password, ec_private_key], default: password}
  length: {description: characters of a password, type: int, default: 64}
  provided: {description: refuse to make it since somebody else chose it, type: bool, default: false}
"""

PLACEHOLDER = "placeholder-under-check-mode"


def _password(length):
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _ec_private_key():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms, variables=None, **kwargs):
        """Return one string per term; a term is a name, or a dictionary of ``name`` and options."""
        self.set_options(var_options=variables, direct=kwargs)
        overrides = self._templar.template(variables.get("appliance_secrets") or {})
        folder = Path(self._templar.template(variables["appliance_secrets_dir"]))
        only_looking = bool(variables.get("ansible_check_mode")) or not variables.get("appliance_secrets_wanted", True)
        found = []
        for term in terms:
            how = {key: self.get_option(key) for key in ("kind", "length", "provided")}
            how.update(term if isinstance(term, dict) else {"name": term})
            found.append(self._one(how, overrides, folder, only_looking))
        return found

    def _one(self, how, overrides, folder, only_looking):
        name = how["name"]
        if name in overrides:
            return str(overrides[name])
        path = folder / name
        if not path.exists():
            if how["provided"]:
                raise AnsibleLookupError(
                    f"secret {name} was chosen elsewhere and is not known here: set appliance_secrets.{name}"
                    f" (vault-encrypted) in the inventory, or write it to {path}"
                )
            if only_looking:
                return PLACEHOLDER
            self._make(path, how)
        return self._loader.get_text_file_contents(str(path)).rstrip("\n")

    def _make(self, path, how):
        """Write the file once, whole, even when several tasks ask at the same time."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        path.parent.parent.chmod(0o700)
        with open(path.parent / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return
            text = _ec_private_key() if how["kind"] == "ec_private_key" else _password(how["length"]) + "\n"
            data = text.encode()
            vault = getattr(self._loader, "_vault", None)
            if vault is not None and vault.secrets:
                vault_id, secret = match_encrypt_secret(vault.secrets)
                data = vault.encrypt(data, secret, vault_id)
            part = path.with_name(f".{path.name}.part")
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            part.rename(path)
