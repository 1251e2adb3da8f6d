"""A database server that somebody else runs is checked, then used; the appliance never touches it."""

from __future__ import annotations

import pytest
import yaml
from authorities import Authority
from site_in_lab import changes

SERVER = r"""
set -e
apt-get install -y -q --no-install-recommends postgresql openssl >/dev/null 2>&1
cd /etc/postgresql/17/main
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=Other team CA' -keyout ca.key -out ca.crt 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj '/CN=legacy1' -keyout server.key -out server.csr 2>/dev/null
printf 'subjectAltName=IP:192.168.50.22' > names
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -days 30 -extfile names -out server.crt 2>/dev/null
chown postgres server.key; chmod 600 server.key
printf "listen_addresses = '*'\nssl_cert_file = '/etc/postgresql/17/main/server.crt'\n" > conf.d/legacy.conf
printf "ssl_key_file = '/etc/postgresql/17/main/server.key'\n" >> conf.d/legacy.conf
echo 'hostssl larkfield larkfield 192.168.50.21/32 scram-sha-256' >> pg_hba.conf
systemctl restart postgresql
cd /
psql="runuser -u postgres -- psql -q"
echo "CREATE ROLE larkfield LOGIN PASSWORD 'chosen-by-the-other-team'" | $psql
echo "CREATE DATABASE larkfield OWNER larkfield" | $psql
cat /etc/postgresql/17/main/ca.crt
"""


@pytest.fixture(scope="module")
def site(raise_site, copy_of, tmp_path_factory):
    """Web server of ours, database server of theirs."""
    ca = tmp_path_factory.mktemp("legacy") / "ca.crt"
    site = raise_site(copy_of("tests/inventories/external", "external"), env={"LEGACY_CA": str(ca)})
    said = site.on("legacy1", SERVER)
    ca.write_text(said[said.index("-----BEGIN") :])
    return site


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"port": 5433}, ["external.port: web1 could not use 192.168.50.22:5433", "type the port on which the server listens"]),
        ({"host": "legacy.invalid"}, ["external.host: web1 could not use", "type a name that this host can resolve"]),
        ({"ca": "stranger.crt"}, ["external.ca: web1 could not use", "the file of the authority that signed"]),
        ({"port": 22}, ["external.port: web1 could not use", "type the port of PostgreSQL itself"]),
    ],
    ids=["port", "name", "authority", "something else"],
)
def test_server_that_is_not_found_is_refused_before_any_change(site, tmp_path, wrong, words):
    """From a host on which nothing was installed yet."""
    app = yaml.safe_load((site.inventory / "group_vars/all/main.yml").read_text())["appliance_apps"]["shop"]
    external = {**app["database"]["external"], "ca": site.env["LEGACY_CA"], **wrong}
    if wrong.get("ca"):
        external["ca"] = str(tmp_path / wrong["ca"])
        (tmp_path / wrong["ca"]).write_text(Authority("Stranger").pem)
    text = site.refuses({"appliance_apps": {"shop": {**app, "database": {"external": external}}}})
    for word in words:
        assert word in text


def test_server_that_cannot_be_used_is_refused_by_name(site):
    """Before the app's release is made."""
    site.on("legacy1", "echo 'ALTER ROLE larkfield NOLOGIN' | runuser -u postgres -- psql -q")
    try:
        done = site.play(check=False)
    finally:
        site.on("legacy1", "echo 'ALTER ROLE larkfield LOGIN' | runuser -u postgres -- psql -q")
    assert done.returncode != 0
    assert "appliance_apps.shop.database.external" in done.stdout, done.stdout[-3000:]
    assert "chosen-by-the-other-team" not in done.stdout


def test_site_runs_on_it_and_is_proven(site):
    """TLS is verified against their authority."""
    site.play()
    assert site.get("shop.example.test", "/catalog/").status == 200
    site.play("playbooks/verify.yml")
    assert set(changes(site.play()).values()) == {0}
