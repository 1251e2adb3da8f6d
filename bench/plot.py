"""bench.json as a picture: two bars for each figure, on logarithmic scales."""

from html import escape
from math import log10

ROW, LEFT, BAR, GAP = 22, 190, 330, 110
PANELS = (("requests per second, more is better", "value"), ("CPU µs of the app's host per request, less is better", "cpu_us"))
COLOURS = {"peer": "#b8860b", "ours": "#1f6f54"}
STYLE = "text{font:12px sans-serif;fill:#222}.grid{stroke:#ddd}.title{font-weight:bold}"


def svg(figures, caption):
    """The whole document, without anything from elsewhere."""
    rows = [one for one in figures if one["unit"] == "requests/s"]
    height = 70 + ROW * len(rows)
    width = LEFT + 2 * (BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="Benchmark">',
        f'<style>{STYLE}</style><rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, (title, key) in enumerate(PANELS):
        parts += panel(rows, key, title, LEFT + number * (BAR + GAP))
    for number, one in enumerate(rows):
        parts.append(label(LEFT - 8, 50 + ROW * number + 12, one["name"], "end"))
    parts += [label(8, height - 6, caption), "</svg>"]
    return "\n".join(parts) + "\n"


def label(x, y, content, anchor="start", style=""):
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" class="{style}">{escape(str(content))}</text>'


def panel(rows, key, title, left):
    """The bars of one figure, from a power of ten below the least to the largest."""
    values = [one[key] for one in rows if one[key]]
    if not values:
        return []
    low, high = 10 ** (int(log10(min(values))) - (min(values) < 1)), max(values)
    bottom = 46 + ROW * len(rows)

    def length(value):
        return round(BAR * log10(value / low) / max(log10(high / low), 0.01), 1)

    parts = [label(left, 20, title, style="title")]
    tick = low
    while tick <= high:
        x = left + length(tick)
        parts += [f'<line class="grid" x1="{x}" x2="{x}" y1="42" y2="{bottom}"/>', label(x, 38, f"{tick:g}", "middle")]
        tick *= 10
    for number, one in enumerate(rows):
        if one[key]:
            y, colour = 50 + ROW * number, COLOURS["peer" if one["name"].startswith("peer_") else "ours"]
            parts.append(f'<rect x="{left}" y="{y}" width="{max(length(one[key]), 1)}" height="{ROW - 7}" fill="{colour}"/>')
            parts.append(label(left + length(one[key]) + 5, y + 12, f"{one[key]:g}"))
    return parts
