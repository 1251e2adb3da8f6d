"""The drawing is read right, and a wrong one is refused in words that help."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from conftest import ROOT, load_yaml

GROUPS = {
    "all": ["web1", "web2", "db1"],
    "ungrouped": [],
    "gateway": ["web1"],
    "app": ["web1", "web2"],
    "db": ["db1"],
}
HOSTVARS = {
    "web1": {"ansible_host": "10.0.0.1"},
    "web2": {"ansible_host": "web2.example.test", "appliance_addresses": ["10.0.0.2", "fd00::2"]},
    "db1": {"ansible_host": "10.0.0.9"},
}
NETWORKS = {"operators": ["192.0.2.0/24"]}


def rules(drawing, flows, host):
    """Rules of one host."""
    return drawing.appliance_rules(flows, host, GROUPS, HOSTVARS, NETWORKS)


def test_arrow_opens_its_port_to_its_sources_only(drawing):
    """The firewall is nothing but the arrows."""
    flows = [{"from": "app", "to": "db", "ports": [5432]}]
    assert rules(drawing, flows, "db1") == [
        {
            "name": "app to db",
            "protocol": "tcp",
            "ports": [5432],
            "sources": ["10.0.0.1/32", "10.0.0.2/32", "fd00::2/128"],
        }
    ]
    assert rules(drawing, flows, "web1") == []


def test_arrow_within_one_host_opens_nothing(drawing):
    """Loopback and unix sockets need no port."""
    flows = [{"from": "gateway", "to": "app", "ports": [8443]}]
    assert rules(drawing, flows, "web1") == []
    assert rules(drawing, flows, "web2")[0]["sources"] == ["10.0.0.1/32"]


def test_world_and_named_networks_are_sources(drawing):
    """An arrow may start outside the inventory."""
    flows = [{"from": "world", "to": "gateway", "ports": [443]}, {"from": "operators", "to": "all", "ports": [22]}]
    assert [rule["sources"] for rule in rules(drawing, flows, "web1")] == [["world"], ["192.0.2.0/24"]]


def test_clients_include_the_host_itself(drawing):
    """A database on the app's own host is reached by the host's own address."""
    flows = [{"from": "all", "to": "db", "ports": [5432]}]
    assert "10.0.0.9/32" in drawing.appliance_clients(flows, 5432, "db1", GROUPS, HOSTVARS, NETWORKS)
    assert "10.0.0.9/32" not in drawing.appliance_clients(flows, 5432, "db1", GROUPS, HOSTVARS, NETWORKS, itself=False)


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        ({"from": "gatewy", "to": "app", "ports": [1]}, ["appliance_flows[0].from", "gatewy", "Did you mean gateway?"]),
        ({"from": "app", "to": "operators", "ports": [1]}, ["appliance_flows[0].to", "operators"]),
        ({"from": "app", "to": "db", "ports": [70000]}, ["appliance_flows[0].ports", "70000"]),
        ({"from": "app", "to": "db"}, ["ports is missing"]),
        ({"from": "app", "to": "db", "ports": [1], "proto": "udp"}, ["unknown key proto"]),
        ({"from": "app", "to": "db", "ports": [1], "protocol": "sctp"}, ["protocol", "sctp"]),
    ],
)
def test_wrong_arrow_is_refused_by_name(drawing, flow, words):
    """The message must lead to the line of the inventory."""
    with pytest.raises(AnsibleFilterError) as caught:
        drawing.appliance_flows([flow], GROUPS, NETWORKS)
    assert all(word in str(caught.value) for word in words)


def test_host_known_by_name_only_is_refused(drawing):
    """A firewall that depends on DNS fails when DNS does."""
    with pytest.raises(AnsibleFilterError, match="appliance_addresses"):
        drawing.appliance_addresses("x", {"x": {"ansible_host": "x.example.test"}})


def test_second_database_host_is_refused(drawing):
    """It would stay empty, and nobody would know."""
    groups = {**GROUPS, "db": ["db1", "web2"]}
    assert any("group db has 2 hosts" in one for one in drawing.appliance_drawing_problems([], groups, HOSTVARS, NETWORKS))
    assert drawing.appliance_drawing_problems([], GROUPS, HOSTVARS, NETWORKS) == []


DEFAULTS = load_yaml(ROOT / "roles/django_app/defaults/main.yml")["django_app_defaults"]
SPEC = load_yaml(ROOT / "roles/django_app/meta/argument_specs.yml")
GOOD = {"source": {"path": "x"}, "domains": ["shop.example.test"]}


def problems(drawing, apps, groups=None):
    """What is said about apps, schema and rules together."""
    resolved = drawing.appliance_apps_resolved(apps, DEFAULTS)
    return drawing.appliance_contract_problems(resolved, SPEC) + drawing.appliance_app_problems(
        resolved, groups or {"app": ["a"], "db": ["b"], "cache": ["a"]}
    )


def test_small_app_is_complete(drawing):
    """Two keys are enough for a project that follows Django's habits."""
    assert problems(drawing, {"shop": GOOD}) == []


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("shop", {"domains": []}, "appliance_apps.shop.domains: missing"),
        ("shop", {"domains": ["Shop.Example"]}, "is no host name"),
        ("shop", {"sorce": {}}, "appliance_apps.shop.sorce: unknown key. Did you mean source?"),
        ("shop", {"limits": {"body": 3}}, "appliance_apps.shop.limits.body: unknown key"),
        ("shop", {"limits": {"body_mb": "many"}}, "appliance_apps.shop"),
        ("shop", {"source": {}}, "appliance_apps.shop.source"),
        ("shop", {"source": {"git": "ssh://x"}}, "appliance_apps.shop.source.version"),
        ("postgres", {}, "name of a system account"),
        ("My-Shop", {}, "lower-case letters"),
        ("shop", {"redirects": ["shop.example.test"]}, "belongs to one app"),
    ],
)
def test_wrong_app_is_refused_by_name(drawing, name, change, words):
    """Each message names the variable and what to type."""
    assert any(words in one for one in problems(drawing, {name: {**GOOD, **change}}))


