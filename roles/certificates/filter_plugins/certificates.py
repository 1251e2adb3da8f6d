"""What is wrong with a certificate, found on the control node before any host changes."""

import contextlib
import datetime
import ipaddress
import itertools
import re
import ssl
import warnings
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization


def _public(holder):
    return holder.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _ascii(domain):
    return (domain if domain.isascii() else domain.encode("idna").decode()).lower()


def _covers(names, domain):
    return domain in names or "*." + domain.partition(".")[2] in names


def _verified(below, above):
    try:
        below.verify_directly_issued_by(above)
    except Exception:  # whatever the reason, it is not the issuer
        return False
    return True


def _known_authorities():
    """What this control node's system trusts; nothing where its bundle is not found."""
    try:
        bundle = Path(ssl.get_default_verify_paths().cafile).read_bytes()
    except (OSError, TypeError):
        return []
    found = []
    with warnings.catch_warnings(action="ignore"):  # of old roots that break today's rules
        for one in re.findall(b"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", bundle, re.DOTALL):
            with contextlib.suppress(ValueError):
                found.append(x509.load_pem_x509_certificate(one))
    return found


def certificates_problems(pair, certificate, key, chain=""):
    """Messages about a provided certificate, each naming variable and file.

    pair: an item with the files' names in C(provided). certificate, key, chain: their texts, None for a file that cannot be read.
    """
    files = pair["provided"]

    def at(which):
        return f"appliance_certificates.{pair['name']}.{which} ({files[which]})"

    texts = {"certificate": certificate, "key": key, "chain": chain}
    unread = [which for which in texts if texts[which] is None]
    if unread:
        return [f"{at(which)}: the file cannot be read; type its absolute path on the control node." for which in unread]
    problems = []
    try:
        leaf, *others = x509.load_pem_x509_certificates(certificate.encode())
    except ValueError:
        return [f"{at('certificate')}: this is no certificate in PEM form; convert it, or type the right file."]
    try:
        others += x509.load_pem_x509_certificates(chain.encode()) if chain.strip() else []
    except ValueError:
        return [f"{at('chain')}: these are no certificates in PEM form; convert them, or type the right file."]

    try:
        if _public(serialization.load_pem_private_key(key.encode(), None)) != _public(leaf):
            problems.append(f"{at('key')}: this key does not belong to {files['certificate']}; type the one it was requested with.")
    except TypeError:
        problems.append(f"{at('key')}: take the pass phrase off this key; ansible-vault encrypts it as well.")
    except ValueError:
        problems.append(f"{at('key')}: this is no private key in PEM form; convert it, or type the right file.")

    now = datetime.datetime.now(datetime.UTC)
    behind = at("chain" if files.get("chain") else "certificate")
    for where, one in [(at("certificate"), leaf), *[(behind, other) for other in others]]:
        if one.not_valid_after_utc <= now:
            problems.append(f"{where}: “{one.subject.rfc4514_string()}” expired on {one.not_valid_after_utc:%Y-%m-%d}; have it renewed.")
    if leaf.not_valid_before_utc > now:
        problems.append(f"{at('certificate')}: not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; wait, or mend this clock.")

    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        domains = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
        addresses = set(names.get_values_for_type(x509.IPAddress))
    except x509.ExtensionNotFound:
        domains, addresses = set(), set()
    missing = [d for d in pair.get("domains", []) if not _covers(domains, _ascii(d))]
    missing += [a for a in pair.get("addresses", []) if ipaddress.ip_address(a) not in addresses]
    if missing:
        problems.append(f"{at('certificate')}: lacks the name {', '.join(missing)} (it has: "
                        f"{', '.join(sorted(domains) + [str(a) for a in addresses]) or 'none'}); have one made with it.")
    return problems + _chain_problems([leaf, *others], behind)


def _chain_problems(links, where):
    for below, above in itertools.pairwise(links):
        if not _verified(below, above):
            return [f"{where}: the chain breaks at “{below.subject.rfc4514_string()}”, whose issuer is not the next certificate. "
                    f"Order: the server's own, then each issuer's."]
    last, known = links[-1], _known_authorities()
    # A browser that was not handed an issuer does not look for it.
    if known and not any(_verified(last, authority) for authority in [last, *known]):
        return [f"{where}: the chain ends at “{last.subject.rfc4514_string()}”, whose issuer “{last.issuer.rfc4514_string()}” this "
                f"system does not know; add the issuers' certificates to chain, up to the root if that is a private one."]
    return []


def certificates_days_left(certificate):
    """Days for which a PEM certificate is valid."""
    end = x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc
    return (end - datetime.datetime.now(datetime.UTC)).days


class FilterModule:
    def filters(self):
        return {"certificates_problems": certificates_problems, "certificates_days_left": certificates_days_left}
