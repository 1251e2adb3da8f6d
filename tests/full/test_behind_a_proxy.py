"""Hosts that reach the world only through an authenticating HTTP proxy, run by an operator whose sudo wants a password."""

from __future__ import annotations

from site_in_lab import changes


def test_site_converges_behind_an_authenticating_proxy(raise_site, copy_of):
    """Corporate networks are normal."""
    site = raise_site(copy_of("inventories/monolith", "proxied"), up=("--http-proxy", "--sudo-password"))
    done = site.play()
    assert site.get("shop.example.test").status == 200
    password = str(site.variables("web1")["base_http_proxy"]).rsplit("@", 1)[0].rsplit(":", 1)[1]
    assert password not in done.stdout
    assert set(changes(site.play()).values()) == {0}
