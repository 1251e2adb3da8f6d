"""The inventory to be measured: a copy of a drawing, and what the benchmark adds to it as arrows and apps."""

import copy
import re
import shutil

import yaml

ADDED = "group_vars/all/zz_bench.yml"
# The page that is measured, saved as a file; and its compressed bytes as something that nobody compresses again.
SAVED, BINARY = "/static/bench-page.html", "/static/bench-page.bin"
# Gunicorn's sync workers and ports of the stock peers; bench/README.md describes them. Of the tuned ones there are 2n + 1, as
# Gunicorn's manual has it.
PEERS = {
    "peer_ads": {"kind": "ads", "port": 8501, "workers": 3, "tuned": False},
    "peer_cc": {"kind": "cc", "port": 8502, "workers": 1, "tuned": False},
    "peer_ads_tuned": {"kind": "ads", "port": 8503, "workers": 0, "tuned": True},
    "peer_cc_tuned": {"kind": "cc", "port": 8504, "workers": 0, "tuned": True},
}


def copied(source, target):
    """Copy an inventory; sources of apps that are relative to it stay what they were."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    (target / ADDED).unlink(missing_ok=True)
    for path in target.rglob("*.yml"):
        text = path.read_text()
        path.write_text(re.sub(r"(path: )(\.\.?/[^\s,}]+)", lambda found: found[1] + str((source / found[2]).resolve()), text))


def variables(inventory):
    """What its group_vars/all says, later files last."""
    merged = {}
    for path in sorted((inventory / "group_vars/all").glob("*.yml")):
        merged |= yaml.safe_load(path.read_text()) or {}
    return merged


def engine_of(app):
    """The template engine that an app of the contract uses."""
    return (app.get("env") or {}).get("TEMPLATE_ENGINE", "django")


def keeps_pages(app):
    """Whether an app of the contract has a page cache."""
    return (app.get("cache") or {}).get("mode", "off") != "off"


def with_engines(apps, engines):
    """The first app, and one more for each other template engine: same project, same contract."""
    name, app = next(iter(apps.items()))
    found = dict(apps)
    for engine in engines:
        if engine != engine_of(app):
            other = copy.deepcopy(app)
            other["env"] = {**(app.get("env") or {}), "TEMPLATE_ENGINE": engine}
            other["domains"] = [f"{engine}.{app['domains'][0]}"]
            other["redirects"] = []
            found[f"{name}_{engine}"] = other
    return found


def extend(inventory, engines, peers, processors):
    """Add apps, arrows and the peers' variables to a copy."""
    known = variables(inventory)
    peers = {name: {**peer, "workers": peer["workers"] or 2 * processors + 1} for name, peer in peers.items()}
    added = {
        "appliance_apps": with_engines(known["appliance_apps"], engines),
        "appliance_flows": [
            *known["appliance_flows"],
            {"name": "benchmark to peers", "from": "world", "to": "app", "ports": [peer["port"] for peer in peers.values()]},
        ],
        "bench_app": next(iter(known["appliance_apps"])),
        "bench_peers": peers,
    }
    (inventory / ADDED).write_text(yaml.safe_dump(added, sort_keys=False))


def targets(apps, peers, public_port):
    """What to measure, by name, from the apps of the extended drawing; see load.Target."""
    name, app = next(iter(apps.items()))
    main = {"app": name, "domain": app["domains"][0]}
    page = {**main, "path": "/catalog/"}
    found = {"static": {**main, "path": SAVED}, "static_binary": {**main, "path": BINARY}}
    if keeps_pages(app):
        found["cached_page"] = {**page, "cache": "HIT"}
        found["cached_page_writes"] = {**page, "writes_per_second": 10, "database": name}
    for other, contract in apps.items():
        if other == name or other.startswith(f"{name}_"):
            found[f"dynamic_{engine_of(contract)}"] = {"app": other, "domain": contract["domains"][0], "path": "/catalog/", "pass_by": True}
    found["api"] = {**main, "path": "/api/products/", "pass_by": True}
    found["write"] = {**main, "write": True, "database": name}
    for peer, what in peers.items():
        behind = {"app": name, "domain": app["domains"][0], "port": what["port"], "public": what["port"]}
        if not what["tuned"]:
            found[f"{peer}_static"] = {**behind, "path": SAVED}
            found[f"{peer}_static_binary"] = {**behind, "path": BINARY}
        elif what["kind"] == "cc":  # where workers serve files
            found[f"{peer}_static"] = {**behind, "path": SAVED}
        found[f"{peer}_cached_page"] = {**behind, "path": "/catalog/"}
        found[f"{peer}_dynamic"] = {**behind, "path": "/catalog/", "pass_by": True}
    return found
