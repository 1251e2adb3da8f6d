"""Strangers on the wire see nothing, and nobody else can answer in the site's name."""

from __future__ import annotations

import ssl
import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec


def test_certificate_is_vouched_for_by_the_sites_own_authority(door):
    """The public authorities of this machine do not vouch for it: the check can fail."""
    with door.tls() as connection:
        assert connection.getpeercert()
    with pytest.raises(ssl.SSLCertVerificationError):
        door.tls(ssl.create_default_context())


def test_certificate_is_for_this_name_only(door):
    """A name that the certificate lacks is refused by the client's check."""
    context = door.context()
    with door.tls(context) as connection:
        certificate = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert door.host in names.get_values_for_type(x509.DNSName)
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_tls_is_spoken(door, version):
    """TLS 1.2 is for clients of some age."""
    context = door.context()
    context.minimum_version = context.maximum_version = version
    with door.tls(context) as connection:
        assert connection.version() == version.name.replace("_", ".")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_broken_tls_is_refused(door, version):
    """Refused by the server, not by our client, which is made to offer it."""
    context = door.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError, match=r"(?i)alert.protocol.version"):
        door.tls(context)


def test_ciphers_without_forward_secrecy_or_authentication_are_refused(door):
    """Of TLS 1.2, only ECDHE with an AEAD cipher is left."""
    context = door.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ALL:!ECDHE+AESGCM:!ECDHE+CHACHA20:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)alert.handshake.failure"):
        door.tls(context)


def test_http_2_is_negotiated(door):
    """Browsers speak it when offered."""
    with door.tls(door.context(alpn=("h2", "http/1.1"))) as connection:
        assert connection.selected_alpn_protocol() == "h2"


def test_session_is_resumed(door):
    """A returning client saves half of the handshake."""
    context = door.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with door.tls(context) as first:
        session = first.session
    with door.tls(context, session=session) as second:
        assert second.session_reused


@pytest.mark.parametrize("name", ["somebody.else.test", "127.0.0.1"])
def test_unknown_name_gets_no_handshake(door, name):
    """Who scans addresses learns no certificate, hence no name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        door.tls(context, name=name)
