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
    found = drawing.appliance_unknown_certificates({"shpo": {}, "postgresql": {}, "shop": {}}, {"shop": GOOD})
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
    assert drawing.appliance_account_problems(ours, ["shop", "ops"]) == []
    assert "appliance_apps.ops: the host has an account ops" in drawing.appliance_account_problems(f"{ours}\n{theirs}", ["shop", "ops"])[0]


def test_app_that_the_inventory_forgot_is_not_left_to_itself(drawing):
    """It would run on, unpatched and unseen, or be served by nobody knows what."""
    found = drawing.appliance_account_problems("shop\nold\ngone", ["shop", "gone"])
    assert len(found) == 1
    assert "old: {state: absent}" in found[0]


def test_absent_app_needs_no_more_than_its_name(drawing):
    """Its contract may be gone with its source."""
    apps = {"shop": GOOD, "old": {"state": "absent"}}
    assert list(drawing.appliance_apps_resolved(apps, DEFAULTS)) == ["shop"]
    assert drawing.appliance_apps_absent(apps) == ["old"]
    assert "system account" in drawing.appliance_app_problems({}, {}, ["postgres"])[0]


def test_apps_share_a_domain_by_paths(drawing):
    """One certificate, that of the app at the root; URLs that were not stated lie under the path."""
    apps = {"blog": {**GOOD, "path": "/blog/", "media": {"url": "/pictures/"}}, "shop": GOOD}
    assert problems(drawing, apps) == []
    found = drawing.appliance_apps_resolved(apps, DEFAULTS)
    blog, shop = drawing.appliance_sites(found, True, [])
    assert (blog["path"], blog["static"]["url"], blog["media"]["url"]) == ("/blog/", "/blog/static/", "/pictures/")
    assert blog["certificate"] == shop["certificate"] == "shop"
    items = drawing.appliance_certificate_items("a", BOXES, found, [], {}, [])
    assert [item["name"] for item in items] == ["shop"]
    assert "with the certificate of shop" in drawing.appliance_unknown_certificates({"blog": {}}, found)[0]


def test_two_workers_do_not_listen_on_one_port(drawing):
    """The second would restart for ever; nor may one take a port of the appliance's own."""
    apps = {
        name: {**GOOD, "domains": [f"{name}.example.test"], "workers": {"push": {"command": "x", "listen": {"port": port}}}}
        for name, port in (("a", 8600), ("b", 8600), ("c", 8601), ("d", 443))
    }
    found = drawing.appliance_app_problems(drawing.appliance_apps_resolved(apps, DEFAULTS), BOXES)
    assert [one.partition(";")[0] for one in found] == [
        "appliance_apps.b.workers.push.listen.port: 8600 is used by appliance_apps.a.workers.push",
        "appliance_apps.d.workers.push.listen.port: 443 is used by the appliance",
    ]


@pytest.mark.parametrize(
    "other",
    [GOOD, {**GOOD, "path": "/"}, {**GOOD, "path": "/blog/", "domains": ["shop.example.test", "other.example.test"]}],
)
def test_one_domain_is_not_two_apps_at_the_same_place(drawing, other):
    """One of them would never be asked."""
    assert any("belongs to one app" in one for one in problems(drawing, {"shop": GOOD, "blog": other}))


CACHED = {"cache": {"mode": "tags"}}
REDIS, MEMCACHED = {"redis": {"cache": True}}, {"memcached": {"cache": True}}
BOXES = {"app": ["a"], "db": ["b"], "cache": ["a"], "gateway": ["a"]}


def cache_problems(drawing, change, backend="redis", groups=BOXES):
    """What is said about an app and the page cache."""
    return drawing.appliance_page_cache_problems(resolved(drawing, change), backend, groups)


def resolved(drawing, change):
    """One app with the contract's defaults beneath it."""
    return drawing.appliance_apps_resolved({"shop": {**GOOD, **change}}, DEFAULTS)


@pytest.mark.parametrize(
    ("backend", "groups", "words"),
    [("valkey", BOXES, "type redis, memcached or none"), ("redis", {**BOXES, "cache": []}, "group cache has no host"), ("none", {}, None)],
)
def test_store_that_cannot_be_is_refused_by_name(drawing, backend, groups, words):
    """Gateways would go on without it, and nobody would know."""
    found = cache_problems(drawing, CACHED, backend, groups)
    assert len(found) == bool(words)
    assert not words or words in found[0]


@pytest.mark.parametrize(("pattern", "refused"), [("pages:*", True), ("p*", True), ("pages:x", True), ("shop:*", False), ("pages", False)])
def test_app_cannot_have_the_gateways_keys(drawing, pattern, refused):
    """It could put pages of its own making before everybody's eyes."""
    found = cache_problems(drawing, {**CACHED, "redis": {"cache": True, "key_patterns": [pattern]}})
    assert bool(found) is refused


@pytest.mark.parametrize(
    ("name", "change", "groups", "words"),
    [
        ("shop", {**REDIS, **MEMCACHED}, BOXES, "both give the app its CACHE_URL"),
        ("shop", MEMCACHED, {**BOXES, "app": ["a", "c"]}, "c is not in group cache"),
        ("shop", MEMCACHED, {**BOXES, "cache": []}, "a is not in group cache"),
        ("a" * 22, MEMCACHED, BOXES, "too long"),
        ("pages", REDIS, BOXES, "name of a system account or unit"),
        ("shop", MEMCACHED, BOXES, None),
    ],
)
def test_memcached_that_cannot_be_is_refused_by_name(drawing, name, change, groups, words):
    """It serves whoever reaches it, so an app's instance has a socket of its own and nothing else."""
    found = problems(drawing, {name: {**GOOD, "media": {"served_by": "none"}, **change}}, groups)
    assert bool(found) is bool(words)
    assert not words or any(words in one for one in found)


