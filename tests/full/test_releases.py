"""Releases that fail, go back, stop the app for a migration or are killed: nobody notices, and each says what happened."""

from __future__ import annotations

import random
import re
import shutil
import threading
import time
from pathlib import Path

import pytest
import yaml
from site_in_lab import ROOT, changes
from test_hand_over import DOMAIN, PATIENT, Load

TOOL = "/usr/local/sbin/appliance-release"


class Project:
    """A copy of the reference app that a test changes and puts back."""

    def __init__(self, folder, site):
        self.folder, self.site = folder, site
        self.inventory = site.inventory / "group_vars/all/main.yml"
        self.number = 0

    def restore(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(ROOT / "django_app", self.folder, ignore=shutil.ignore_patterns("__pycache__"))

    def append(self, path, text):
        with open(self.folder / path, "a") as file:
            file.write(text)

    def write(self, path, text):
        (self.folder / path).write_text(text)

    def ask(self, **contract):
        """What an operator does: change the contract."""
        variables = yaml.safe_load(self.inventory.read_text())
        variables["appliance_apps"]["shop"].update(contract)
        self.inventory.write_text(yaml.safe_dump(variables))

    def change(self):
        """A change of code that a page shows."""
        self.number += 1
        self.append("templates/django/skeleton.html", f"<!-- change {self.number} -->")

    def served(self):
        """The number of the change that is served."""
        return max(map(int, re.findall(r"<!-- change (\d+) -->", self.site.get(DOMAIN, "/catalog/").text)), default=0)


@pytest.fixture(scope="module")
def site(raise_site, copy_of, tmp_path_factory):
    """A monolith whose project we may change."""
    inventory = copy_of("inventories/monolith", "releases", {"group_vars/all/patient.yml": PATIENT})
    site = raise_site(inventory)
    site.project = Project(tmp_path_factory.mktemp("project") / "django_app", site)
    site.project.restore()
    site.project.ask(source={"path": str(site.project.folder)}, health={"seconds": 60})
    site.play()
    return site


@pytest.fixture
def project(site):
    """The project as it is, to be changed; put back after the test."""
    contract = site.project.inventory.read_text()
    yield site.project
    site.project.inventory.write_text(contract)
    site.project.restore()


def deploy(site, *arguments, check=True):
    return site.play("playbooks/deploy.yml", *arguments, check=check)


def current(site):
    return site.on("web1", "basename $(readlink /srv/shop/current)").strip()


def history(site):
    """Rows of the table, newest first, without its head."""
    rows = site.on("web1", f"{TOOL} releases shop").splitlines()[1:]
    return [re.split(r"  +", row.strip()) for row in rows]


def import_error(project):
    project.append("config/urls.py", "\nimport no_such_module\n")
    return "No module named 'no_such_module'"


def failing_check(project):
    project.append(
        "catalog/apps.py",
        "\n\nfrom django.core import checks\n\n\n@checks.register()\ndef broken(app_configs, **kwargs):\n"
        "    return [checks.Error('wrong on purpose')]\n",
    )
    return "wrong on purpose"


def migration(project, name, *statements):
    """One more migration, of SQL."""
    folder = project.folder / "catalog/migrations"
    last = sorted(path.stem for path in folder.glob("0*.py"))[-1]
    operations = ", ".join(f"migrations.RunSQL({one!r}, migrations.RunSQL.noop)" for one in statements)
    project.write(
        f"catalog/migrations/{int(last[:4]) + 1:04}_{name}.py",
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        f"    dependencies = [('catalog', '{last}')]\n    operations = [{operations}]\n",
    )


def failing_migration(project):
    migration(project, "fails", "CREATE TABLE left_behind (id int)", "SELECT 1/0")
    return "division by zero"


def failing_health(project):
    project.ask(health={"path": "/no-such-page", "seconds": 5})
    return "it answered 404"


def hang_at_start(project):
    project.append("config/wsgi.py", "\nimport time\n\ntime.sleep(600)\n")
    project.ask(health={"seconds": 5})
    return "did not answer /readyz (health.path) within 5 s"


def requirements_that_do_not_resolve(project):
    project.ask(requirements_extra=["./packages/django-gateway-cache", "sqlparse==99.0"])
    return "No matching distribution found for sqlparse==99.0"


BROKEN = [import_error, failing_check, failing_migration, failing_health, hang_at_start, requirements_that_do_not_resolve]


@pytest.mark.parametrize("break_it", BROKEN)
def test_release_that_fails_says_why_and_nobody_notices(site, project, break_it):
    """The app's own words are shown, the old release serves on, the next good one starts clean."""
    before = current(site)
    project.change()
    words = break_it(project)
    with Load(site) as load:
        done = deploy(site, check=False)
        load.pass_by(30)
    assert done.returncode != 0
    assert words in " ".join(done.stdout.split())
    assert f"Release {before} keeps serving" in " ".join(done.stdout.split())
    assert load.failures == []
    assert current(site) == before
    assert history(site)[0][-1].startswith("failed at: ")


def test_failed_migration_left_the_schema_as_it_was(site):
    """Each migration is one transaction: the table that the failing one had made is gone."""
    said = site.on("db1", "su postgres -c \"psql -At shop -c '\\dt left_behind' -c 'select name from django_migrations'\" 2>&1")
    assert "0002_fails" not in said
    assert not re.search("^public", said, re.M)


def test_full_disk_fails_the_build_alone(site, project):
    """What was built in part is removed again, and so is the excuse to run out of disk for uploads and logs."""
    before = current(site)
    project.change()
    # The releases, with a little room left.
    site.on(
        "web1",
        # What failed before would be removed first, and make room.
        "set -e; cd /srv/shop/releases; for one in *; do grep -q $one /var/lib/appliance/apps/shop.json || rm -rf $one; done;"
        "cd ..; mkdir -p /mnt/small; mount -t tmpfs -o size=$(( $(du -sk releases | cut -f1) + 1024 ))k none /mnt/small;"
        "cp -a releases/. /mnt/small; chmod --reference releases /mnt/small; mount --bind /mnt/small releases",
    )
    try:
        with Load(site) as load:
            done = deploy(site, check=False)
            load.pass_by(30)
        left = site.on("web1", "ls /srv/shop/releases").split()
    finally:
        site.on("web1", "umount /srv/shop/releases; umount /mnt/small")
    assert done.returncode != 0
    assert "No space left on device" in done.stdout
    assert load.failures == []
    assert current(site) == before
    assert before in left
    assert len(left) == len(site.on("web1", "ls /srv/shop/releases").split())


def test_good_release_after_all_of_these_starts_clean(site, project):
    """Nothing of the failed ones is in its way, or left."""
    project.change()
    with Load(site) as load:
        deploy(site)
        load.pass_by(30)
    assert load.failures == []
    assert project.served() == project.number
    assert set(changes(deploy(site)).values()) == {0}
    good = set(re.findall(r"[0-9a-f]{12}", site.on("web1", f"{TOOL} status shop | sed -n '/good/,/]/p'")))
    assert set(site.on("web1", "ls /srv/shop/releases").split()) == good
    assert history(site)[0][-1] == "good"


def test_rollback_in_seconds_survives_later_runs(site, project):
    """To the last good release, without a lost request; the inventory that still asks for the other one does not bring it back."""
    served, before = project.served(), current(site)
    project.change()
    deploy(site)
    with Load(site) as load:
        began = time.monotonic()
        done = site.play("playbooks/rollback.yml")
        took = time.monotonic() - began
        load.pass_by(30)
    assert load.failures == []
    assert current(site) == before
    assert project.served() == served
    assert took < 40, f"{took} s; 8 where nothing else runs, but here is the load, too"
    assert f"release {before} serves" in " ".join(done.stdout.split())
    for playbook in ("site.yml", "playbooks/deploy.yml"):
        again = site.play(playbook)
        assert set(changes(again).values()) == {0}
        assert "was rolled back" in " ".join(again.stdout.split())
    assert current(site) == before
    table = " ".join(site.play("playbooks/releases.yml").stdout.split())
    assert f"* {before}" in table
    assert "good, rolled back" in table
    # What an operator does next: the change is made good, or asked for once more.
    deploy(site, "-e", "appliance_deploy_rolled_back=true")
    assert project.served() == project.number


def test_rollback_to_a_named_release_and_to_none_that_is_kept(site, project):
    """A wrong name is answered with the right ones."""
    project.change()
    deploy(site)
    kept = [row[1] for row in history(site) if row[0] == "+"]
    done = site.play("playbooks/rollback.yml", "-e", "appliance_release=feedbeef", check=False)
    assert done.returncode != 0
    assert all(one in done.stdout for one in kept)
    server = f"/etc/appliance/apps/shop/releases/{kept[-1]}/server"
    site.on("web1", f"mv {server} /root/server")
    refused = site.play("playbooks/rollback.yml", "-e", f"appliance_release={kept[-1]}", check=False)
    site.on("web1", f"mv /root/server {server}")
    assert "is older than the way releases are started now" in " ".join(refused.stdout.split())
    site.play("playbooks/rollback.yml", "-e", f"appliance_release={kept[-1]}")
    assert current(site) == kept[-1]
    deploy(site, "-e", "appliance_deploy_rolled_back=true")


def test_rollback_across_migrations_is_refused_until_told(site, project):
    """They are named; whether the old code can live with them only its people know."""
    before = current(site)
    project.change()
    migration(project, "more", "ALTER TABLE catalog_product ADD COLUMN more text")
    deploy(site)
    done = site.play("playbooks/rollback.yml", check=False)
    assert done.returncode != 0
    assert "catalog.0002_more" in done.stdout
    assert "appliance_rollback_across_migrations" in done.stdout
    with Load(site) as load:
        done = site.play("playbooks/rollback.yml", "-e", "appliance_rollback_across_migrations=true")
    assert load.failures == []
    assert "were not taken back: catalog.0002_more" in " ".join(done.stdout.split())
    assert current(site) == before
    # Put back, for the tests that follow.
    site.on("db1", "su postgres -c \"psql -q shop -c 'alter table catalog_product drop column more'\"")
    site.on("db1", 'su postgres -c "psql -q shop -c \\"delete from django_migrations where name = \'0002_more\'\\""')


class Reader(threading.Thread):
    """Somebody who reads a page again and again, and keeps all answers."""

    def __init__(self, site, path):
        super().__init__(daemon=True)
        self.site, self.path, self.answers, self.over = site, path, [], threading.Event()

    def run(self):
        while not self.over.is_set():
            answer = self.site.get(DOMAIN, self.path, timeout=30)
            self.answers.append((answer.status, answer.headers.get("Retry-After")))
            time.sleep(0.05)

    def __enter__(self):
        self.start()
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(60)


def rename_column(project):
    """The model's field keeps its name; its column gets another one, which code of before does not know."""
    migration(project, "label", "ALTER TABLE catalog_category RENAME COLUMN name TO label")
    models = project.folder / "catalog/models.py"
    head, found, rest = models.read_text().partition("    name = models.CharField(")
    models.write_text(f'{head}{found}db_column="label", {rest}')


def test_offline_mode_shows_the_page_and_never_an_error(site, project):
    """A renamed column: the old code would answer 500, so nobody reaches it; the database of before is kept."""
    project.change()
    rename_column(project)
    project.ask(migrate={"mode": "offline", "dump": True})
    with Reader(site, "/catalog/") as reader:
        deploy(site)
        time.sleep(1.5)
    statuses = [status for status, _ in reader.answers]
    assert set(statuses) == {200, 503}
    assert statuses[-1] == 200
    assert all(retry for status, retry in reader.answers if status == 503)
    assert project.served() == project.number
    dump = site.on("web1", "ls -l /var/backups/appliance/shop/*.dump").split()
    assert dump[0] == "-rw-------"
    assert dump[2] == "root"
    assert "catalog_category" in site.on("web1", f"pg_restore --list {dump[-1]}")
    done = site.play("playbooks/rollback.yml", check=False)
    assert done.returncode != 0
    assert dump[-1] in " ".join(done.stdout.split())
    put_column_back(site)


def put_column_back(site):
    site.on("db1", "su postgres -c \"psql -q shop -c 'alter table catalog_category rename column label to name'\"")
    site.on("db1", 'su postgres -c "psql -q shop -c \\"delete from django_migrations where name like \'%_label\'\\""')


def test_twin_online_mode_answers_a_renamed_column_with_an_error(site, project):
    """Else the test before could not fail."""
    project.change()
    deploy(site)
    project.change()
    rename_column(project)
    with Reader(site, "/catalog/") as reader:
        deploy(site)
    assert 500 in [status for status, _ in reader.answers]
    put_column_back(site)
    project.restore()
    project.change()
    deploy(site)


def test_offline_migration_that_fails_brings_the_old_release_back(site, project):
    """The page goes off, and the table that it had made is gone."""
    before = current(site)
    project.change()
    words = failing_migration(project)
    project.ask(migrate={"mode": "offline"})
    with Reader(site, "/catalog/") as reader:
        done = deploy(site, check=False)
        time.sleep(1.5)
    assert done.returncode != 0
    assert words in done.stdout
    assert f"Release {before} serves again" in " ".join(done.stdout.split())
    assert {status for status, _ in reader.answers} == {200, 503}
    assert reader.answers[-1][0] == 200
    assert site.on("web1", "ls /etc/appliance/maintenance").split() == []


def hook(project, name, task):
    """A task file beside the project: below the inventory, Ansible would take it for one."""
    folder = project.folder.parent / "hooks"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yml").write_text(yaml.safe_dump([task]))
    return str(folder / f"{name}.yml")


def test_hooks_run_in_their_order_and_only_for_a_release(site, project):
    """The user's own tasks: each step's, on the app's host."""
    steps = ["before_build", "after_build", "before_migrate", "after_migrate", "before_switch", "after_switch"]
    serving = "$(basename $(readlink /srv/shop/current))"
    line = f"{{{{ django_app_name }}}} {serving} $([ {{{{ django_app_release }}}} = {serving} ] && echo new)"
    tasks = {step: {"name": step, "ansible.builtin.shell": f"echo {step} {line} >> /run/hooks", "changed_when": True} for step in steps}
    project.ask(hooks={step: [hook(project, step, task)] for step, task in tasks.items()})
    before = current(site)
    project.change()
    deploy(site)
    after = current(site)
    lines = site.on("web1", "cat /run/hooks").splitlines()
    assert lines == [f"{step} shop {before}" for step in steps[:-1]] + [f"after_switch shop {after} new"]
    assert set(changes(deploy(site)).values()) == {0}
    assert len(site.on("web1", "cat /run/hooks").splitlines()) == len(steps)


def test_hook_that_fails_ends_the_release(site, project):
    """Before the switch: the old release serves on, and the history names the task."""
    task = {"name": "Ask the load balancer", "ansible.builtin.command": "false", "changed_when": True}
    before = current(site)
    project.change()
    project.ask(hooks={"before_switch": [hook(project, "fail", task)]})
    with Load(site) as load:
        done = deploy(site, check=False)
        load.pass_by(30)
    assert done.returncode != 0
    assert "Ask the load balancer" in done.stdout
    assert load.failures == []
    assert current(site) == before
    assert history(site)[0][-1] == "failed at: Ask the load balancer"
    apps = yaml.safe_load(project.inventory.read_text())["appliance_apps"]
    apps["shop"]["hooks"] = {"after_build": ["x.yml"]}
    assert "there is no file" in site.refuses({"appliance_apps": apps})


def test_second_run_says_whose_the_first_is(site, project):
    """And how to end it, if it hangs."""
    project.change()
    hang_at_start(project)
    project.ask(health={"seconds": 40})
    ended = []
    first = threading.Thread(target=lambda: ended.append(deploy(site, "-e", "appliance_operator=kim", check=False)))
    first.start()
    end = time.monotonic() + 60
    while "candidate" not in site.on("web1", "systemctl list-units 'shop-release-*'") and time.monotonic() < end:
        time.sleep(0.5)
    done = deploy(site, "-e", "django_app_lock_seconds=1", check=False)
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    found = re.search(r"PID (\d+) \(deploy, since \S+, started by kim\) holds", said)
    assert found, said[-3000:]
    assert "kill PID" in said
    site.on("web1", f"kill {found[1]}")
    first.join(60)
    assert "it was told to end (SIGTERM)" in ended[0].stdout
    assert "shop-release" not in site.on("web1", "systemctl list-units 'shop-release-*'")


def test_older_appliance_is_refused(site):
    """A downgrade would undo what hosts rely on."""
    file = "/etc/appliance/secrets.json"
    site.on("web1", f"cp -p {file} /root/kept; sed -i 's/\\(appliance generation\": \\)[0-9]*/\\199/' {file}")
    try:
        for playbook in ("site.yml", "playbooks/deploy.yml"):
            done = site.play(playbook, check=False)
            assert done.returncode != 0
            assert "was raised by a newer appliance (generation 99" in " ".join(done.stdout.split())
            assert set(changes(done).values()) == {0}
    finally:
        site.on("web1", f"mv /root/kept {file}")


def test_run_killed_at_ten_random_moments_of_a_deploy(site, project):
    """Under load: nobody notices, and the next deploy succeeds."""
    moments = random.Random(4)  # noqa: S311
    with Load(site) as load:
        for _ in range(10):
            project.change()
            # From the preflight to the drain.
            task = moments.choice(["Copy the source", *["Make the release and"] * 4])
            site.play_killed(task, moments.uniform(0, 12), "playbooks/deploy.yml")
        deploy(site)
        load.pass_by(30)
    assert load.failures == []
    assert project.served() == project.number
    assert set(changes(deploy(site)).values()) == {0}
    assert Path(f"/srv/shop/releases/{current(site)}").name in site.on("web1", "systemctl list-units 'shop@*' --state=active")