def test_uploads_on_two_app_hosts_are_refused(drawing):
    """Half of the visitors would not see a picture."""
    found = problems(drawing, {"shop": GOOD}, {"app": ["a", "b"], "db": ["c"]})
    assert any("appliance_apps.shop.media" in one for one in found)


def test_redis_without_a_cache_box_is_refused(drawing):
    """Nothing would listen."""
    found = problems(drawing, {"shop": {**GOOD, "redis": {"cache": True}}}, {"app": ["a"], "db": ["b"]})
    assert any("appliance_apps.shop.redis" in one for one in found)


def test_secrets_are_complete_and_fingerprints_do_not_tell_them(drawing):
    """A host remembers that it was given a secret, not the secret."""
    apps = drawing.appliance_apps_resolved({"shop": {**GOOD, "secrets": {"API_KEY": {"generate": 20}, "FIXED": {"value": "x"}}}}, DEFAULTS)
    names = [one["name"] for one in drawing.appliance_secret_names(apps, True)]
    assert {
        "ca_private_key",
        "redis_admin_password",
        "shop_database_password",
        "shop_secret_key",
        "shop_api_key",
    } <= set(names)
    assert "shop_fixed" not in names
    prints = drawing.appliance_fingerprints({"shop_secret_key": "hush"}, "web1")
    assert "hush" not in str(prints)
    assert prints != drawing.appliance_fingerprints({"shop_secret_key": "hush"}, "db1")


def test_lost_secret_is_told(drawing, tmp_path):
    """A second operator without the folder must not generate new ones."""
    needed = [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "new"}]
    (tmp_path / "b").write_text("x")
    known = {"a": "1", "b": "2", "c": "3", "of an app long gone": "4"}
    assert drawing.appliance_secrets_lost(known, needed, {"c": "given"}, str(tmp_path)) == ["a"]


