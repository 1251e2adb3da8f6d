"""The way to somebody else's server is tried before a host changes; a stand-in that speaks the first bytes of the protocol answers."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path

import pytest
from authorities import Authority
from plugins import load_module

ROLE = Path(__file__).resolve().parents[1]
reach = load_module(ROLE / "library/postgresql_reach.py").reach


@pytest.fixture(scope="module")
def authority():
    """The other team's."""
    return Authority("Other team CA")


@pytest.fixture
def server(authority, tmp_path):
    """Factory of servers that take one connection: server(answer, address in the certificate) -> port."""
    listeners = []

    def serve(listener, answer, context):
        plain, _ = listener.accept()
        with plain:
            assert plain.recv(8) == b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
            plain.sendall(answer)
            if answer == b"S":
                with contextlib.suppress(OSError):  # the client goes away from a certificate that it does not trust
                    context.wrap_socket(plain, server_side=True).close()

    def start(answer=b"S", address="127.0.0.1"):
        pair = tmp_path / "pair.pem"
        pair.write_text("".join(authority.issue(address)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, answer, context), daemon=True).start()
        return listener.getsockname()[1]

    yield start
    for listener in listeners:
        listener.close()


def said(port, sslmode, authority, host="127.0.0.1"):
    """What a failure says; nothing if the server was found."""
    try:
        reach(host, port, sslmode, authority)
    except OSError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("sslmode", "trusted", "address", "words"),
    [
        ("verify-full", "theirs", "127.0.0.1", ""),
        ("verify-full", "theirs", "127.0.0.9", "IP address mismatch"),
        ("verify-full", "stranger", "127.0.0.1", "certificate verify failed"),
        ("verify-full", "unknown", "127.0.0.9", ""),
        ("verify-ca", "theirs", "127.0.0.9", ""),
        ("verify-ca", "stranger", "127.0.0.1", "certificate verify failed"),
        ("require", "unknown", "127.0.0.9", ""),
    ],
)
def test_certificate_is_judged_as_libpq_would(server, authority, sslmode, trusted, address, words):
    """Where no authority is stated, Debian's would be asked, and a bare host may not have them yet."""
    texts = {"theirs": authority.pem, "stranger": Authority("Stranger CA").pem, "unknown": ""}
    answer = said(server(address=address), sslmode, texts[trusted])
    assert words in answer
    assert bool(answer) is bool(words)


@pytest.mark.parametrize(("answer", "words"), [(b"N", "server does not support SSL"), (b"SSH-2.0-x\r\n", "this is no PostgreSQL server")])
def test_server_without_tls_is_told_from_one_that_is_none(server, answer, words):
    """No connection goes without TLS."""
    assert words in said(server(answer), "require", "")


def test_closed_port_and_unknown_name_are_told(server):
    """The words by which the role finds the variable."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "Connection refused" in said(port, "require", "")
    assert any(words in said(port, "require", "", host="nobody.invalid") for words in ("not known", "name resolution", "No address"))
