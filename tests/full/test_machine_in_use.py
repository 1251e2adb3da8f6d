"""A machine that already does something else is taken over step by step, each only when told; then what is ours is kept up on it."""

from __future__ import annotations

import datetime
import re
import ssl
import subprocess
import sys
import time

import pytest
from authorities import Authority, pem, sign
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from site_in_lab import ROOT, changes

HOST, ADDRESS, SITE = "all1", "192.168.30.21", "shop.example.test"

#: What somebody runs there. The last is a program of their own, on a port that no arrow names.
THEIRS = r"""
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -q --no-install-recommends chrony curl nginx redis-server postgresql >/dev/null 2>&1
echo 'server 192.0.2.123' >> /etc/chrony/chrony.conf
echo 'server { listen 8081; return 200 "their site"; }' > /etc/nginx/conf.d/theirs.conf
systemctl restart nginx redis-server
redis-cli set theirs 1 >/dev/null
runuser -u postgres -- psql -q -c 'CREATE DATABASE theirs' -c '\c theirs' -c 'CREATE TABLE kept AS SELECT 7 AS number'
systemd-run -q --unit=theirs python3 -c "
import socket, time
server = socket.create_server(('', 9000))
taken = server.accept()
time.sleep(3000)"
"""

#: Somebody outside who uses that program.
CUSTOMER = f"""
import socket, time
connection = socket.create_connection(('{ADDRESS}', 9000))
print(connection.getsockname()[0], flush=True)
time.sleep(3000)
"""

#: In the order of the roles: what stops the run, and the variable that lets it go on.
IN_USE = {
    "clock": (["/etc/chrony/chrony.conf", "base_chrony_takeover: true"], {"base_chrony_takeover": True}),
    "connection": (["on port 9000 (1)", 'firewall_accept_connections: ["{outsider}"]'], {"firewall_accept_connections": ["{outsider}"]}),
    "nginx": (["/etc/nginx/conf.d/theirs.conf", "gateway_takeover: true"], {"gateway_takeover": True}),
    "redis": (["redis-server.service", "redis_takeover: true"], {"redis_takeover": True}),
    "database": (["databases that the appliance did not make", "postgresql_takeover: true"], {"postgresql_takeover": True}),
}


@pytest.fixture(scope="module")
def site(raise_site, copy_of):
    """One machine for everything, in use."""
    site = raise_site(copy_of("tests/inventories/single", "in_use"))
    site.on(HOST, THEIRS)
    return site


@pytest.fixture(scope="module")
def outsider(site):
    """Their customer, connected for as long as the tests run; the address it has there."""
    command = [sys.executable, "molecule/lab", "exec", "--from", "outsider", str(site.inventory), "python3", "-c", CUSTOMER]
    customer = subprocess.Popen(command, cwd=ROOT, env=site.env, text=True, stdout=subprocess.PIPE)
    yield customer.stdout.readline().strip()
    customer.kill()
    customer.wait()


def accepted(outsider, before=None):
    """The variables that let a run pass, all or those that come before a step."""
    steps = list(IN_USE)
    variables = {}
    for step in steps[: steps.index(before)] if before else steps:
        variables |= IN_USE[step][1]
    if "firewall_accept_connections" in variables:
        variables["firewall_accept_connections"] = [outsider]
    return variables


@pytest.mark.parametrize("step", IN_USE)
def test_what_is_in_use_stops_the_run(site, outsider, step):
    """Before any change, with the name of the thing and the line to type."""
    text = site.refuses(accepted(outsider, before=step))
    for word in IN_USE[step][0]:
        assert word.format(outsider=outsider) in text


def test_refusals_left_everything_as_it_was(site, outsider):
    """Their site, data and customer."""
    look = "curl -s localhost:8081; redis-cli get theirs; runuser -u postgres -- psql -qtA theirs -c 'SELECT number FROM kept'"
    assert site.on(HOST, look).split() == ["their", "site1", "7"]
    assert outsider in site.on(HOST, "ss -Htn state established '( sport = 9000 )'")
    assert "192.0.2.123" in site.on(HOST, "cat /etc/chrony/chrony.conf")


def test_accepted_it_is_taken_over(site, outsider):
    """A cluster without checksums has to get them first, by the command that the refusal prints."""
    said = site.refuses(accepted(outsider))
    assert "has no data checksums" in said
    command = re.search(r"Enable them: (.+?systemctl start \S+?)\. If", said)[1]
    site.on(HOST, command)
    with site.told(accepted(outsider)):
        site.play()
    assert site.get(SITE, "/catalog/").status == 200


