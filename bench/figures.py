"""Samples → figures: medians, ranges, ratios of samples of the same round; as JSON, as text, as a picture."""

from statistics import median

# Against what each figure is held: the appliance's own that does the same, or in the case of a page what a file costs.
BASELINES = {
    "cached_page": "static",
    "cached_page_writes": "cached_page",
    "dynamic_jinja2": "dynamic_django",
    "dynamic_mako": "dynamic_django",
}
# What the peers do → who of ours does the same.
PEERS_DO = {"static": "static", "static_binary": "static_binary", "cached_page": "cached_page", "dynamic": "dynamic_django"}


def baseline_of(name):
    """The figure that this one's ratio is against, or None."""
    if name.startswith("peer_"):
        for what, ours in PEERS_DO.items():
            if name.endswith(f"_{what}"):
                return ours
    return BASELINES.get(name)


def rounded(value, digits=4):
    """A figure to so many digits that mean something."""
    return float(f"{value:.{digits}g}")


def ratio(runs, name, other, key="rate"):
    """Median of the quotients within each round: what disturbed a round disturbed both."""
    if name not in runs or other not in runs:
        return None
    quotients = [a[key] / b[key] for a, b in zip(runs[name], runs[other], strict=True) if b[key]]
    return rounded(median(quotients), 3) if quotients else None


def by_target(samples):
    """Target → its samples, in the order of rounds."""
    runs = {}
    for sample in sorted(samples, key=lambda one: one["round"]):
        runs.setdefault(sample["target"], []).append(sample)
    return runs


def entries(samples, extra):
    """build/bench.json: one entry for each target, then `extra` ones ({name, value, unit, …})."""
    runs = by_target(sample for sample in samples if "rate" in sample)
    found = []
    for name, rows in runs.items():
        baseline = baseline_of(name) if baseline_of(name) in runs else None
        found.append(
            {
                "name": name,
                "value": rounded(median(row["rate"] for row in rows)),
                "unit": "requests/s",
                "baseline": baseline,
                "ratio": ratio(runs, name, baseline),
                "cpu_us": rounded(median(row["cpu_us"] for row in rows)),
                "cpu_ratio": ratio(runs, name, baseline, "cpu_us"),
                "database_us": rounded(median(row["database_us"] for row in rows)),
                "p50_ms": rounded(median(row["p50_us"] for row in rows) / 1000, 3),
                "p99_ms": rounded(median(row["p99_us"] for row in rows) / 1000, 3),
                "bytes": round(median(row["bytes"] for row in rows)),
                "runs": [rounded(row["rate"]) for row in rows],
            }
        )
    renders = [sample["renders"] for sample in samples if "renders" in sample]
    if renders:
        extra = [{"name": "stampede_renders", "value": median(renders), "unit": "renders", "runs": renders}, *extra]
    return found + [{"baseline": None, "ratio": None, "cpu_us": None, "runs": [one["value"]], **one} for one in extra]


def claims(samples, extra):
    """What the appliance is to show, with the figure that was seen and whether it does: [(claim, seen, bar, met)]."""
    runs = by_target(sample for sample in samples if "rate" in sample)
    found = []

    def add(claim, seen, bar, met):
        if seen is not None:
            found.append((claim, seen, bar, met(seen, bar)))

    def at_least(seen, bar):
        return seen >= bar

    def at_most(seen, bar):
        return seen <= bar

    a, b = "peer_ads", "peer_cc"
    add("cached page / same bytes as a file", ratio(runs, "cached_page", "static"), 0.9, at_least)
    for what, ours, bars in (
        ("cached page", "cached_page", (20, 30)),
        ("static", "static", (1.5, 10)),
        ("dynamic page, Django's templates", "dynamic_django", (3, 2)),
        ("dynamic page, Jinja2", "dynamic_jinja2", (4, 3)),
    ):
        theirs = {"cached_page": "cached_page", "static": "static"}.get(ours, "dynamic")
        for peer, bar in zip((a, b), bars, strict=True):
            add(f"{what} / {peer}", ratio(runs, ours, f"{peer}_{theirs}"), bar, at_least)
    for ours in ("dynamic_django", "dynamic_jinja2", "dynamic_mako"):
        tuned = [ratio(runs, f"{peer}_tuned_dynamic", ours, "cpu_us") for peer in (a, b)]
        if None not in tuned:
            add(f"CPU of the better tuned peer / {ours}", min(tuned), 1.2, at_least)
    add("cached page with 10 writes/s / without", ratio(runs, "cached_page_writes", "cached_page"), 0.8, at_least)
    renders = [sample["renders"] for sample in samples if "renders" in sample]
    if renders:
        add("renders of a page that 200 ask for at once", max(renders), 1, at_most)
    memory = [one["value"] for one in extra if one["name"] == "memory_app_host_mb"]
    if memory:
        add("idle memory of the app host, MB", memory[0], 250, at_most)
    return found


def table(rows, heading):
    """Markdown that can also be read as it is: the first column to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in [heading, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heading))]
    lines = []
    for first, *others in cells:
        padded = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append(f"| {' | '.join(padded)} |")
    rule = ["-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths)]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])


def shown(value, digits=3):
    """A figure for people: no exponent, no false precision."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def text(figures, found):
    """The tables for people."""
    measured = [one for one in figures if one["unit"] == "requests/s"]
    heading = ["", "requests/s", "range", "p50 ms", "p99 ms", "CPU µs/request", "database's µs", "bytes", "against"]
    parts = [table([measured_row(one) for one in measured], heading)]
    others = [one for one in figures if one["unit"] != "requests/s"]
    if others:
        parts.append(table([row for one in others for row in single_rows(one)], ["", "value", "unit"]))
    if found:
        verdicts = [[claim, shown(seen), bar, "yes" if met else "NO"] for claim, seen, bar, met in found]
        parts.append(table(verdicts, ["claim", "seen", "bar", "met"]))
    return "\n\n".join(parts)


def measured_row(one):
    """The cells of a target's row."""
    span = f"{shown(min(one['runs']))} to {shown(max(one['runs']))}"
    against = f"{shown(one['ratio'])} x {one['baseline']}" if one["baseline"] else ""
    columns = [shown(one[key]) for key in ("p50_ms", "p99_ms", "cpu_us", "database_us", "bytes")]
    return [one["name"], shown(one["value"]), span, *columns, against]


def single_rows(one):
    """The row of a single figure, and below it those of its parts where it is a sum."""
    parts = [[f"- {name}", shown(value), one["unit"]] for name, value in one.get("parts", {}).items()]
    return [[one["name"], shown(one["value"]), one["unit"]], *parts]
