"""The run from an empty lab to the report."""

import argparse
import gzip
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import yaml

from bench import drawing, figures, plot

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
INVENTORY = BUILD / "inventories/bench"
LOG = BUILD / "bench-ansible.log"
PAGES = BUILD / "bench-pages"
OVERLAY = ROOT / ".lab/bench/inventory"
LAB = [sys.executable, str(ROOT / "molecule/lab")]
README = Path(__file__).with_name("README.md")
MARKS = ("<!-- written by `make bench RECORD=1` -->", "<!-- end of figures -->")
CLIENTS = 200
MEMORY = Path(__file__).with_name("memory.py")


class Failed(Exception):
    """Something the user has to look at."""


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def run(*command, **options):
    """What a command prints; where it fails, show the end of what it said."""
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, **options)
    if done.returncode:
        raise Failed(f"`{' '.join(map(str, command))}` failed ({done.returncode}):\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def play(playbook, *arguments):
    """Run a playbook on the lab: (its output, seconds)."""
    began = time.monotonic()
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["ansible-playbook", "-i", str(INVENTORY), "-i", str(OVERLAY), playbook, *arguments]
    with open(LOG, "w") as log:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, timeout=1800)
    output, seconds = LOG.read_text(), time.monotonic() - began
    if done.returncode:
        raise Failed(f"{playbook} failed; see {LOG}:\n{output[-3000:]}")
    say(f"{playbook}: {seconds:.0f} s")
    return output, seconds


def changes(output):
    """Sum over the hosts of what a run says that it changed."""
    return sum(map(int, re.findall(r"^\S+\s+: ok=\d+\s+changed=(\d+)", output, re.M)))


def install_wrk():
    if shutil.which("wrk"):
        return
    say("installing Debian's wrk")
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    run(*sudo, "apt-get", "update", "-q")
    run(*sudo, "apt-get", "install", "-y", "-q", "--no-install-recommends", "wrk")


def hosts():
    """What the lab says of itself: ({host: facts}, the public port)."""
    facts = json.loads(run(*LAB, "status", "bench", "--json"))
    return {host["name"]: host for host in facts["hosts"]}, facts["public_port"]


def first(found, group):
    """The first host of a group."""
    return next((host for host in found.values() if group in host["groups"]), None) or next(iter(found.values()))


def cpu_file(name):
    """Where the kernel counts the CPU of one of the lab's machines."""
    sys.path.append(str(ROOT / "molecule"))
    from lab import units

    for folder in units.hierarchies():
        usage = folder / units.GROUP / "bench" / name / "cpuacct.usage"
        if usage.exists():
            return str(usage)
    stat = units.group_of("bench", name) / "cpu.stat"
    if not stat.exists():
        raise Failed(f"the control group of {name} counts no CPU: {stat} is missing")
    return str(stat)


def engines():
    """The template engines that the project has pages for."""
    return [engine for engine in ("django", "jinja2", "mako") if (ROOT / "django_app/templates" / engine).is_dir()]


def raise_drawing(source):
    """The drawing alone, from nothing: how long that takes, and how long a run with nothing to do."""
    say(f"raising {source.name}")
    drawing.copied(source, INVENTORY)
    run(*LAB, "down", INVENTORY)
    shutil.rmtree(ROOT / ".secrets/lab-bench", ignore_errors=True)
    run(*LAB, "up", INVENTORY)
    _, converge = play("site.yml")
    output, noop = play("site.yml")
    if changes(output):
        raise Failed(f"the second run changed something; see {LOG}")
    return [
        {"name": "converge_s", "value": round(converge, 1), "unit": "seconds"},
        {"name": "noop_s", "value": round(noop, 1), "unit": "seconds"},
        *there_and_back(),
    ]


def there_and_back():
    """How long a deploy takes when one template changed, and how long the way back; whole runs."""
    files = [path for path in INVENTORY.rglob("*.yml") if str(ROOT / "django_app") in path.read_text()]
    told = {path: path.read_text() for path in files}
    with tempfile.TemporaryDirectory() as folder:  # outside of the repository, whose .gitignore leaves out what lies in build/
        project = Path(folder, "django_app")
        shutil.copytree(ROOT / "django_app", project)
        for page in (project / "templates").rglob("skeleton.html"):
            page.write_text(page.read_text() + "\n")
        try:
            for path, text in told.items():
                path.write_text(text.replace(str(ROOT / "django_app"), str(project)))
            deployed, deploy = play("playbooks/deploy.yml")
            returned, rollback = play("playbooks/rollback.yml")
        finally:
            for path, text in told.items():
                path.write_text(text)
    if not changes(deployed) or not changes(returned):
        raise Failed(f"deploy or rollback changed nothing; see {LOG}")
    return [
        {"name": "deploy_code_s", "value": round(deploy, 1), "unit": "seconds"},
        {"name": "rollback_s", "value": round(rollback, 1), "unit": "seconds"},
    ]


def make_plan(options, extra_targets=True):
    """What load.py is to do."""
    known = drawing.variables(INVENTORY)
    found, port = hosts()
    app, database = first(found, "app"), first(found, "db")
    name, contract = next(iter(known["appliance_apps"].items()))
    return {
        "name": "bench",
        "lab": LAB,
        "ca": str(ROOT / ".secrets/lab-bench/ca.crt"),
        "address": first(found, "gateway")["addresses"][0],
        "public_port": port,
        "app_host": app["name"],
        "app_address": app["addresses"][0],
        "database_host": database["name"],
        "cpu": {host: cpu_file(host) for host in found},
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": options.connections,
        "page": {"app": name, "domain": contract["domains"][0], "path": "/catalog/"},
        "targets": drawing.targets(known["appliance_apps"], known.get("bench_peers", {}), port) if extra_targets else {},
        "stampede": CLIENTS if drawing.keeps_pages(contract) and re.search(options.only, "stampede") else 0,
    }