def test_their_data_is_kept_and_their_doors_are_shut(site, outsider):
    """Taken over is not thrown away."""
    assert site.on(HOST, "runuser -u postgres -- psql -qtA theirs -c 'SELECT number FROM kept'").strip() == "7"
    assert site.on(HOST, "redis-cli ping 2>&1; ls /var/lib/redis/dump.rdb", check=False).endswith("dump.rdb\n")
    assert site.on(HOST, "systemctl is-enabled redis-server", check=False).strip() == "masked"
    assert "their site" not in site.on(HOST, "curl -s localhost:8081", check=False)
    assert "192.0.2.123" not in site.on(HOST, "cat /etc/chrony/chrony.conf")
    knock = f"import socket; socket.create_connection(('{ADDRESS}', 9000), timeout=3)"
    assert "timed out" in site.lab("exec", "--from", "outsider", "python3", "-c", knock, check=False).stderr


def test_what_is_ours_needs_no_leave_any_more(site):
    """The variables may go again, and nothing changes."""
    assert set(changes(site.play()).values()) == {0}


# -- Certificates that somebody else issued

#: What a run without the app's role does; the services whose certificates they are must be in it.
CERTIFICATES = ["site.yml", "--tags", "certificates,postgresql,redis,gateway"]

COMPANY = Authority("Company root")
SERVERS = Authority("Company servers", issuer=COMPANY)
NAMES = [SITE, f"www.{SITE}"]


@pytest.fixture
def provided(tmp_path):
    """Writes files, returns the inventory's variables: provided(certificate, key, chain)."""

    def write(certificate, key, chain=SERVERS.pem + COMPANY.pem):
        files = {}
        for name, text in {"certificate": certificate, "key": key, "chain": chain}.items():
            files[name] = str(tmp_path / f"{name}.pem")
            if text is not None:
                (tmp_path / f"{name}.pem").write_text(text)
        return {"appliance_certificates": {"shop": files}}

    return write


def served(site):
    """The certificate at the front door, and whether the company's root alone vouches for it."""
    context = ssl.create_default_context(cadata=COMPANY.pem)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        with context.wrap_socket(site.dial(), server_hostname=SITE) as door:
            return door.getpeercert(binary_form=True), True
    except ssl.SSLCertVerificationError:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(site.dial(), server_hostname=SITE) as door:
            return door.getpeercert(binary_form=True), False


def lives(site):
    """Processes that must outlive a renewal."""
    pids = "cat /run/nginx.pid; head -n 1 /run/postgresql/17-main.pid; systemctl show -P MainPID redis-server@cache"
    return site.on(HOST, pids).split()


@pytest.mark.parametrize(
    ("names", "days", "other_key", "chain", "words"),
    [
        (NAMES, 90, True, SERVERS.pem + COMPANY.pem, ["appliance_certificates.shop.key", "does not belong to"]),
        ([SITE], 90, False, SERVERS.pem + COMPANY.pem, ["appliance_certificates.shop.certificate", f"lacks the name www.{SITE}"]),
        (NAMES, -1, False, SERVERS.pem + COMPANY.pem, ["appliance_certificates.shop.certificate", "expired on"]),
        (NAMES, 90, False, COMPANY.pem, ["appliance_certificates.shop.chain", "the chain breaks at"]),
        (NAMES, 90, False, "", ["appliance_certificates.shop.chain", "the chain ends at"]),
        (NAMES, 90, False, None, ["appliance_certificates.shop.chain", "cannot be read; type its absolute path"]),
    ],
    ids=["wrong key", "name", "expired", "broken chain", "short chain", "unreadable"],
)
def test_provided_certificate_that_cannot_serve_is_refused(site, provided, names, days, other_key, chain, words):
    """By variable and file, before any change."""
    certificate, key = SERVERS.issue(*names, days=days)
    text = site.refuses(provided(certificate, SERVERS.issue(*names)[1] if other_key else key, chain))
    for word in words:
        assert word in text


def test_provided_certificate_is_served_with_its_chain(site, provided):
    """A browser that knows the company's root needs nothing else; taken back, ours returns."""
    assert served(site)[1] is False
    certificate, key = SERVERS.issue(*NAMES)
    before = lives(site)
    with site.told(provided(certificate, key)):
        done = site.play(*CERTIFICATES, "-v", "--diff")
        assert key.splitlines()[1] not in done.stdout
        assert served(site) == (ssl.PEM_cert_to_DER_cert(certificate), True)
        assert set(changes(site.play(*CERTIFICATES)).values()) == {0}
    site.play(*CERTIFICATES)
    assert served(site)[1] is False
    assert site.get(SITE).status == 200
    assert lives(site) == before


