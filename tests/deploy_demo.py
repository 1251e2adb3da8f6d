"""`make deploy-demo`: a good release, a broken one and a rollback in the lab, under visitors who must not notice.

The last line reads `N requests, M failed`; the exit code is 0 only if M is 0 and everything went as it had to.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import threading
import time

import yaml
from site_in_lab import ROOT, Site
from visitors import DOMAIN, Load

BUILD = ROOT / "build/demo"
PROJECT = BUILD / "django_app"
INVENTORY = BUILD / "demo"


class Unexpected(Exception):
    """A step did not end as it had to."""


def say(text):
    print(f"\r\033[K{text}" if sys.stdout.isatty() else text, flush=True)


@contextlib.contextmanager
def counter(load):
    """How many requests so far: live on a terminal, every ten seconds elsewhere."""
    over, live = threading.Event(), sys.stdout.isatty()

    def count():
        while not over.wait(0.5 if live else 10):
            line = f"           {load.answers} requests, {len(load.failures)} failed"
            print(f"\r\033[K{line}" if live else line, end="" if live else "\n", flush=True)

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def prepare():
    """The monolith, with a copy of the reference project that may be changed."""
    shutil.rmtree(BUILD, ignore_errors=True)
    shutil.copytree(ROOT / "inventories/monolith", INVENTORY)
    shutil.copytree(ROOT / "django_app", PROJECT, ignore=shutil.ignore_patterns("__pycache__", "node_modules", ".venv"))
    file = INVENTORY / "group_vars/all/main.yml"
    variables = yaml.safe_load(file.read_text())
    variables["appliance_apps"]["shop"]["source"]["path"] = str(PROJECT)
    file.write_text(yaml.safe_dump(variables))
    return Site(INVENTORY)


def run(site, title, playbook, good=True, shown=""):
    """Run a playbook, which must end as foreseen; print the lines that hold `shown`."""
    say(f"==> {title}")
    began = time.monotonic()
    done = site.play(playbook, check=False)
    for line in dict.fromkeys(line.strip(" \"',") for line in done.stdout.splitlines() if shown and shown in line):
        say(f"    {line[:200]}")
    say(f"    {playbook} {'succeeded' if done.returncode == 0 else 'failed'} after {time.monotonic() - began:.0f} s")
    if (done.returncode == 0) is not good:
        raise Unexpected(f"{playbook} had to {'succeed' if good else 'fail'}:\n{done.stdout[-3000:]}")
    return done


def expect(site, words):
    """What the visitors see now."""
    footer = next((line.strip() for line in site.get(DOMAIN).text.splitlines() if "demo:" in line), "demo: nothing")
    say(f"    the page says: {footer}")
    if words not in footer:
        raise Unexpected(f"the page had to say {words!r}")


def show(site):
    template = next(path for path in (PROJECT / "templates/django").rglob("*.html") if "</footer>" in path.read_text())
    page, urls = template.read_text(), PROJECT / "config/urls.py"

    def release(number):
        template.write_text(page.replace("</footer>", f"<p>demo: release {number}</p>\n</footer>"))

    release(1)
    run(site, "A first release, and somebody looks at it", "playbooks/deploy.yml")
    site.load = Load(site, times=2)
    with site.load as load, counter(load):
        expect(site, "release 1")
        release(2)
        run(site, "A good release", "playbooks/deploy.yml")
        expect(site, "release 2")
        good = urls.read_text()
        release(3)
        urls.write_text("import a_package_that_nobody_installed\n" + good)
        run(site, "A broken release: one of its imports is missing", "playbooks/deploy.yml", good=False, shown="a_package_that")
        expect(site, "release 2")
        run(site, "Back to the release before", "playbooks/rollback.yml")
        expect(site, "release 1")
        urls.write_text(good)
        run(site, "The broken release, mended", "playbooks/deploy.yml")
        expect(site, "release 3")
        run(site, "What was released", "playbooks/releases.yml", shown="  20")
    for failure in load.failures[:20]:
        say(f"failed: {failure}")


def main():
    parser = argparse.ArgumentParser(prog="make deploy-demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    options = parser.parse_args()
    site, problem = prepare(), None
    site.load = None
    try:
        say("==> Two machines, and the monolith on them")
        site.up()
        site.play()
        show(site)
    except (Unexpected, AssertionError) as error:
        problem = error
    finally:
        if not options.keep:
            site.down()
    if problem:
        say(f"{problem}")
    requests, failed = (site.load.answers, len(site.load.failures)) if site.load else (0, 0)
    say(f"{requests} requests, {failed} failed")
    return 1 if problem or failed or not requests else 0


if __name__ == "__main__":
    sys.exit(main())
