"""Each key pair fits its authority and its names, and no key lies where it does not belong."""

from __future__ import annotations

import pytest

FOLDER = "/etc/appliance/tls"


@pytest.fixture
def pairs(machine):
    """Folders of the host's key pairs."""
    return machine.run(f"find {FOLDER} -mindepth 1 -type d").split()


def test_private_keys_are_for_root_and_their_group_only(machine, pairs):
    """Services that need one are members of Debian's group for it."""
    assert machine.run(f"find {FOLDER} -name privkey.pem -user root -group ssl-cert -perm 0640 | wc -l") == str(len(pairs))


def test_certificate_belongs_to_its_key(machine, pairs):
    """What a run that was killed between the two would break."""
    for pair in pairs:
        of_key = machine.run(f"openssl pkey -in {pair}/privkey.pem -pubout")
        assert machine.run(f"openssl x509 -in {pair}/fullchain.pem -noout -pubkey") == of_key, pair


def test_certificate_is_signed_by_the_authority_of_the_appliance(machine, pairs):
    """As a server's, for it would not be accepted as anything else."""
    for pair in pairs:
        assert machine.run(f"openssl verify -CAfile {FOLDER}/ca.pem -purpose sslserver {pair}/fullchain.pem").endswith(": OK")


def test_certificate_is_valid_for_a_month_and_less_than_browsers_refuse(machine, pairs):
    """Renewed under 30 days; browsers refuse more than 398."""
    for pair in pairs:
        machine.run(f"openssl x509 -in {pair}/fullchain.pem -noout -checkend {30 * 86400}")
        assert "will expire" in machine.run(f"openssl x509 -in {pair}/fullchain.pem -noout -checkend {398 * 86400} || true")


def test_database_certificate_names_its_address(machine, pairs):
    """Clients verify it in full, by the address that the inventory gives."""
    if f"{FOLDER}/postgresql" not in pairs:
        pytest.skip("no database on this host")
    address = machine.variables["ansible_host"]
    verify = f"openssl verify -CAfile {FOLDER}/ca.pem -verify_ip {{}} {FOLDER}/postgresql/fullchain.pem"
    assert machine.run(verify.format(address)).endswith(": OK")
    assert "IP address mismatch" in machine.run(verify.format("203.0.113.1") + " 2>&1 || true")


def test_authority_cannot_make_another_authority(machine):
    """A stolen server key must not sign for others."""
    assert "CA:TRUE, pathlen:0" in machine.run(f"openssl x509 -in {FOLDER}/ca.pem -noout -ext basicConstraints")


def test_authority_key_is_on_no_host(machine, secrets):
    """It is the one secret that can forge all the others' names; root's own files are searched too."""
    needle = secrets["ca_private_key"].splitlines()[1]
    search = "f=$(mktemp /run/needle.XXXXXX); cat > $f; grep -raFlf $f /etc /root /home /srv /tmp /var --exclude-dir=lib; rm -f $f"
    assert machine.run(search, input=needle + "\n", check=False) == ""
    hidden = "/root/hidden-on-purpose"  # the twin: the search finds what is there
    try:
        assert machine.run(f"cat > {hidden}; grep -c . {hidden}", input="find-me-if-you-can\n") == "1"
        assert machine.run(search, input="find-me-if-you-can\n") == hidden
    finally:
        machine.run(f"rm -f {hidden}")
