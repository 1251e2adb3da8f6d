"""The benchmark's own arithmetic and judgement; nothing here measures anything."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

from bench import drawing, figures, load, memory, plot

MONOLITH = Path(__file__).resolve().parents[2] / "inventories/monolith"


def rows(name, rates, cpu=100.0):
    """Samples of one target, one a round."""
    same = {"target": name, "cpu_us": cpu, "database_us": 5.0, "p50_us": 900, "p99_us": 4000, "bytes": 3700}
    return [{"round": number, "rate": rate, **same} for number, rate in enumerate(rates)]


WRK = {"requests": 1000, "microseconds": 2000000, "bytes": 3700000, "p50_us": 1, "p99_us": 2, "connect": 0, "read": 0, "write": 0,
       "timeout": 0, "status": 0}  # fmt: skip


def test_wrk_is_read_from_its_last_line():
    """Before it stands what wrk itself prints."""
    assert load.parse_wrk("Running 2s test\n  12 requests\n\n" + json.dumps(WRK) + "\n") == WRK


def test_wrk_without_figures_is_refused():
    """A wrk that could not start must not become a zero."""
    with pytest.raises(load.Unusable, match="unable to resolve"):
        load.parse_wrk("unable to resolve host\n")


def test_right_answers_are_accepted():
    """The last answers may have been cut off."""
    load.check("static", {**WRK, "bytes": 3690000}, 3700)


@pytest.mark.parametrize("wrong", [
    {"status": 1}, {"timeout": 2}, {"connect": 1}, {"read": 3}, {"write": 1}, {"requests": 0}, {"bytes": 400000},
])  # fmt: skip
def test_errors_and_other_pages_are_refused(wrong):
    """A benchmark of error pages or redirects is worth nothing."""
    with pytest.raises(load.Unusable, match="static"):
        load.check("static", {**WRK, **wrong}, 3700)


@pytest.mark.parametrize(("name", "content", "wanted"), [
    ("cpuacct.usage", "25319732629\n", 25319732.629),
    ("cpu.stat", "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n", 1234),
])  # fmt: skip
def test_cpu_is_read_from_either_kind_of_control_group(tmp_path, name, content, wanted):
    """Version 1 counts nanoseconds, version 2 microseconds."""
    (tmp_path / name).write_text(content)
    assert load.cpu_us(str(tmp_path / name)) == pytest.approx(wanted)


def test_ratio_is_that_of_the_rounds():
    """A round that was slow for both must not tell."""
    runs = figures.by_target(rows("cached_page", [90, 9, 95]) + rows("static", [100, 10, 100]))
    assert figures.ratio(runs, "cached_page", "static") == 0.9
    assert figures.ratio(runs, "cached_page", "absent") is None


def test_entry_is_what_the_issue_asks_for():
    """name, value, unit, baseline, ratio, cpu_us, runs."""
    found = {one["name"]: one for one in figures.entries(rows("static", [100, 300, 200]) + rows("peer_ads_static", [50, 150, 100]), [])}
    one = found["peer_ads_static"]
    assert (one["value"], one["unit"], one["baseline"], one["ratio"], one["cpu_us"]) == (100, "requests/s", "static", 0.5, 100)
    assert one["runs"] == [50, 150, 100]
    assert found["static"]["baseline"] is None


def test_single_figures_are_entries_of_the_same_form():
    """Who reads bench.json needs to know one form."""
    one = {"name": "converge_s", "value": 61.2, "unit": "seconds"}
    assert figures.entries([], [one]) == [{**one, "baseline": None, "ratio": None, "cpu_us": None, "runs": [61.2]}]


def test_claims_tell_what_is_missed():
    """Only of what was measured, and by the worse of rounds for the stampede."""
    samples = [*rows("static", [100]), *rows("cached_page", [89]), *rows("peer_ads_static", [50])]
    samples += [{"round": 0, "target": "stampede_renders", "renders": 1}, {"round": 1, "target": "stampede_renders", "renders": 2}]
    found = {claim: (seen, met) for claim, seen, _, met in figures.claims(samples, [{"name": "memory_app_host_mb", "value": 240}])}
    assert found == {
        "cached page / same bytes as a file": (0.89, False),
        "static / peer_ads": (2.0, True),
        "renders of a page that 200 ask for at once": (2, False),
        "idle memory of the app host, MB": (240, True),
    }


def test_tables_are_for_people():
    """Every figure once; columns of one width."""
    samples = rows("static", [100, 300, 200]) + rows("peer_ads_static", [50, 150, 100])
    extra = [{"name": "memory_app_host_mb", "value": 240.0, "unit": "MB", "parts": {"nginx.service": 15.1}}]
    said = figures.text(figures.entries(samples, extra), figures.claims(samples, extra))
    assert re.search(r"^\| static +\| +200 \| +100 to 300 \|", said, re.M)
    assert "0.5 x static" in said
    assert re.search(r"^\| - nginx.service +\| +15.1 \| +MB \|$", said, re.M)
    first = said.split("\n\n")[0].splitlines()
    assert len({len(line) for line in first}) == 1


def test_picture_is_whole():
    """Well-formed, a bar for each figure and panel, nothing from elsewhere."""
    picture = plot.svg(figures.entries(rows("static", [20000]) + rows("peer_cc_dynamic", [0.5], cpu=9000.0), []), "here <today>")
    tree = ElementTree.fromstring(picture)  # noqa: S314
    assert len(tree.findall("{*}rect")) == 1 + 4
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")


@pytest.fixture
def inventory(tmp_path):
    """A copy of the monolith as the benchmark makes it."""
    target = tmp_path / "bench"
    drawing.copied(MONOLITH, target)
    return target


def test_copy_finds_its_sources(inventory):
    """They are relative to the inventory, and that has moved."""
    source = drawing.variables(inventory)["appliance_apps"]["shop"]["source"]["path"]
    assert source == str(MONOLITH.parents[1] / "django_app")


def test_extended_drawing_adds_and_changes_nothing(inventory):
    """Arrows and apps of the drawing stay; each engine gets an app of the same contract, each peer an open port."""
    before = drawing.variables(inventory)
    drawing.extend(inventory, ["django", "jinja2"], drawing.PEERS, processors=2)
    after = yaml.safe_load((inventory / drawing.ADDED).read_text())
    assert after["appliance_flows"][:-1] == before["appliance_flows"]
    assert after["appliance_apps"]["shop"] == before["appliance_apps"]["shop"]
    other = after["appliance_apps"]["shop_jinja2"]
    assert (other["env"], other["domains"]) == ({"TEMPLATE_ENGINE": "jinja2"}, ["jinja2.shop.example.test"])
    assert {peer["workers"] for peer in after["bench_peers"].values()} == {3, 1, 5}
    assert set(after["appliance_flows"][-1]["ports"]) == {peer["port"] for peer in drawing.PEERS.values()}


def test_targets_follow_the_drawing(inventory):
    """A page cache is measured where there is one."""
    apps = drawing.variables(inventory)["appliance_apps"]
    assert "cached_page" not in drawing.targets(apps, {}, 8443)
    apps["shop"]["cache"] = {"mode": "tags"}
    found = drawing.targets(drawing.with_engines(apps, ["django", "mako"]), drawing.PEERS, 8443)
    assert found["cached_page"]["cache"] == "HIT"
    assert {"static", "dynamic_django", "dynamic_mako", "api", "write", "peer_ads_cached_page", "peer_cc_tuned_dynamic"} <= set(found)
    assert found["peer_cc_static"]["port"] == drawing.PEERS["peer_cc"]["port"]


@pytest.mark.parametrize(("groups", "unit"), [
    ("0::/system.slice/nginx.service\n", "nginx.service"),
    ("1:name=systemd:/lab/web1\n0::/system.slice/system-shop.slice/shop@0a1b2c.service\n", "shop@.service"),
    ("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"),
    ("0::/\n", "other"),
])  # fmt: skip
def test_processes_are_counted_to_their_unit(groups, unit):
    """Instances of one unit are one service."""
    assert memory.unit_of(groups) == unit
