"""What is wrong with a certificate, found on the control node before any host changes."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import serialization


def _public(holder):
    return holder.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _ascii(domain):
    return (domain if domain.isascii() else domain.encode("idna").decode()).lower()


def _covers(names, domain):
    return domain in names or "*." + domain.partition(".")[2] in names


def certificates_problems(pair, certificate, key, chain=""):
    """Messages about a provided certificate; the arguments are PEM texts, pair is an item with the files' names in C(provided)."""
    files = pair["provided"]
    try:
        leaf, *others = x509.load_pem_x509_certificates(certificate.encode())
    except ValueError:
        return [f"{files['certificate']}: this is no certificate in PEM form."]
    try:
        others += x509.load_pem_x509_certificates(chain.encode()) if chain.strip() else []
    except ValueError:
        return [f"{files['chain']}: these are no certificates in PEM form."]
    problems = []

    try:
        if _public(serialization.load_pem_private_key(key.encode(), None)) != _public(leaf):
            problems.append(f"{files['key']}: this key does not belong to the certificate {files['certificate']}.")
    except TypeError:
        problems.append(f"{files['key']}: take the pass phrase off this key; ansible-vault encrypts it as well.")
    except ValueError:
        problems.append(f"{files['key']}: this is no private key in PEM form.")

    now = datetime.datetime.now(datetime.UTC)
    if leaf.not_valid_after_utc <= now:
        problems.append(f"{files['certificate']}: expired on {leaf.not_valid_after_utc:%Y-%m-%d}; renew it.")
    if leaf.not_valid_before_utc > now:
        problems.append(f"{files['certificate']}: not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC.")

    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        domains = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
        addresses = set(names.get_values_for_type(x509.IPAddress))
    except x509.ExtensionNotFound:
        domains, addresses = set(), set()
    missing = [d for d in pair.get("domains", []) if not _covers(domains, _ascii(d))]
    missing += [a for a in pair.get("addresses", []) if ipaddress.ip_address(a) not in addresses]
    if missing:
        problems.append(f"{files['certificate']}: lacks the name {', '.join(missing)} (it has: "
                        f"{', '.join(sorted(domains) + [str(a) for a in addresses]) or 'none'}).")

    for below, above in zip([leaf, *others], others, strict=False):
        try:
            below.verify_directly_issued_by(above)
        except Exception:  # whatever the reason, the chain does not hold
            problems.append(
                f"{files.get('chain') or files['certificate']}: the chain breaks at “{below.subject.rfc4514_string()}”, whose issuer is "
                f"not the next certificate. Order: the server's own, then each issuer's.")
            break
    return problems


def certificates_days_left(certificate):
    """Days for which a PEM certificate is valid."""
    end = x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc
    return (end - datetime.datetime.now(datetime.UTC)).days


class FilterModule:
    def filters(self):
        return {"certificates_problems": certificates_problems, "certificates_days_left": certificates_days_left}
