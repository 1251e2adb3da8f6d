"""A certificate that somebody else issued is judged before any host changes."""

from pathlib import Path

import pytest
from authorities import Authority
from plugins import load_module

filters = load_module(Path(__file__).resolve().parents[1] / "filter_plugins/certificates.py")
ROOT = Authority("Company root")
MIDDLE = Authority("Company servers", issuer=ROOT)
GONE = Authority("Former servers", issuer=ROOT, days=-1)
GOOD = MIDDLE.issue("shop.example.test", "www.shop.example.test")
ITEM = {
    "name": "shop",
    "domains": ["shop.example.test", "www.shop.example.test"],
    "provided": {"certificate": "shop.crt", "key": "shop.key", "chain": "chain.crt"},
}


def told(certificate=GOOD[0], key=GOOD[1], chain=MIDDLE.pem + ROOT.pem):
    """What is said of files with these texts."""
    return filters.certificates_problems(ITEM, certificate, key, chain)


def test_good_chain_is_accepted():
    """In one file or in two."""
    assert told() == []
    assert told(GOOD[0] + MIDDLE.pem + ROOT.pem, chain="") == []


def test_root_that_the_system_trusts_may_be_left_out(monkeypatch):
    """As certificates that are bought come."""
    monkeypatch.setattr(filters, "_known_authorities", lambda: [ROOT.certificate])
    assert told(chain=MIDDLE.pem) == []


def test_without_a_bundle_nothing_is_said_of_roots(monkeypatch):
    """A control node without one cannot know them."""
    monkeypatch.setattr(filters, "_known_authorities", list)
    assert told(chain=MIDDLE.pem) == []


def test_bundle_of_this_system_is_found():
    """Else the check of the chain's end would be idle."""
    assert filters._known_authorities()


@pytest.mark.parametrize(
    ("changes", "which", "words"),
    [
        ({"key": MIDDLE.issue("shop.example.test")[1]}, "key (shop.key)", "does not belong to shop.crt"),
        ({"key": "x"}, "key (shop.key)", "no private key in PEM form"),
        ({"key": None}, "key (shop.key)", "cannot be read; type its absolute path"),
        ({"certificate": None}, "certificate (shop.crt)", "cannot be read"),
        ({"certificate": "x"}, "certificate (shop.crt)", "no certificate in PEM form"),
        ({"chain": "x"}, "chain (chain.crt)", "no certificates in PEM form"),
        ({"chain": ROOT.pem}, "chain (chain.crt)", "the chain breaks at “CN=shop.example.test”"),
        ({"chain": ""}, "chain (chain.crt)", "the chain ends at “CN=shop.example.test”"),
        ({"chain": MIDDLE.pem}, "chain (chain.crt)", "the chain ends at “CN=Company servers”"),
        ({"chain": MIDDLE.pem + Authority("Company root").pem}, "chain (chain.crt)", "the chain breaks at “CN=Company servers”"),
    ],
)
def test_problem_names_variable_and_file(changes, which, words):
    """One message, and no second one that follows from it."""
    (message,) = told(**changes)
    assert message.startswith(f"appliance_certificates.shop.{which}: ")
    assert words in message


@pytest.mark.parametrize(
    ("issuer", "names", "days", "words"),
    [
        (MIDDLE, ["shop.example.test"], 90, "lacks the name www.shop.example.test (it has: shop.example.test)"),
        (MIDDLE, ["*.example.test"], 90, "lacks the name www.shop.example.test"),
        (MIDDLE, ITEM["domains"], -2, "expired on"),
        (GONE, ITEM["domains"], 90, "“CN=Former servers” expired on"),
    ],
)
def test_problem_of_the_certificate_itself(issuer, names, days, words):
    """A name short, or too late."""
    certificate, key = issuer.issue(*names, days=days)
    (message,) = told(certificate, key, issuer.pem + ROOT.pem)
    assert words in message
