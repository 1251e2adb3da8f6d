"""A small mail relay for tests, run on a host of the lab: STARTTLS and a password are asked for, letters are kept as files.

    relay.py ADDRESS FOLDER CERTIFICATE KEY USER PASSWORD

FOLDER/seconds holds how long each letter takes; FOLDER/begun gets a line for each that was begun, FOLDER/kept has those that were taken.
"""

import asyncio
import ssl
import sys
import time
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


def main():
    address, folder, certificate, key, user, password = sys.argv[1:]
    folder = Path(folder)
    (folder / "kept").mkdir(parents=True, exist_ok=True)

    class Keep:
        async def handle_DATA(self, server, session, envelope):
            text = envelope.content.decode(errors="replace")
            subject = next(line for line in text.splitlines() if line.lower().startswith("subject:"))
            with (folder / "begun").open("a") as begun:
                begun.write(f"{subject}\n")
            await asyncio.sleep(float((folder / "seconds").read_text()))
            seen = f"X-Seen: {session.ssl['cipher'][1]} for {', '.join(envelope.rcpt_tos)}\n"
            (folder / "kept" / str(time.monotonic_ns())).write_text(seen + text)
            return "250 OK"

    def known(server, session, envelope, mechanism, login):
        return AuthResult(success=(login.login.decode(), login.password.decode()) == (user, password))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    controller = Controller(
        Keep(), hostname=address, port=587, tls_context=context, require_starttls=True, authenticator=known, auth_required=True
    )
    controller.start()
    time.sleep(10**8)


main()
