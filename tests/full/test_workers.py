"""Workers and timers go with the release, lose no job, and come back; mail leaves by the site's relay, which here is a real one."""

from __future__ import annotations

import base64
import re
import time

import pytest
import yaml
from authorities import Authority
from site_in_lab import ROOT, changes
from test_hand_over import PATIENT, Load

DOMAIN = "shop.example.test"
PORT = 8600
WORKERS = {
    "jobs": {"command": "python manage.py work"},
    "echo": {
        "command": "cd static && python -m http.server $LISTEN_PORT --bind $LISTEN_ADDRESS",
        "listen": {"port": PORT},
        "start_seconds": 1,
    },
}
TIMERS = {
    "tidy": {"command": "python manage.py tidy", "on_calendar": "*-*-* 03:30", "jitter_seconds": 600},
    "broken": {"command": "echo $SECRET_KEY; echo no luck today; exit 3", "on_calendar": "Mon 04:00"},
}


class Visitors(Load):
    """Few of them: each job takes a process of its own."""

    READERS, WRITERS = Load.READERS[:2], 1


class Relay:
    """The mail relay on the database's host."""

    FOLDER = "/var/lib/relay"

    def __init__(self, site, address, authority):
        self.site, self.address = site, address
        site.on("db1", "apt-get update -q; DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3-aiosmtpd")
        self.write("relay.py", (ROOT / "tests/full/relay.py").read_text())
        self.takes(0)
        self.start(authority)

    def start(self, authority):
        """With a certificate of this authority."""
        certificate, key = authority.issue(self.address)
        self.write("cert.pem", certificate)
        self.write("key.pem", key)
        command = f"python3 relay.py {self.address} . cert.pem key.pem mailer p@ss:word"
        self.site.on("db1", f"systemctl stop relay 2>/dev/null; systemd-run -q --unit=relay --working-directory={self.FOLDER} {command}")

    def write(self, name, text):
        encoded = base64.b64encode(text.encode()).decode()
        self.site.on("db1", f"mkdir -p {self.FOLDER}; base64 -d >{self.FOLDER}/{name}", input=encoded)

    def takes(self, seconds):
        """From now on, so long for each letter."""
        self.write("seconds", str(seconds))

    def begun(self, what):
        """How often a letter with this in its subject was begun."""
        return self.site.on("db1", f"cat {self.FOLDER}/begun 2>/dev/null", check=False).count(what)

    def kept(self, what=""):
        """Letters that were taken, with this in them."""
        text = self.site.on("db1", f"cd {self.FOLDER}/kept; for one in *; do cat $one; echo; echo ---; done", check=False)
        return [letter for letter in text.split("\n---\n") if "Subject:" in letter and what in letter]

    def wait(self, what, letters=1, seconds=30):
        """Wait for letters; then a moment longer, for one too many."""
        end = time.monotonic() + seconds
        while len(self.kept(what)) < letters and time.monotonic() < end:
            time.sleep(0.5)
        time.sleep(1)
        return self.kept(what)


@pytest.fixture(scope="module")
def authority():
    """The company's own, that its relay has a certificate of."""
    return Authority("Company CA")


@pytest.fixture(scope="module")
def site(raise_site, copy_of, authority):
    """A monolith with a queue, workers, timers and a relay."""
    main = yaml.safe_load((ROOT / "inventories/monolith/group_vars/all/main.yml").read_text())
    main["appliance_apps"]["shop"] |= {
        "source": {"path": f"{ROOT}/django_app"},
        "redis": {"cache": True, "queue": True},
        "env": {"SHOP_EMAIL": "shop@example.test", "DEFAULT_FROM_EMAIL": "web@example.test"},
        "workers": WORKERS,
        "timers": TIMERS,
    }
    inventory = copy_of("inventories/monolith", "workers", {"group_vars/all/patient.yml": PATIENT, "group_vars/all/main.yml": main})
    address = yaml.safe_load((inventory / "hosts.yml").read_text())["all"]["hosts"]["db1"]["ansible_host"]
    mail = {
        "django_app_email_url": f"smtp+tls://mailer:p%40ss%3Aword@{address}:587",
        "django_app_alert_email": "operators@example.test",
        "base_ca_certificates": [authority.pem],
        "base_memory_mb": 2048,  # else the cache is as large as this computer allows, and is never full
    }
    (inventory / "group_vars/all/mail.yml").write_text(yaml.safe_dump(mail))
    draw(inventory, {"from": "app", "to": "db", "ports": [587]})
    site = raise_site(inventory)
    site.relay = Relay(site, address, authority)
    site.play()
    return site


