#!/usr/bin/python
"""Keep key pairs on a host, and say which of them need a signature."""

DOCUMENTATION = r"""
module: certificates_pairs
short_description: Keep key pairs on a host, and say which need a signature
description:
  - Makes a private key where one is missing, installs pairs that were provided, and returns a signing request for each pair
    whose certificate is missing, runs out, or no longer fits its key, its names or the authority. A key made here never leaves the host.
options:
  path: {description: Folder of the pairs, type: path, required: true}
  authority: {description: Certificate of the private authority (PEM), type: str, required: true}
  renew_days: {description: Renew what is valid for fewer days, type: int, required: true}
  group: {description: Group that may read the keys, type: str, required: true}
  pairs:
    description: The pairs
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Folder, type: str, required: true}
      domains: {description: Names in the certificate, type: list, elements: str, default: []}
      addresses: {description: Addresses in the certificate, type: list, elements: str, default: []}
      certificate: {description: A provided certificate and its chain (PEM), type: str}
      key: {description: The provided private key (PEM), type: str}
author: [Django Appliance]
"""

EXAMPLES = r"""
- name: Keep the key pairs
  certificates_pairs:
    path: /etc/appliance/tls
    authority: "{{ certificates_ca_certificate }}"
    renew_days: 30
    group: ssl-cert
    pairs: [{name: gateway, domains: [shop.example.test]}]
"""

RETURN = r"""
requests:
  description: What is to be signed, as name, csr (PEM, empty under check mode) and reason
  returned: always
  type: list
  elements: dict
files:
  description: Files that were written (or would be)
  returned: always
  type: list
  elements: str
"""

import datetime
import grp
import ipaddress
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    x509 = None


def ascii_name(domain):
    return domain if domain.isascii() else domain.encode("idna").decode()


def wanted_names(pair):
    return [ascii_name(d).lower() for d in pair["domains"]], [ipaddress.ip_address(a) for a in pair["addresses"]]


def public_bytes(holder):
    return holder.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def signed_by(certificate, authority):
    key, args = authority.public_key(), [certificate.signature, certificate.tbs_certificate_bytes]
    if isinstance(key, ec.EllipticCurvePublicKey):
        args.append(ec.ECDSA(certificate.signature_hash_algorithm))
    else:
        args += [padding.PKCS1v15(), certificate.signature_hash_algorithm]
    try:
        key.verify(*args)
    except Exception:  # cryptography raises several kinds, all of which mean no
        return False
    return certificate.issuer == authority.subject


def expiry(certificate):
    try:
        return certificate.not_valid_after_utc
    except AttributeError:  # cryptography < 42 (Debian 12)
        return certificate.not_valid_after.replace(tzinfo=datetime.UTC)


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def signing_request(pair, key):
    domains, addresses = wanted_names(pair)
    # Clients read the alternative names; the common name is for people. An address there would break name constraints.
    common = domains[0] if domains and len(domains[0]) <= 64 else pair["name"]
    usage = dict.fromkeys(
        ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
         "encipher_only", "decipher_only"], False)
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)]))
        .add_extension(x509.SubjectAlternativeName(
            [x509.DNSName(d) for d in domains] + [x509.IPAddress(a) for a in addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM).decode()
    )


def fault(pair, pem, key, authority, renew_days):
    """Why a certificate has to be signed anew, or nothing."""
    if pem is None:
        return "there is none"
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return "it cannot be read"
    domains, addresses = wanted_names(pair)
    if public_bytes(certificate) != public_bytes(key):
        return "it belongs to another key"
    if set(names.get_values_for_type(x509.DNSName)) != set(domains) or \
            set(names.get_values_for_type(x509.IPAddress)) != set(addresses):
        return "its names changed"
    if not signed_by(certificate, authority):
        return "the authority changed"
    left = expiry(certificate) - datetime.datetime.now(datetime.UTC)
    if left < datetime.timedelta(days=renew_days):
        return "it is valid for %d more days" % left.days
    return None


class Keeper:
    def __init__(self, module):
        self.module = module
        self.root = module.params["path"]
        self.files = []
        self.changed = False

    def read(self, path):
        try:
            with open(path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def attributes(self, path, group, mode):
        args = self.module.load_file_common_arguments(
            {"path": path, "owner": "root", "group": group, "mode": mode})
        self.changed = self.module.set_fs_attributes_if_different(args, self.changed)

    def folder(self, path):
        if not os.path.isdir(path):
            self.changed = True
            if self.module.check_mode:
                return
            os.makedirs(path, 0o755)
        self.attributes(path, "root", "0755")

    def write(self, path, data, group="root", mode="0644"):
        if self.read(path) != data:
            self.changed = True
            self.files.append(path)
            if self.module.check_mode:
                return
            # Made readable by root alone, beside its destination, and given its owner before it appears there.
            handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chown(temporary, 0, grp.getgrnam(group).gr_gid)
            os.chmod(temporary, int(mode, 8))
            os.replace(temporary, path)
        if os.path.exists(path) and not (self.module.check_mode and path in self.files):
            self.attributes(path, group, mode)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            path=dict(type="path", required=True),
            authority=dict(type="str", required=True),
            renew_days=dict(type="int", required=True),
            group=dict(type="str", required=True),
            pairs=dict(type="list", elements="dict", required=True, options=dict(
                name=dict(type="str", required=True),
                domains=dict(type="list", elements="str", default=[]),
                addresses=dict(type="list", elements="str", default=[]),
                certificate=dict(type="str"),
                key=dict(type="str", no_log=True),
            )),
        ),
        supports_check_mode=True,
    )
    params, keeper, requests = module.params, Keeper(module), []
    # Under check mode a new host lacks the library, the group, or (on the control node) the authority.
    fresh = module.check_mode and (x509 is None or not params["authority"])
    if not fresh and x509 is None and params["pairs"]:
        module.fail_json(msg="python3-cryptography is missing on the host")

    keeper.folder(params["path"])
    keeper.write(os.path.join(params["path"], "ca.pem"), params["authority"].strip().encode() + b"\n")
    authority = None if fresh or not params["pairs"] else x509.load_pem_x509_certificate(params["authority"].encode())

    for pair in params["pairs"]:
        folder = os.path.join(params["path"], pair["name"])
        key_file, certificate_file = os.path.join(folder, "privkey.pem"), os.path.join(folder, "fullchain.pem")
        keeper.folder(folder)
        if pair["certificate"] is not None:
            keeper.write(key_file, pair["key"].strip().encode() + b"\n", params["group"], "0640")
            keeper.write(certificate_file, pair["certificate"].strip().encode() + b"\n")
            continue
        if fresh:
            keeper.changed = True
            requests.append({"name": pair["name"], "csr": "", "reason": "the host is new"})
            continue
        try:
            pem = keeper.read(key_file)
            key = serialization.load_pem_private_key(pem, None)
        except (TypeError, ValueError):
            key = new_key()
            pem = key_pem(key)
        keeper.write(key_file, pem, params["group"], "0640")
        reason = fault(pair, keeper.read(certificate_file), key, authority, params["renew_days"])
        if reason:
            keeper.changed = True
            keeper.files.append(certificate_file)
            requests.append({
                "name": pair["name"], "reason": reason,
                "csr": "" if module.check_mode else signing_request(pair, key)})
        else:
            keeper.attributes(certificate_file, "root", "0644")

    module.exit_json(
        changed=keeper.changed, requests=requests, files=keeper.files,
        diff={"before": "", "after": "".join("{}: {}\n".format(r["name"], r["reason"]) for r in requests)})


if __name__ == "__main__":
    main()
