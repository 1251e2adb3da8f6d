"""Templates render offline as they would on a host: what is asked for is there, and what is not is absent."""

from __future__ import annotations

import re

import pytest

SITE = {
    "name": "shop",
    "domains": ["shop.example.test"],
    "redirects": ["www.shop.example.test"],
    "certificate": "shop",
    "static": {"url": "/static/", "directory": "/srv/shop/public/static"},
    "media": {"url": "/media/", "directory": "/srv/shop/media", "served_by": "gateway", "deny": ["private"]},
    "limits": {"body_mb": 7, "request_seconds": 40},
}
HERE = {"upstream": {"socket": "/run/shop/shop.sock"}}
THERE = {"upstream": {"addresses": ["10.0.0.5:8443"], "ca": "/etc/appliance/tls/ca.pem"}}


def nginx(render, site, **variables):
    """The gateway's whole configuration for one site."""
    return render("gateway", "nginx.conf.j2", gateway_sites=[{**SITE, **site}], **variables)


def test_gateway_speaks_to_an_app_beside_it_by_its_socket(render):
    """No port, no TLS, no cache of files that lie on the same disk."""
    text = nginx(render, HERE)
    assert "server unix:/run/shop/shop.sock;" in text
    assert "proxy_ssl_verify" not in text
    assert "proxy_cache_path" not in text


def test_gateway_checks_the_certificate_of_an_app_elsewhere(render):
    """Whoever took the address would else be believed."""
    remote = {key: {"url": SITE[key]["url"]} for key in ("static", "media")}
    text = nginx(render, {**THERE, **remote})
    assert "proxy_ssl_verify on;" in text
    assert "proxy_ssl_trusted_certificate /etc/appliance/tls/ca.pem;" in text


def test_origin_serves_gateways_only_and_redirects_nobody(render):
    """It has no door to the world."""
    text = nginx(render, HERE, gateway_origin=True, gateway_origin_clients=["10.0.0.1"])
    assert re.search(r"default 1;\s+10\.0\.0\.1 0;", text)
    assert "listen 8443 ssl" in text
    assert "listen 80" not in text
    assert "listen 80" in nginx(render, HERE)


@pytest.mark.parametrize(("port", "suffix"), [(443, ""), (8443, ":8443")])
def test_app_learns_the_port_of_its_url(render, port, suffix):
    """Links and the CSRF check need it, and a client's own word for it is not taken."""
    assert f"proxy_set_header Host $host{suffix};" in nginx(render, HERE, gateway_public_port=port)


def test_forwarding_headers_are_believed_from_named_proxies_only(render):
    """Else every client could state an address of its choice."""
    assert "set_real_ip_from" not in nginx(render, HERE)
    assert "set_real_ip_from 192.0.2.7;" in nginx(render, HERE, gateway_trusted_proxies=["192.0.2.7"])


def test_limits_of_the_contract_reach_nginx(render):
    """One number for nginx, WAF and server."""
    text = nginx(render, HERE)
    assert "client_max_body_size 7m;" in text
    assert "proxy_read_timeout 45s;" in text


def test_denied_media_folder_is_refused(render):
    """Contract: media.deny."""
    assert re.search(r"if \(\$uri ~ \"[^\"]*private\(/\|\$\)\"\)", nginx(render, HERE))


def test_ipv6_can_be_left_out(render):
    """Some machines have it switched off, and nginx would not start."""
    assert "[::]" in nginx(render, HERE)
    assert "[::]" not in nginx(render, HERE, gateway_ipv6=False)


def test_firewall_has_a_rule_for_each_family_of_an_arrow(render):
    """One rule cannot hold addresses of both."""
    rule = {"name": "app to db", "protocol": "tcp", "ports": [5432], "sources": ["10.0.0.1/32", "fd00::1/128"]}
    text = render("firewall", "firewall.nft.j2", firewall_rules=[rule])
    assert 'ip saddr { 10.0.0.1/32 } tcp dport { 5432 } accept comment "app to db"' in text
    assert 'ip6 saddr { fd00::1/128 } tcp dport { 5432 } accept comment "app to db"' in text
    assert "5432" not in render("firewall", "firewall.nft.j2", firewall_rules=[])


@pytest.mark.parametrize(("memory", "buffers"), [(1024, 256), (4096, 1024), (65536, 16384)])
def test_database_takes_a_quarter_of_its_memory(render, memory, buffers):
    """From 1 GB machines to 64 GB."""
    text = render("postgresql", "appliance.conf.j2", postgresql_memory_mb=memory, postgresql_listen_addresses=["10.0.0.9"])
    assert f"shared_buffers = '{buffers}MB'" in text


def test_database_lets_each_owner_into_its_own_database_by_tls_only(render):
    """And ends with a refusal."""
    databases = [{"name": name, "owner": name, "password": "x", "extensions": []} for name in ("shop", "notes")]
    text = render("postgresql", "pg_hba.conf.j2", postgresql_clients=["10.0.0.1/32"], postgresql_databases=databases)
    allowed = [line.split() for line in text.splitlines() if "scram-sha-256" in line]
    assert allowed == [["hostssl", name, name, "10.0.0.1/32", "scram-sha-256"] for name in ("shop", "notes")]
    assert text.split()[-5:] == ["host", "all", "all", "all", "reject"]


@pytest.mark.parametrize("listen", [[], ["10.0.0.1"]])
def test_redis_listens_by_tls_or_not_at_all(render, listen):
    """A plain port never."""
    text = render("redis", "redis.conf.j2", item={"name": "cache", "port": 6379, "memory_mb": 64, "listen": listen})
    assert "port 0" in text.splitlines()
    assert ("tls-port 6379" in text) is bool(listen)


@pytest.mark.parametrize("remote", [{}, {"listen": ["10.0.0.1"], "port": 11211, "username": "gateway", "password": "long enough"}])
def test_memcached_listens_by_tls_and_password_or_not_at_all(render, remote):
    """It would serve whoever comes."""
    text = render("memcached", "memcached.service.j2", item={"name": "pages", "memory_mb": 64, **remote})
    for word in ("--enable-ssl", "--auth-file=", "--listen=10.0.0.1 "):
        assert (word in text) is bool(remote)
    for word in ("--unix-socket=", "PrivateNetwork=yes"):
        assert (word in text) is not bool(remote)
    assert "--udp-port=0" in text
    assert "long enough" not in text, "arguments are there for all to read"


@pytest.mark.parametrize(("name", "policy", "log"), [("cache", "allkeys-lru", "no"), ("queue", "noeviction", "yes")])
def test_cache_forgets_and_queue_does_not(render, name, policy, log):
    """A job that was evicted is a letter that was thrown away."""
    text = render("redis", "redis.conf.j2", item={"name": name, "port": 6379, "memory_mb": 64, "listen": []})
    assert f"maxmemory-policy {policy}" in text
    assert f"appendonly {log}" in text


def test_proxy_password_is_in_no_file_for_all(render):
    """pip's file is readable by every user, apt's is not."""
    proxy = {
        "base_http_proxy": "http://user:hush@proxy.example.test:3128",
        "base_pip_index_url": "https://user:hush@index.example.test/simple",
    }
    assert "hush" not in render("base", "pip.conf.j2", **proxy)
    assert "hush" in render("base", "apt.conf.j2", **proxy)