def draw(inventory, arrow):
    """One more arrow."""
    file = inventory / "group_vars/all/flows.yml"
    flows = yaml.safe_load(file.read_text())
    flows["appliance_flows"].append(arrow)
    file.write_text(yaml.safe_dump(flows))


@pytest.fixture
def relay(site):
    """The relay, in no hurry no more."""
    site.relay.takes(0)
    return site.relay


def deploy(site, check=True, **contract):
    """What an operator does."""
    file = site.inventory / "group_vars/all/main.yml"
    variables = yaml.safe_load(file.read_text())
    shop = variables["appliance_apps"]["shop"]
    shop |= contract
    shop["env"]["MARK_OF_THE_TEST"] = time.monotonic_ns()
    file.write_text(yaml.safe_dump(variables))
    return site.play("playbooks/deploy.yml", check=check)


def current(site):
    """The serving release."""
    return site.on("web1", "readlink /srv/shop/current").strip().rpartition("/")[2]


def units(site, pattern="shop-*"):
    """Those that run."""
    return site.on("web1", f"systemctl list-units --plain --no-legend --state=active '{pattern}' | cut -d' ' -f1").split()


def in_step(site):
    """The tool's own word, and each worker's process: of the serving release."""
    assert '"out_of_step": []' in site.on("web1", "appliance-release status shop")
    for unit in units(site, "shop-worker-*"):
        pid = site.on("web1", f"systemctl show -P MainPID {unit}").strip()
        assert f"APPLIANCE_RELEASE={current(site)}" in site.on("web1", f"tr '\\0' '\\n' </proc/{pid}/environ")
        assert site.on("web1", f"cat /proc/{pid}/comm").strip() == "python", "the signal would not reach it"


def write_reviews(site, name, number=1):
    """Reviews, each of which queues a job."""
    script = (
        "from catalog import services; from catalog.models import Product; "
        f"[services.add_review(Product.objects.first(), name='{name}', rating=4, text='{name}') for _ in range({number})]"
    )
    site.on("web1", f'shop-manage shell -v 0 -c "{script}"')


def wait_until(condition, seconds=30):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.5)


def test_a_second_run_changes_nothing_and_the_drawing_is_proven(site):
    """Workers and timers are part of both."""
    assert set(changes(site.play()).values()) == {0}
    assert "2 workers and 2 timers of release" in " ".join(site.play("playbooks/verify.yml").stdout.split())
    in_step(site)


@pytest.mark.parametrize("unit", ["shop-worker-jobs@1.service", "shop-timer-tidy.service"])
def test_they_are_confined_like_the_app(site, unit):
    """A hole in a job is none in the host."""
    assert float(re.search(r"exposure level for \S+: ([\d.]+)", site.on("web1", f"systemd-analyze security --no-pager {unit}"))[1]) <= 1.5


def test_mail_leaves_by_the_relay_with_its_certificate_checked(site, relay):
    """A review is announced to the shop."""
    write_reviews(site, "by mail")
    (letter,) = relay.wait("by mail")
    assert re.search(r"X-Seen: TLSv1\.[23] for shop@example\.test", letter)


def test_relay_with_somebody_else_s_certificate_gets_no_letter(site, relay, authority):
    """The twin: without the check, whoever took its address would read the mail."""
    send = "shop-manage sendtestemail somebody@example.test"
    relay.start(Authority("Somebody else"))
    try:
        time.sleep(2)
        said = site.on("web1", send, check=False)
    finally:
        relay.start(authority)
    assert "CERTIFICATE_VERIFY_FAILED" in said
    time.sleep(2)
    site.on("web1", send)
    assert len(relay.wait("for somebody@example.test")) == 1


def test_job_that_runs_through_a_release_is_done_once(site, relay):
    """The old worker finishes it, the new one does not begin it again."""
    before = current(site)
    relay.takes(8)
    write_reviews(site, "through a release")
    wait_until(lambda: relay.begun("") and "Review" in site.on("db1", f"tail -n1 {relay.FOLDER}/begun"))
    begun = relay.begun("Subject")
    deploy(site)
    assert current(site) != before
    assert len(relay.wait("through a release")) == 1
    assert relay.begun("Subject") == begun
    in_step(site)


