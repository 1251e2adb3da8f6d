"""The database lets in the app, by TLS and with its password, to its own database; nobody else, and no other way."""

from __future__ import annotations

import json

import pytest

DATABASE, APP = "db1", "web1"
UNIT = "postgresql@17-main"
#: Speaks PostgreSQL's protocol through the app's own driver; what it is told comes by standard input, a password among it.
CONNECT = "$(ls -d /srv/shop/releases/*/venv/bin/python | head -n 1) -c 'import json, sys, psycopg; {}'"
ATTEMPT = CONNECT.format(
    'asked = json.load(sys.stdin); query = asked.pop("query"); '
    'print(json.dumps(psycopg.connect(connect_timeout=5, **asked).execute(query).fetchone()))'
)  # fmt: skip


@pytest.fixture
def ask(site):
    """Ask the server as its superuser; the rows as text."""

    def ask(query, database="postgres"):
        return site.on(DATABASE, f"runuser -u postgres -- psql -XAtq -d {database} -f -", input=query).strip()

    return ask


@pytest.fixture
def connect(site, secrets):
    """Connect from the app's host as the app does, but for what is overridden; the first row, or what was said in its place."""

    def connect(query="SELECT 1", **overrides):
        asked = {
            "host": site.variables(DATABASE)["ansible_host"], "dbname": "shop", "user": "shop",
            "password": secrets["shop_database_password"],
            "sslmode": "verify-full", "sslrootcert": "/etc/appliance/tls/ca.pem", "query": query,
        }  # fmt: skip
        said = site.on(APP, ATTEMPT, check=False, input=json.dumps({**asked, **overrides}))
        return json.loads(said) if said.startswith("[") else said

    return connect


def test_app_is_let_in_by_tls(connect):
    """The twin of all refusals below."""
    assert connect("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [True]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"sslmode": "disable"}, "no encryption"),
        ({"password": "not-the-password"}, "password authentication failed"),
        ({"dbname": "postgres"}, "rejects connection"),
        ({"user": "postgres"}, "rejects connection"),
        ({"sslrootcert": "/etc/ssl/certs/ca-certificates.crt"}, "certificate verify failed"),
    ],
)
def test_app_is_refused(connect, overrides, said):
    """Without TLS, with another password, to another database, as the superuser; and it refuses a server it cannot verify."""
    assert said in connect(**overrides)


def test_address_that_is_no_client_is_refused(site):
    """The database's host itself is none here."""
    address = site.variables(DATABASE)["ansible_host"]
    said = site.on(DATABASE, f"psql 'host={address} user=shop dbname=shop sslmode=require connect_timeout=5' -c 'SELECT 1'", check=False)
    assert "rejects connection" in said


def test_every_rule_for_the_network_asks_for_tls_and_scram(ask):
    """One forgotten line would open the door."""
    rules = ask("SELECT type, auth_method, coalesce(error, '') FROM pg_hba_file_rules WHERE type <> 'local'").splitlines()
    assert len(rules) >= 2
    assert set(rules) == {"hostssl|scram-sha-256|", "host|reject|"}


def test_owner_has_no_power_over_the_server(ask):
    """Not superuser, nor anything that leads there."""
    query = """SELECT count(*) FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' AND rolname <> 'postgres'
               AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls
                    OR EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid))"""
    assert ask(query) == "0"


def test_no_app_may_enter_the_database_of_another(ask):
    """Asked for a role that was made a moment ago, which has what everybody has and no more."""
    name = "appliance_test_stranger"
    try:
        may = ask(f"""CREATE ROLE {name} LOGIN;
                      SELECT bool_or(has_database_privilege('{name}', oid, 'CONNECT')) FROM pg_database
                       WHERE datname NOT IN ('postgres', 'template0', 'template1')""")
    finally:
        ask(f"DROP ROLE IF EXISTS {name}")
    assert may == "f"


def test_owner_makes_tables_in_its_schema_and_others_do_not(ask):
    """What migrations need."""
    assert (
        ask("SELECT has_schema_privilege('shop', 'public', 'CREATE'), has_schema_privilege('public', 'public', 'USAGE')", "shop") == "t|f"
    )


def test_passwords_are_kept_as_scram_verifiers(ask):
    """An md5 hash can be used to log in as it is."""
    assert ask("SELECT count(*) FROM pg_authid WHERE rolpassword IS NOT NULL AND rolpassword NOT LIKE 'SCRAM-SHA-256$%'") == "0"


def test_cluster_notices_a_broken_disk_and_keeps_every_character(ask):
    """Both are decided when it is made."""
    assert ask("SHOW data_checksums") == "on"
    assert ask("SELECT DISTINCT pg_encoding_to_char(encoding), datlocale FROM pg_database") == "UTF8|C.UTF-8"


def test_server_listens_on_its_own_address_only(site):
    """Not on every interface, whatever the firewall says."""
    listening = site.on(DATABASE, "ss -Hltn sport = :5432").splitlines()
    assert [line.split()[3] for line in listening] == [f"{site.variables(DATABASE)['ansible_host']}:5432"]


@pytest.mark.parametrize(("version", "spoken"), [("tls1_1", False), ("tls1_2", True), ("tls1_3", True)])
def test_tls_versions(site, version, spoken):
    """Nothing older than 1.2."""
    address = site.variables(DATABASE)["ansible_host"]
    command = f"openssl s_client -starttls postgres -{version} -cipher DEFAULT@SECLEVEL=0 -connect {address}:5432 </dev/null"
    assert ("Cipher is TLS_" in (said := site.on(APP, command, check=False)) or "Cipher is ECDHE" in said) is spoken


def test_server_runs_with_what_its_files_say(ask):
    """A setting that waits for a restart, or a file with an error, would strike at the next boot."""
    assert ask("SELECT count(*) FROM pg_settings WHERE pending_restart") == "0"
    assert ask("SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL") == "0"
    assert ask("SELECT count(*) FROM pg_settings WHERE sourcefile LIKE '%/conf.d/appliance.conf'") >= "20"


def test_unit_is_sandboxed_and_comes_back(site):
    """The smaller the score, the less a break-in reaches."""
    assert float(site.on(DATABASE, f"systemd-analyze security --no-pager {UNIT}").rsplit("service: ", 1)[1].split()[0]) <= 3.0
    assert site.on(DATABASE, f"systemctl show -P Restart {UNIT}").strip() == "on-failure"
    assert site.on(DATABASE, f"systemd-analyze verify {UNIT}.service") == ""