def test_database_url_survives_odd_characters(drawing):
    """A password may hold anything."""
    url = drawing.appliance_database_url(
        {
            "host": "fd00::1",
            "port": 5432,
            "name": "n",
            "user": "u",
            "password": "p@/:?#%",
            "options": {"sslmode": "verify-full", "sslrootcert": ""},
        }
    )
    assert url == "postgres://u:p%40%2F%3A%3F%23%25@[fd00::1]:5432/n?sslmode=verify-full"


@pytest.mark.parametrize(("requires", "fits"), [(">=3.11", True), (">=3.14", False), ("", True), (None, True)])
def test_python_of_the_host_must_fit(drawing, requires, fits):
    """pip would find out in the middle of a release."""
    assert (drawing.appliance_python_problems({"shop": {"requires_python": requires}}, "3.13.5") == []) is fits


def test_small_or_foreign_host_is_refused(drawing):
    """Before anything is installed on it."""
    facts = {"distribution": "Ubuntu", "distribution_major_version": "24", "memtotal_mb": 400}
    disks = "Avail Mounted on\n    5 /\n 9999 /srv\n    5 /\n"
    found = drawing.appliance_host_problems(facts, disks, {"Debian": ["13"]}, 900, 2000)
    assert len(found) == 3
    assert "Ubuntu 24" in found[0]
    assert "appliance_minimum_memory_mb" in found[1]
    assert "/ has 5 MB free" in found[2]


NEEDS = [{"from": "app", "to": "db", "ports": [5432]}, {"from": "gateway", "to": "app", "ports": [8443]}]


@pytest.mark.parametrize(
    ("flows", "words"),
    [(NEEDS, None), (NEEDS[:1], "add {from: gateway, to: app, ports: [8443]}"), (NEEDS[1:], "add {from: app, to: db, ports: [5432]}")],
)
def test_arrow_that_the_drawing_needs_is_asked_for(drawing, flows, words):
    """Without it the run would end in a time-out that does not name the drawing."""
    apps = drawing.appliance_apps_resolved({"shop": GOOD}, DEFAULTS)
    found = drawing.appliance_missing_arrows(flows, apps, GROUPS, NETWORKS, 8443)
    assert len(found) == bool(words)
    assert not words or words in found[0]


def test_misspelt_secret_is_refused(drawing):
    """Else one would be generated in its place."""
    found = drawing.appliance_unknown_secrets({"shop_databse_password": "x"}, [{"name": "shop_database_password"}])
    assert "Did you mean shop_database_password?" in found[0]


def test_certificate_for_what_is_no_app_is_refused(drawing):
    """Else it would be left lying, and the private authority's served; or clients inside, which trust only that one, would break."""
    found = drawing.appliance_unknown_certificates({"shpo": {}, "postgresql": {}, "shop": {}}, {"shop": {}})
    assert len(found) == 2
    assert "Did you mean shop?" in found[0]
    assert found[1].startswith("appliance_certificates.postgresql: no app has this name")


def test_other_secret_than_the_host_knows_is_told_unless_replaced_on_purpose(drawing):
    """Two control nodes must not take turns in changing all passwords."""
    known = drawing.appliance_fingerprints({"a": "1", "b": "2"}, "web1")
    current = drawing.appliance_fingerprints({"a": "1", "b": "other", "new": "3"}, "web1")
    assert drawing.appliance_secrets_changed(known, current, []) == ["b"]
    assert drawing.appliance_secrets_changed(known, current, ["b"]) == []


def test_somebodys_account_is_not_taken_over(drawing):
    """It would lose its shell, its password and its home."""
    ours, theirs = "shop:x:999:999::/var/lib/shop:/usr/sbin/nologin", "ops:x:1000:1000:Ops:/home/ops:/bin/bash"
    assert drawing.appliance_account_problems(ours) == []
    assert "appliance_apps.ops: the host has an account ops" in drawing.appliance_account_problems(f"{ours}\n{theirs}")[0]