def test_twin_job_of_a_killed_worker_is_begun_again(site, relay):
    """No job is lost by kill -9; and the numbers above would have shown a worker that was not let finish."""
    relay.takes(8)
    begun = relay.begun("Subject")
    write_reviews(site, "killed")
    wait_until(lambda: relay.begun("Subject") > begun)
    site.on("web1", "systemctl kill -s KILL shop-worker-jobs@1.service")
    wait_until(lambda: "shop-worker-jobs@1.service" in units(site), 15)
    relay.takes(0)
    assert len(relay.wait("killed", seconds=180)) == 1
    assert relay.begun("Subject") == begun + 2


def test_releases_under_load_announce_every_review_once(site, relay):
    """From the front door to the relay."""
    with Visitors(site) as load:
        for _ in range(2):
            deploy(site)
            load.pass_by(100)
    assert load.failures == []
    letters = relay.wait("under load wrote", load.written, seconds=600)
    assert len(letters) == load.written > 20


def redis(site, variable, commands):
    """Give commands to one of the shop's instances, as the shop."""
    url = site.on("web1", f"grep -oP '^{variable}=\"\\K[^\"]+' /etc/appliance/apps/shop/environment").strip()
    user, password, socket = re.fullmatch(r"unix://([^:]+):([^@]+)@([^?]+)\?db=0", url).groups()
    return site.on("web1", f"redis-cli -s {socket}", input=f"AUTH {user} {password}\n{commands}\n")


def fill_the_cache(site):
    """Twice as much as it may keep."""
    limit = int(re.search(r"maxmemory:(\d+)", redis(site, "CACHE_URL", "INFO memory"))[1])
    script = (
        "from django.core.cache import cache; import os; "
        f"[cache.set(f'fill-{{n}}', os.urandom(100_000), 600) for n in range({2 * limit // 100_000})]"
    )
    site.on("web1", f'shop-manage shell -v 0 -c "{script}"')
    assert int(re.search(r"evicted_keys:(\d+)", redis(site, "CACHE_URL", "INFO stats"))[1]) > 0


def test_no_job_is_lost_while_the_cache_evicts(site, relay):
    """Jobs have an instance of their own, which forgets nothing."""
    site.on("web1", "systemctl stop shop-worker-jobs@1.service")
    write_reviews(site, "beside a full cache", 60)
    fill_the_cache(site)
    write_reviews(site, "beside a full cache", 40)
    site.on("web1", "systemctl start shop-worker-jobs@1.service")
    assert len(relay.wait("beside a full cache", 100, seconds=120)) == 100


def test_twin_jobs_in_the_cache_are_lost_while_it_evicts(site):
    """The test above would notice."""
    script = (
        "from django.conf import settings; settings.QUEUE_URL = settings.CACHES['default']['LOCATION']; "
        "from jobs.queue import enqueue, queue; "
    )
    site.on("web1", f"shop-manage shell -v 0 -c \"{script} [enqueue('jobs.tasks.review_notice', 0) for _ in range(100)]\"")
    fill_the_cache(site)
    left = site.on("web1", f"shop-manage shell -v 0 -c \"{script} print('left', len([j for j in queue().jobs if j]))\"")
    assert int(re.search(r"left (\d+)", left)[1]) < 100


def test_timer_runs_the_serving_release(site):
    """Its last run is on the status page."""
    site.on("web1", "systemctl start shop-timer-tidy.service")
    script = "from jobs.models import LastRun; print(LastRun.objects.get(name='tidy').detail)"
    assert f"release {current(site)}" in site.on("web1", f'shop-manage shell -v 0 -c "{script}"')


def test_failed_timer_leaves_a_note_and_a_letter(site, relay):
    """With what it said, but no secret."""
    site.on("web1", "systemctl start shop-timer-broken.service", check=False)
    (letter,) = relay.wait("timer broken failed")
    note = site.on("web1", "journalctl --quiet --priority=err -t shop-broken -o cat")
    assert "shop: timer broken failed (exit-code, status 3)" in note
    for text in (letter, note):
        assert "no luck today" in text
        assert "********" in text
    assert "for operators@example.test" in letter
    site.on("web1", "systemctl reset-failed shop-timer-broken.service")


