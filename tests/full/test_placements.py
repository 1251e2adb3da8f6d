"""The same roles raise other drawings: everything on one machine, and each box on a machine of its own."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import yaml
from site_in_lab import ROOT, changes


def shown(site, text):
    """Names of the site's secrets that a text holds; of a key, its first line is looked for."""
    found = []
    for file in site.secrets.iterdir():
        secret = file.read_text().strip() if file.is_file() and file.suffix != ".crt" else ""
        if secret and (secret.splitlines()[1] if "PRIVATE KEY" in secret else secret) in text:
            found.append(file.name)
    return found


@pytest.fixture(scope="module", params=["single", "split"])
def site(request, raise_site):
    """A drawing, raised; and what Ansible said at its most talkative, before, in, and after doing so."""
    site = raise_site(ROOT / "tests/inventories" / request.param)
    site.play("playbooks/preflight.yml")  # makes the secrets: without any, a check of bare hosts has none to show
    talkative = ["site.yml", "-v", "--diff"]
    site.runs = {
        "check of bare hosts": site.play(*talkative, "--check"),
        "first run": site.play(*talkative),
        "check": site.play(*talkative, "--check"),
        "second run": site.play(*talkative),
    }
    yield site
    site.down()


@pytest.mark.parametrize("run", ["check of bare hosts", "first run", "check", "second run"])
def test_output_holds_no_secret(site, run):
    """It ends in terminals, logs of CI and tickets."""
    assert len(list(site.secrets.iterdir())) >= 5
    assert shown(site, site.runs[run].stdout) == []


def test_secret_that_is_printed_would_be_seen(site, tmp_path):
    """The twin: one task that shows what it should not."""
    play = [{"hosts": "all", "gather_facts": False, "roles": [], "tasks": []}]
    play[0]["tasks"] = [
        {"ansible.builtin.import_role": {"name": f"{ROOT}/roles/appliance", "tasks_from": "host"}, "when": False},
        {"ansible.builtin.debug": {"msg": "{{ appliance_secret_values }}"}, "run_once": True},
    ]
    (tmp_path / "tell.yml").write_text(yaml.safe_dump(play))
    said = site.play(str(tmp_path / "tell.yml"), "-e", f"__appliance_roles={ROOT}/roles").stdout
    assert len(shown(site, said)) >= 5


def test_drawing_is_proven(site):
    """Every arrow is open, everything else is shut."""
    site.play("playbooks/verify.yml")


def test_second_run_changes_nothing(site):
    """Checked first, then done."""
    for run in ("check", "second run"):
        assert set(changes(site.runs[run]).values()) == {0}, site.runs[run].stdout[-4000:]


def test_front_door_is_the_same(site):
    """The whole suite of the front door; an upload is read back, wherever the app keeps it."""
    environment = {**site.env, "APPLIANCE_INVENTORY": str(site.inventory)}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "tests/system"], cwd=ROOT, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.parametrize(("instance", "kept"), [("queue", True), ("cache", False)])
def test_queue_outlives_a_crash_and_cache_does_not(site, instance, kept):
    """A job that was accepted is done some day; what was only kept for speed starts anew."""
    if site.name != "split":
        pytest.skip("this drawing has no queue")
    password = (site.secrets / "shop_redis_password").read_text().strip()
    unit, ask = f"redis-server@{instance}", f"redis-cli -s /run/redis-{instance}/redis.sock"
    assert "OK" in site.on("db1", ask, input=f"AUTH shop {password}\nSET shop:job waiting\n")
    site.on("db1", f"kill -9 $(systemctl show -P MainPID {unit})")
    deadline = time.monotonic() + 20
    while "PONG" not in (said := site.on("db1", ask, input=f"AUTH shop {password}\nGET shop:job\nPING\n", check=False)):
        assert time.monotonic() < deadline, said
        time.sleep(0.5)
    assert ("waiting" in said.split()) is kept