def test_gateways_have_a_redis_user_for_their_keys_alone(drawing):
    """What reads and writes pages needs no more."""
    apps = resolved(drawing, {**CACHED, **REDIS})
    secrets = {"shop_redis_password": "x", "gateway_cache_password": "y"}
    assert [user["name"] for user in drawing.appliance_redis_users(apps, secrets)] == ["shop"]
    user = drawing.appliance_redis_users(apps, secrets, "redis")[-1]
    assert user == {
        "name": "gateway",
        "password": "y",
        "key_patterns": ["pages:*"],
        "instances": ["cache"],
        "commands": ["get", "set"],
    }


def test_page_cache_alone_wants_its_software_its_secret_and_its_arrow(drawing):
    """No app has to use Redis or Memcached for that."""
    apps = resolved(drawing, CACHED)
    ports, memory = {"cache": 6379, "queue": 6380}, {"cache": 100, "queue": 50}
    assert drawing.appliance_redis_instances(apps, memory, [], ports) == []
    assert [one["name"] for one in drawing.appliance_redis_instances(apps, memory, [], ports, "redis")] == ["cache"]
    assert "gateway_cache_password" in [one["name"] for one in drawing.appliance_secret_names(apps, True, "memcached")]
    assert "gateway_cache_password" not in [one["name"] for one in drawing.appliance_secret_names(apps, True)]
    groups = {**GROUPS, "cache": ["db1"]}
    for backend, port in (("redis", 6379), ("memcached", 11211)):
        found = drawing.appliance_missing_arrows(NEEDS, apps, groups, NETWORKS, 8443, backend)
        assert found == [f"appliance_flows: no arrow from gateway to cache, port {port}; add {{from: gateway, to: cache, ports: [{port}]}}"]


def test_nothing_is_shared_when_no_app_has_pages_to_keep(drawing):
    """Software that nobody asks for is surface for nothing."""
    assert drawing.appliance_page_cache(resolved(drawing, {}), "redis") == "none"
    assert drawing.appliance_page_cache(resolved(drawing, CACHED), "redis") == "redis"
    assert drawing.appliance_page_cache(resolved(drawing, CACHED), "valkey") == "none", "refused, but in words"


def test_whoever_uses_memcached_has_an_instance(drawing):
    """Page copies and an app's cache must not be writable by the other; only the gateways' may be on another host."""
    apps = drawing.appliance_apps_resolved(
        {"shop": {**GOOD, **MEMCACHED, **CACHED}, "notes": {**GOOD, **MEMCACHED}, "wiki": GOOD}, DEFAULTS
    )
    here = drawing.appliance_memcached_instances(apps, 100, {}, "memcached")
    assert here == [{"name": name, "memory_mb": 100} for name in ("shop", "notes", "pages")]
    remote = {"listen": ["10.0.0.1"], "port": 11211}
    there = drawing.appliance_memcached_instances(apps, 100, remote, "memcached")
    assert there[0] == {"name": "shop", "memory_mb": 100}
    assert there[-1] == {"name": "pages", "memory_mb": 100, **remote}


def test_site_with_a_page_cache_tells_the_gateway_how(drawing):
    """A site without one tells nothing."""
    assert "cache" not in drawing.appliance_sites(resolved(drawing, {}), True, [])[0]
    here = drawing.appliance_sites(resolved(drawing, CACHED), True, [])[0]
    assert here["cache"]["mode"] == "tags"
    assert here["feed"] == {"socket": "/run/shop/feed.sock"}
    assert drawing.appliance_sites(resolved(drawing, CACHED), False, ["10.0.0.2:8443"])[0]["feed"] == {}


@pytest.mark.parametrize(
    ("chosen", "names"),
    [("", ["shop", "blog"]), ([], ["shop", "blog"]), ("blog,", ["blog"]), ("blog shop", ["shop", "blog"]), (["blog"], ["blog"])],
)
def test_apps_are_chosen_by_list_or_text(drawing, chosen, names):
    """On a command line a list is awkward."""
    assert drawing.appliance_chosen({"shop": {}, "blog": {}}, chosen) == names


def test_unknown_app_is_refused_with_the_known_ones(drawing):
    """A misspelt name must not deploy nothing, silently."""
    assert drawing.appliance_chosen_problems({"shop": {}, "blog": {}}, "shop, blgo") == [
        "appliance_deploy: there is no app 'blgo'; known: blog, shop"
    ]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"app": "shop", "dmp": "x"}, "appliance_import.dmp: unknown key"),
        ({"app": "shoop", "dump": "x"}, "appliance_import.app: shoop is no app of the inventory; there are shop"),
        ({"app": "shop"}, "neither a dump nor media"),
        ({"app": "shop", "dump": "absent"}, "appliance_import.dump: there is no file"),
        ({"app": "shop", "media": "absent"}, "appliance_import.media: there is no folder"),
    ],
)
def test_import_of_what_is_not_there_is_refused(drawing, tmp_path, asked, message):
    """Before a file is copied or the app stopped."""
    assert [message in problem for problem in drawing.appliance_import_problems(asked, {"shop": {}}, tmp_path)] == [True]