def test_port_of_a_worker_is_shut_until_an_arrow_is_drawn(site):
    """Asked from the other host; on its own host it answers all the time."""
    address = site.variables("web1")["ansible_host"]
    ask = f"curl -s -o /dev/null -m 4 -w '%{{http_code}}' http://{address}:{PORT}/css/site.css"
    site.on("db1", "command -v curl >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends curl")
    assert (
        site.on(
            "web1", f"python3 -c \"import urllib.request as r; print(r.urlopen('http://{address}:{PORT}/css/site.css').status)\""
        ).strip()
        == "200"
    )
    assert site.on("db1", ask, check=False).endswith("000")
    draw(site.inventory, {"from": "db", "to": "app", "ports": [PORT]})
    site.play("site.yml", "--tags", "firewall")
    assert site.on("db1", ask).endswith("200")
    site.play("playbooks/verify.yml")


def test_worker_that_does_not_start_fails_the_release(site):
    """Its journal is shown; the old release keeps serving, with its workers."""
    before = current(site)
    failed = deploy(site, check=False, workers=WORKERS | {"jobs": {"command": "python -c 'import nothing_like_it'"}})
    assert failed.returncode != 0
    assert "No module named 'nothing_like_it'" in failed.stdout
    assert "start_seconds" in failed.stdout
    assert current(site) == before
    assert site.get(DOMAIN, "/readyz").status == 200
    assert {"shop-worker-jobs@1.service", "shop-worker-echo@1.service", "shop-timer-tidy.timer"} <= set(units(site))
    in_step(site)


def test_what_left_the_contract_is_gone_and_a_rollback_brings_it_back(site):
    """Number of instances, command and all are the release's own."""
    deploy(site, workers={"jobs": {**WORKERS["jobs"], "instances": 2}}, timers={"tidy": TIMERS["tidy"]})
    running = {unit for unit in units(site) if "-worker-" in unit or "-timer-" in unit}
    assert running == {"shop-worker-jobs@1.service", "shop-worker-jobs@2.service", "shop-timer-tidy.timer"}
    assert "echo" not in site.on("web1", "ls /etc/systemd/system /etc/systemd/system/*.wants")
    site.play("playbooks/rollback.yml")
    running = {unit for unit in units(site) if "-worker-" in unit or "-timer-" in unit}
    assert running == {
        "shop-worker-jobs@1.service", "shop-worker-echo@1.service", "shop-timer-tidy.timer", "shop-timer-broken.timer",
    }  # fmt: skip
    in_step(site)


def test_run_killed_while_it_changes_workers_is_repaired(site):
    """Files, links and processes agree again after the next."""
    deploy(site)
    site.on("web1", "systemctl stop shop-worker-jobs@1.service; rm /etc/systemd/system/multi-user.target.wants/shop-worker-jobs@1.service")
    site.on(
        "web1", "cp /etc/systemd/system/shop-worker-jobs@.service /etc/systemd/system/shop-worker-old@.service; systemctl daemon-reload"
    )
    site.on("web1", "systemctl start shop-worker-old@1.service")
    assert "shop-worker-old" in site.on("web1", "appliance-release status shop")
    site.play("playbooks/deploy.yml")
    assert not [unit for unit in units(site) if "old" in unit]
    in_step(site)


def test_workers_and_timers_are_back_after_a_reboot(site, relay):
    """Nobody types anything."""
    before = set(units(site, "shop-worker-*") + units(site, "shop-timer-*.timer"))
    site.lab("reboot", "web1")
    site.wait_for(DOMAIN, "/readyz", 90)
    wait_until(lambda: set(units(site, "shop-worker-*") + units(site, "shop-timer-*.timer")) == before)
    write_reviews(site, "after a reboot")
    assert len(relay.wait("after a reboot")) == 1


def test_wrong_calendar_is_refused_by_name(site):
    """Before anything changes, by systemd's own word."""
    main = yaml.safe_load((site.inventory / "group_vars/all/main.yml").read_text())
    main["appliance_apps"]["shop"]["timers"] = {"tidy": {"command": "true", "on_calendar": "every night"}}
    assert "appliance_apps.shop.timers.tidy.on_calendar: systemd does not understand it" in site.refuses(main)
