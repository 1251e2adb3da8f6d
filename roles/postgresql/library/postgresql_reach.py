#!/usr/bin/python
"""Find a PostgreSQL server as an app on this host would, as far as its TLS certificate."""

DOCUMENTATION = r"""
module: postgresql_reach
short_description: Find a PostgreSQL server, as far as its TLS certificate
description:
  - Resolves the name, connects, asks for TLS and checks the certificate. It needs nothing but the host's Python, so it can be asked of a
    host on which nothing was installed yet; it logs in nowhere and changes nothing.
options:
  host: {description: Name or address, type: str, required: true}
  port: {description: Port, type: int, required: true}
  sslmode: {description: As libpq knows it, type: str, required: true}
  authority: {description: Who signed the certificate (PEM); where it is empty the certificate is not looked at, type: str, default: ""}
author: [Django Appliance]
"""

EXAMPLES = r"""
- name: Find the server
  postgresql_reach: {host: db.example.test, port: 5432, sslmode: verify-full, authority: "{{ lookup('ansible.builtin.file', 'ca.crt') }}"}
"""

RETURN = r"""
msg: {description: What went wrong, in the words of the socket or of OpenSSL, returned: failure, type: str}
"""

import socket
import ssl
import struct

from ansible.module_utils.basic import AnsibleModule

SECONDS = 10
TLS_PLEASE = struct.pack("!ii", 8, 80877103)  # SSLRequest of the protocol


def context_for(sslmode, authority):
    # Not create_default_context, which is stricter with authorities than libpq.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = sslmode == "verify-full" and bool(authority)
    if authority and sslmode != "require":
        context.load_verify_locations(cadata=authority)
    else:
        context.verify_mode = ssl.CERT_NONE
    return context


def reach(host, port, sslmode, authority):
    context = context_for(sslmode, authority)
    with socket.create_connection((host, port), timeout=SECONDS) as plain:
        plain.sendall(TLS_PLEASE)
        answer = plain.recv(8)  # one byte, S or N; what else is there begins like a banner ("SSH-2.0")
        if answer != b"S":
            raise OSError("server does not support SSL" if answer == b"N" else "this is no PostgreSQL server")
        with context.wrap_socket(plain, server_hostname=host):
            pass


def main():
    module = AnsibleModule(
        argument_spec=dict(
            host=dict(type="str", required=True),
            port=dict(type="int", required=True),
            sslmode=dict(type="str", required=True),
            authority=dict(type="str", default=""),
        ),
        supports_check_mode=True,
    )
    try:
        reach(**{key: module.params[key] for key in ("host", "port", "sslmode", "authority")})
    except (OSError, ssl.CertificateError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
