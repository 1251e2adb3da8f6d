"""The page cache is in the gateway's configuration where a site asks for it, and nowhere else."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

SITE = {
    "name": "shop",
    "domains": ["shop.example.test"],
    "certificate": "shop",
    "upstream": {"socket": "/run/shop/shop.sock"},
    "limits": {"body_mb": 7, "request_seconds": 40},
}
CACHED = {"cache": {"mode": "tags", "seconds": 300, "paths": ["/"]}, "feed": {"socket": "/run/shop/feed.sock"}}
ELSEWHERE = {"upstream": {"addresses": ["10.0.0.5:8443", "[fd00::5]:8443"], "ca": "/etc/appliance/tls/ca.pem"}, "feed": {}}
STORE = {"gateway_cache_backend": "redis", "gateway_cache_store": {"socket": "/run/r.sock", "username": "gateway", "password": "hush"}}


def nginx(render, site=None, **variables):
    """The whole configuration for one site."""
    return render("gateway", "nginx.conf.j2", gateway_sites=[{**SITE, **(site or {})}], **variables)


def settings(text):
    """What Lua is told."""
    return json.loads(re.search(r"setup\(\[==\[(.*)\]==\]\)", text)[1])


def problems(render, cache=None, **variables):
    """What the role says of its input."""
    site = {**SITE, **CACHED, "cache": {**CACHED["cache"], **(cache or {})}}
    text = render("gateway", "problems.txt.j2", gateway_sites=[site], **{"__gateway_foreign": SimpleNamespace(stdout=""), **variables})
    return "" if text == "None" else text.strip()


@pytest.mark.parametrize("site", [{}, {"cache": {"mode": "off"}}])
def test_cache_that_nobody_asked_for_leaves_no_trace(render, site):
    """No module, no memory, no header."""
    text = nginx(render, site, **STORE)
    assert not re.search(r"lua|X-Cache|gateway_(fill|plain|pages)|feed", text)


def test_site_without_a_cache_stays_without_beside_one_that_has_it(render):
    """Each site's pages are its own affair."""
    plain = {**SITE, "name": "notes", "domains": ["notes.example.test"]}
    text = render("gateway", "nginx.conf.j2", gateway_sites=[{**SITE, **CACHED}, plain])
    assert text.count("access_by_lua_block") == text.count("add_header X-Cache") == 1
    assert [site["name"] for site in settings(text)["sites"]] == ["shop"]


def test_memory_is_what_the_inventory_says(render):
    """And 64 MB by default: for copies, and for what workers have at hand."""
    for text, mb in ((nginx(render, CACHED), 64), (nginx(render, CACHED, gateway_cache_memory_mb=200), 200)):
        assert int(re.search(r"lua_shared_dict gateway_pages (\d+)m;", text)[1]) + settings(text)["ready_mb"] == mb


def test_feed_is_asked_beside_or_at_the_origins(render):
    """By the socket, or by TLS in the order of the app hosts."""
    (site,) = settings(nginx(render, CACHED))["sites"]
    assert site["feed"] == [{"socket": "/run/shop/feed.sock", "path": "/changes"}]
    text = nginx(render, {**CACHED, **ELSEWHERE})
    assert [(one["host"], one["port"], one["path"]) for one in settings(text)["sites"][0]["feed"]] == [
        ("10.0.0.5", 8443, "/-/feed/shop"),
        ("[fd00::5]", 8443, "/-/feed/shop"),
    ]
    assert "lua_ssl_trusted_certificate /etc/appliance/tls/ca.pem;" in text


def test_origin_hands_the_feed_on_to_gateways_and_keeps_no_page(render):
    """Only who sends the word that gateways put into no client's request."""
    text = nginx(render, CACHED, gateway_origin=True, gateway_origin_clients=["10.0.0.1"])
    assert "lua" not in text
    assert re.search(r"location = /-/feed/shop \{\s+if \(\$http_x_appliance_probe != feed\) \{\s+return 404;", text)
    assert "/-/feed/" not in nginx(render, SITE, gateway_origin=True, gateway_origin_clients=["10.0.0.1"])
    assert "proxy_hide_header Surrogate-Key" not in text
    assert "proxy_hide_header Surrogate-Key" in nginx(render, CACHED)


def test_password_of_the_store_is_not_in_the_configuration(render):
    """All users may read that."""
    text = nginx(render, CACHED, **STORE)
    assert "hush" not in text
    store = settings(text)["store"]
    assert store == {
        "backend": "redis", "password_file": "/etc/nginx/gateway-store-password", "socket": "/run/r.sock", "username": "gateway",
    }  # fmt: skip
    assert "store" not in settings(nginx(render, CACHED))


def test_other_rules_make_other_copies(render):
    """A copy kept by the rules of before must not be found by those of now."""
    rules = [CACHED["cache"], {**CACHED["cache"], "cookies": ["a"]}]
    assert len({settings(nginx(render, {"cache": one}))["sites"][0]["version"] for one in rules}) == 2


GOOD = {
    "paths": ["/", "/catalog/"],
    "arguments": ["page", "q.x"],
    "cookies": ["colour"],
    "ignored_cookies": ["_ga*", "x"],
    "headers": ["Accept-Language"],
}


def test_good_input_has_no_problems(render):
    """The other side of the table below."""
    assert problems(render, GOOD, **STORE) == ""


@pytest.mark.parametrize(
    ("cache", "variables", "words"),
    [
        ({"seconds": 0}, {}, "cache.seconds: 0; type a number from 1 to 3600"),
        ({"seconds": 4000}, {}, "cache.seconds: 4000; type a number from 1 to 3600"),
        ({"paths": []}, {}, "cache.paths: empty"),
        ({"paths": ["catalog"]}, {}, "cache.paths: catalog is no URL prefix"),
        ({"arguments": ["page=1"]}, {}, "cache.arguments: page=1 is no name"),
        ({"cookies": ["a*"]}, {}, "cache: a* is no cookie name"),
        ({"ignored_cookies": ["*"]}, {}, "cache: * is no cookie name"),
        ({"cookies": ["a b"]}, {}, "cache: a b is no cookie name"),
        ({"cookies": ["sessionid"]}, {}, "cache: sessionid tells one person from another"),
        ({"ignored_cookies": ["csrftoken"]}, {}, "cache: csrftoken tells one person from another"),
        ({"ignored_cookies": ["sess*"]}, {}, "cache: sess* tells one person from another"),
        ({"cookies": ["a"], "ignored_cookies": ["a"]}, {}, "cache: a is in cookies and in ignored_cookies"),
        ({"headers": ["Cookie"]}, {}, "cache.headers: Cookie is no header that pages can depend on"),
        ({"headers": ["X-Original-URL"]}, {}, "cache.headers: X-Original-URL is no header"),
        ({}, {"gateway_cache_memory_mb": 4}, "gateway_cache_memory_mb: 4 MB is too little"),
        ({}, {"gateway_cache_backend": "redis"}, "gateway_cache_backend: redis needs a store"),
        ({}, {**STORE, "gateway_cache_store": {"socket": "/x", "username": "g"}}, "gateway_cache_store.password: missing"),
        ({}, {**STORE, "gateway_cache_store": {"host": "h", "port": 1, "password": "x"}}, "ca and server_name belong to host"),
    ],
)
def test_problem_is_told_by_name(render, cache, variables, words):
    """What is kept by mistake may be one person's page."""
    assert words in problems(render, cache, **variables)
