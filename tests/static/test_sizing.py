"""Each service's share of a host is as documented, fits, and asks for no more connections than there are.

`PYTHONPATH=tests python tests/static/test_sizing.py` writes the table in docs/sizing.md anew.
"""

from __future__ import annotations

import re

import pytest
from conftest import ROOT, load_module, load_yaml

sizing = load_module(ROOT / "roles/appliance/filter_plugins/appliance_sizes.py")
PAGE = ROOT / "docs/sizing.md"
DEFAULTS = load_yaml(ROOT / "roles/django_app/defaults/main.yml")["django_app_defaults"]
APP = {**DEFAULTS, "cache": {"mode": "tags"}, "redis": {"cache": True, "queue": False}}
MEMORY, CORES, APPS = (1024, 4096, 65536), (1, 2, 16), (1, 3)
#: Drawing to the boxes of each of its hosts.
DRAWINGS = {
    "one machine": [("gateway", "cache", "app", "db")],
    "monolith": [("gateway", "cache", "app"), ("db",)],
    "three machines": [("gateway", "cache"), ("app",), ("db",)],
}
COLUMNS = {
    "system_mb": "", "gateway_cache_mb": "gateway", "redis_cache_mb": "cache",
    "postgresql_memory_mb": "db", "postgresql_max_connections": "db",
}  # fmt: skip
BEGIN, END = "<!-- table: tests/static/test_sizing.py -->\n", "<!-- end -->"


def apps(number):
    return {f"app{one}": APP for one in range(number)}


def sizes(memory_mb=1024, cores=2, boxes=("gateway", "cache", "app"), number=1, **changes):
    return sizing.appliance_sizes({name: {**app, **changes} for name, app in apps(number).items()}, memory_mb, cores, boxes, "redis")


def table():
    """The table of docs/sizing.md."""
    titles = ["memory", "cores", "apps", "boxes", "system", "pages in the gateway", "Redis cache", "PostgreSQL", "its connections"]
    titles += ["processes x threads of an app", "connections of the apps", "worst case"]
    rows = [
        f"| {' | '.join(titles)} |",
        "|" + " --- |" * 12,
    ]
    for boxes in (("gateway", "cache", "app"), ("gateway", "cache", "app", "db"), ("app",), ("db",)):
        for memory in MEMORY:
            for cores in CORES:
                for number in APPS:
                    found = sizes(memory, cores, boxes, number)
                    one = found["apps"]["app0"]
                    connections = sum(sizing.appliance_connections(apps(number), found).values())
                    fits = "" if found["needed_mb"] <= memory else " (refused)"
                    here = {key for key, box in COLUMNS.items() if box in boxes or not box}
                    cells = [memory, cores, number, ", ".join(boxes), *(found[key] if key in here else "" for key in COLUMNS)]
                    cells += [f"{one['processes']} x {one['threads']}", connections] if "app" in boxes else ["", ""]
                    row = "| " + " | ".join(map(str, [*cells, f"{found['needed_mb']}{fits}"])) + " |"
                    if "app" in boxes or (cores == CORES[0] and number == APPS[0]):
                        rows.append(re.sub(" +", " ", row))
    return "\n".join(rows) + "\n"


def test_the_page_shows_what_comes_out():
    """A table that drifts is worse than none."""
    assert table() == PAGE.read_text().partition(BEGIN)[2].partition(END)[0], "type: PYTHONPATH=tests python tests/static/test_sizing.py"


@pytest.mark.parametrize("cores", CORES)
@pytest.mark.parametrize("boxes", [("gateway", "cache", "app"), ("gateway", "cache", "app", "db")])
def test_one_app_fits_a_machine_of_one_gigabyte(boxes, cores):
    """The smallest machine one can rent; the kernel keeps some of it."""
    memory = 896 if "db" not in boxes else 1024
    assert sizes(memory, cores, boxes)["needed_mb"] <= memory