def load(plan, *arguments, binary=False):
    """Run load.py as somebody outside."""
    path = BUILD / "bench-plan.json"
    path.write_text(json.dumps(plan, indent=1))
    command = [*LAB, "exec", "bench", "--from", "outsider", "/usr/bin/python3", ROOT / "bench/load.py", path, *arguments]
    process = subprocess.Popen([str(word) for word in command], cwd=ROOT, stdout=subprocess.PIPE, text=not binary)
    with process:
        yield from process.stdout
    if process.returncode:
        raise Failed("the load could not be measured; see above")


def memory(plan):
    """Proportional memory (PSS) of the app's host after its pages were used, by service."""
    for _ in load({**plan, "visits": 50}, "visit"):
        pass
    time.sleep(5)
    said = run(*LAB, "exec", "bench", "--on", plan["app_host"], "python3", "-", input=MEMORY.read_text())
    parts = {name: round(kilobytes / 1024, 1) for name, kilobytes in sorted(json.loads(said).items(), key=lambda one: -one[1])}
    return [{"name": "memory_app_host_mb", "value": round(sum(parts.values()), 1), "unit": "MB", "parts": parts}]


def add_peers(options):
    """More engines, the peers, and what they need of the drawing."""
    say("adding the other template engines and the stock peers")
    drawing.extend(INVENTORY, engines(), drawing.PEERS, os.cpu_count())
    play("site.yml")
    packed = b"".join(load(make_plan(options), "page", binary=True))
    PAGES.mkdir(exist_ok=True)
    for name, content in {"html": gzip.decompress(packed), "html.gz": packed, "bin": packed}.items():
        (PAGES / f"bench-page.{name}").write_bytes(content)
    play("bench/peers.yml", "--extra-vars", json.dumps({"bench_pages": f"{PAGES}/"}))


def measure(options):
    """All rounds: the samples."""
    plan = make_plan(options)
    plan["targets"] = {name: target for name, target in plan["targets"].items() if re.search(options.only, name)}
    for name in ("static", "static_binary"):
        if name in plan["targets"]:
            plan["targets"][name]["length"] = (PAGES / "bench-page.html.gz").stat().st_size
    say(f"{options.rounds} rounds of {options.seconds} s for each of {len(plan['targets'])} targets")
    samples = []
    for line in load(plan):
        samples.append(json.loads(line))
        one = samples[-1]
        if "rate" in one:
            say(f"round {one['round'] + 1}: {one['target']:28} {one['rate']:9.0f}/s  {one['cpu_us']:8.0f} µs CPU")
    return samples


def machine():
    """The machine that all figures depend on."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    total = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) // 1024 // 1024
    return f"{os.cpu_count()} x {model[1] if model else platform.machine()}, {total} GB"


def report(options, samples, extra):
    """Write bench.json, the picture and the tables; print the latter."""
    found = figures.entries(samples, extra)
    said = figures.text(found, figures.claims(samples, extra))
    how = f"{options.rounds} rounds of {options.seconds} s, {options.connections} connections"
    caption = f"{datetime.now(UTC):%Y-%m-%d}, {machine()}; {how}"
    (BUILD / "bench.json").write_text(json.dumps(found, indent=1) + "\n")
    (BUILD / "bench.svg").write_text(plot.svg(found, caption))
    (BUILD / "bench.md").write_text(f"{caption}.\n\n{said}\n")
    print(f"\n{caption}\n\n{said}\n")
    if options.record:
        before, _, rest = README.read_text().partition(MARKS[0])
        README.write_text(f"{before}{MARKS[0]}\n{caption}.\n\n{said}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}")
        shutil.copy(BUILD / "bench.svg", README.with_name("bench.svg"))


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--inventory", type=Path, default=ROOT / "inventories/monolith_advanced", help="the drawing to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each sample")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--only", metavar="PATTERN", default=".", help="targets whose name this regular expression finds")
    parser.add_argument("--quick", action="store_true", help="one round of one second: to see whether it works")
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    parser.add_argument("--reuse", action="store_true", help="measure in the lab that --keep left")
    parser.add_argument("--record", action="store_true", help="write the figures into bench/README.md, too")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds = options.seconds = 1
    if not 1 <= options.rounds <= 50 or not 1 <= options.seconds <= 60:
        parser.error("1 to 50 rounds, 1 to 60 seconds")
    return options


def main():
    options = parse(sys.argv[1:])
    began = time.monotonic()
    INVENTORY.parent.mkdir(parents=True, exist_ok=True)
    kept = BUILD / "bench-raised.json"
    try:
        install_wrk()
        if options.reuse:
            extra = json.loads(kept.read_text())
        else:
            extra = raise_drawing(options.inventory.resolve())
            extra += memory(make_plan(options, extra_targets=False))
            add_peers(options)
            kept.write_text(json.dumps(extra))
        report(options, measure(options), extra)
        say(f"done after {time.monotonic() - began:.0f} s; see {BUILD.relative_to(ROOT)}/bench.{{json,svg,md}}")
    except (Failed, yaml.YAMLError, OSError) as error:
        say(error)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if not (options.keep or options.reuse):
            run(*LAB, "down", INVENTORY)
    return 0
