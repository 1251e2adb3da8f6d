"""No secret lies where somebody without the right to it could read it."""

from __future__ import annotations

import pytest

#: Each lists what it finds; the patterns come by standard input into a root-only file, so that the search itself leaks none.
SEARCH = {
    "process list": "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -aFf $f",
    "journal": "journalctl --no-pager -o cat | grep -aFf $f",
    "world-readable files": "find / \\( -path /proc -o -path /sys \\) -prune -o -type f -perm -o=r -print0 | xargs -0 grep -laFf $f",
    "logs": "grep -raFlf $f /var/log",
}


def find(site, host, patterns, place):
    """Lines that hold one of the patterns in a place of a host."""
    script = f"umask 077; f=$(mktemp /run/patterns.XXXXXX); cat > $f; {SEARCH[place]}; rm -f $f"
    return site.on(host, script, input="\n".join(patterns) + "\n").splitlines()


@pytest.mark.parametrize("place", SEARCH)
@pytest.mark.parametrize("name", ["web1", "db1"])
def test_no_secret_in(site, secrets, name, place):
    """All secrets of the site are looked for, a private key by its first line."""
    patterns = [value.splitlines()[1] if "PRIVATE KEY" in value else value for value in secrets.values()]
    assert len(patterns) >= 5
    assert not find(site, name, patterns, place)


def test_search_would_find_one(site):
    """The twin: a needle in each place is found."""
    needle = "needle-that-was-hidden-on-purpose"
    site.on("web1", f"echo {needle} | tee /tmp/needle > /var/log/needle; chmod 644 /tmp/needle; logger {needle}; sleep 0.5")
    site.on("web1", f"systemd-run -q --unit=needle sh -c 'sleep 30; : {needle}'")
    try:
        for place in SEARCH:
            assert find(site, "web1", [needle], place), place
    finally:
        site.on("web1", "rm -f /tmp/needle /var/log/needle; systemctl stop needle", check=False)