@pytest.mark.parametrize("memory", [memory for memory in MEMORY if memory > 1024])
@pytest.mark.parametrize("cores", CORES)
@pytest.mark.parametrize("number", APPS)
@pytest.mark.parametrize("drawing", DRAWINGS)
def test_larger_machines_hold_any_drawing_and_serve_all_connections(memory, cores, number, drawing):
    """Three apps on three machines or on one, out of the box."""
    hosts = {str(boxes): sizes(memory, cores, boxes, number) for boxes in DRAWINGS[drawing]}
    assert [problem for one in hosts.values() for problem in sizing.appliance_size_problems(one, memory)] == []
    database = next(found for boxes, found in hosts.items() if "db" in boxes)
    counted = {boxes: found for boxes, found in hosts.items() if "app" in boxes}
    counted = {boxes: {"__appliance_connections": sizing.appliance_connections(apps(number), found)} for boxes, found in counted.items()}
    wanted = sum(sum(one["__appliance_connections"].values()) for one in counted.values()) + sizing.RESERVED
    found = sizing.appliance_connection_problems(counted, counted, database["postgresql_max_connections"])
    assert bool(found) is (wanted > database["postgresql_max_connections"])
    assert not found or (memory, cores, number) == (4096, 16, 3), "a plain drawing is refused"


def test_what_does_not_fit_is_told_with_the_way_out():
    """The kernel would choose whom to kill, at night."""
    found = sizing.appliance_size_problems(sizes(number=3), 1024)
    lacking = re.search(r"appliance_memory_overcommit_mb: (\d+)", found[0])[1]
    assert sizing.appliance_size_problems(sizes(number=3), 1024, lacking) == []
    assert sizing.appliance_size_problems(sizes(number=3), 1024, int(lacking) - 1) == found


def test_too_many_connections_are_told_with_the_number_to_set():
    """PostgreSQL would refuse them under load, at a hand-over."""
    hostvars = {host: {"__appliance_connections": {"shop": 67}} for host in ("a", "b")} | {"out of reach": {}}
    found = sizing.appliance_connection_problems(list(hostvars), hostvars, 143)
    assert "set postgresql_max_connections: 144" in found[0]
    assert sizing.appliance_connection_problems(list(hostvars), hostvars, 144) == []


def test_workers_and_timers_are_counted():
    """They are processes, too, and hold connections; a hand-over never has them twice."""
    workers = {"mail": {"command": "x", "instances": 3, "connections": 2}, "beat": {"command": "x", "memory_mb": 64}}
    with_them = {"app0": {**APP, "workers": workers, "timers": {"nightly": {}, "weekly": {"memory_mb": 200}}}}
    plain, found = sizes(4096), sizing.appliance_sizes(with_them, 4096, 2, ("gateway", "cache", "app"), "redis")
    assert found["needed_mb"] - plain["needed_mb"] == 3 * 128 + 64 + 200
    assert sizing.appliance_connections(with_them, found)["app0"] - sizing.appliance_connections(apps(1), plain)["app0"] == 3 * 2 + 1 + 2
    contract = load_module(ROOT / "roles/django_app/filter_plugins/django_app.py")
    for defaults in (contract.WORKER, contract.TIMER):
        assert (defaults["memory_mb"], defaults["connections"]) == (sizing.COMPANION_MB, sizing.COMPANION_CONNECTIONS)


def test_somebody_elses_database_is_not_counted():
    """Its limit is not ours to know."""
    external = {"app0": {**APP, "database": {"external": {"host": "x"}}}}
    assert sizing.appliance_connections(external, sizes()) == {}


def test_the_inventory_has_the_last_word():
    """A project that waits for others all day wants more threads."""
    assert sizes(processes=3, threads=9)["apps"]["app0"] | {"memory_mb": 0} == {"processes": 3, "threads": 9, "memory_mb": 0}


def test_a_box_of_its_own_gets_more():
    """Nobody else is there to use the memory."""
    assert sizes(4096, boxes=("cache",))["redis_cache_mb"] > sizes(4096)["redis_cache_mb"]
    assert sizes(4096, boxes=("gateway",))["gateway_cache_mb"] > sizes(4096)["gateway_cache_mb"]
    for box in ("cache", "gateway", "app", "db"):
        assert sizes(1024, boxes=(box,))["needed_mb"] <= 1024


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2])