# -- Renewal


def days_left(der):
    """For how long a certificate is valid."""
    return (x509.load_der_x509_certificate(der).not_valid_after_utc - datetime.datetime.now(datetime.UTC)).days


def age(site, name, days):
    """Sign a host's certificate anew as if it had been made long ago; its key stays on the host."""
    file = f"/etc/appliance/tls/{name}/fullchain.pem"
    old = x509.load_pem_x509_certificate(site.on(HOST, f"cat {file}").encode())
    authority = x509.load_pem_x509_certificate((site.secrets / "ca.crt").read_bytes())
    key = serialization.load_pem_private_key((site.secrets / "ca_private_key").read_bytes(), None)
    names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    site.on(HOST, f"cat > {file}", input=pem(sign(old.subject, old.public_key(), authority.subject, key, days=days, names=list(names))))


def of_database(site):
    """The certificate that PostgreSQL shows."""
    show = f"openssl s_client -starttls postgres -connect {ADDRESS}:5432 </dev/null 2>/dev/null | openssl x509"
    return ssl.PEM_cert_to_DER_cert(site.on(HOST, show))


@pytest.mark.parametrize(("days", "renewed"), [(29, True), (32, False)])
def test_certificate_is_renewed_under_30_days_and_not_before(site, days, renewed):
    """By a plain run; what serves is the new one, and no service was restarted for it."""
    before = lives(site)
    for name in ("shop", "postgresql"):
        age(site, name, days)
    site.play(*CERTIFICATES)
    for shown in (served(site)[0], of_database(site)):
        assert (days_left(shown) > 300) is renewed, days_left(shown)
    assert site.get(SITE).status == 200
    assert lives(site) == before
    assert set(changes(site.play(*CERTIFICATES)).values()) == {0}


# -- Mirrors, and the clock


def test_mirrors_reach_apt_and_pip(site):
    """As the programs themselves read it: no other source is left. The one at hand plays the mirror."""
    settings = "/srv/shop/current/venv/bin/pip config list"
    ask = "apt-get indextargets --format '$(SITE) $(RELEASE)' | sort -u"
    security = {line.split()[0] for line in site.on(HOST, ask).splitlines() if line.endswith("-security")}
    main = {line.split()[0] for line in site.on(HOST, ask).splitlines() if not line.endswith("-security")}
    mirror, other, index = main.pop(), security.pop(), "https://index.example.test/simple"
    with site.told({"base_apt_mirror": mirror, "base_apt_security_mirror": other, "base_pip_index_url": index}):
        site.play("site.yml", "--tags", "base")
        assert {line.split()[0] for line in site.on(HOST, ask).splitlines()} == {mirror, other}
        assert site.on(HOST, "cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | grep ^deb", check=False) == ""
        assert f"global.index-url='{index}'" in site.on(HOST, settings)
        assert set(changes(site.play("site.yml", "--tags", "base")).values()) == {0}
    with site.told({"base_apt_mirror": mirror.replace("://", "://no-such-mirror.")}):
        assert site.play("site.yml", "--tags", "base", check=False).returncode != 0
    with site.told({"base_apt_mirror": mirror, "base_apt_security_mirror": other}):
        site.play("site.yml", "--tags", "base")
    assert "index-url" not in site.on(HOST, settings)


def test_clock_that_was_stopped_is_started(site):
    """In the lab it may not set the time, so it is told not to try."""
    site.on(HOST, "mkdir -p /etc/systemd/system/chrony.service.d /run/systemd/system && printf '[Unit]\nConditionCapability=\n'"
                  " > /etc/systemd/system/chrony.service.d/lab.conf && echo 'DAEMON_OPTS=\"-x -F 1\"' > /etc/default/chrony"
                  " && systemctl daemon-reload && systemctl restart chrony && systemctl stop chrony")  # fmt: skip
    assert set(changes(site.play("site.yml", "--tags", "base")).values()) == {1}
    time.sleep(1)
    assert site.on(HOST, "systemctl is-active chrony").strip() == "active"
    assert set(changes(site.play("site.yml", "--tags", "base")).values()) == {0}
