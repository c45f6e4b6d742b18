"""A report as one page: HTML that needs nothing else, with its plots drawn in it.

Enters: a `Report`. Leaves: HTML for someone who was not there: what was asked, what was found, how
sure it is, for whom it holds. Plots are SVG; every bar says its number, so nothing hangs on colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from recsys.ensemble.segments import SEGMENT_COLUMNS
from recsys.evaluation.report import GROUPS_LINE, Report

__all__ = ["html_page"]

_WIDTH, _BAR, _LABEL = 720, 22, 190
_MINE = {"hybrid", "as served"}

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1b22; --soft: #6c6878; --paper: #fff; --bar: #b9b4c8;
  --mine: #12867f; --line: #dcd9e4; }
@media (prefers-color-scheme: dark) { :root { --ink: #eeecf4; --soft: #a39fb1; --paper: #17161c;
  --bar: #58536a; --mine: #35b8ad; --line: #35323f; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums;
  font-size: .85rem; white-space: nowrap; }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } p.lead { font-size: 1.1rem; }
small, figcaption { color: var(--soft); } figure { margin: 1rem 0; } svg { max-width: 100%; }
svg text { fill: var(--ink); font: 13px system-ui, sans-serif; }
svg .bar { fill: var(--bar); } svg .mine { fill: var(--mine); } svg .axis { stroke: var(--soft); }
"""


def html_page(report: Report) -> str:
    """Return the page."""
    names = list(report.rankers)
    body = [
        "<h1>How good are the lists?</h1>",
        f'<p class="lead">{escape(_verdict(report))}</p>',
        *(f"<p>{escape(line)}</p>" for line in report.summary()),
        "<h2>NDCG@30 of every ranker</h2>",
        _figure(
            _bars([(n, report.rankers[n]["ndcg@30"]) for n in names]),
            "1 would be a list that begins with everything the listener went on to love.",
        ),
        "<h2>How sure is the difference?</h2>",
        _figure(
            _intervals([(n, d.mean, d.low, d.high) for n, d in report.differences.items()]),
            "Hybrid minus each other ranker in NDCG@30 for the same listeners; the line holds 95 % "
            "of a paired bootstrap. Right of the axis the hybrid is better.",
        ),
        "<h2>For whom, and for what?</h2>",
        "<p>NDCG@30 counting only the truth of each part.</p>",
        _table(
            ["part", "listeners", *names],
            [
                [part, f"{f['listeners']:.0f}", *(_number(f[n]) for n in names)]
                for part, f in report.parts.items()
            ],
        ),
    ]
    if report.segments:
        body += [
            "<h2>Listeners' groups</h2>",
            f"<p>{GROUPS_LINE}</p>",
            _table(SEGMENT_COLUMNS, [one.cells() for one in report.segments]),
        ]
    if report.ladder:
        body += [
            "<h2>The ladder of blends</h2>",
            _figure(
                _bars(list(report.ladder.items()), mine={report.blend}),
                "NDCG@30 for listeners of the blend slice who were held out of the learning; "
                f"{report.blend} serves.",
            ),
        ]
    body += [
        "<h2>All figures</h2>",
        _table(report.columns(), report.rows()),
        "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in report.notes) + "</ul>",
        f"<p><small>Dataset {escape(report.dataset)}</small></p>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Evaluation</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _verdict(report: Report) -> str:
    single = report.best_single()
    if "hybrid" not in report.rankers or single not in report.rankers:
        return "No two rankers to compare."
    ours, theirs = (report.rankers[name]["ndcg@30"] for name in ("hybrid", single))
    if not theirs:
        return f"The hybrid reaches NDCG@30 {ours:.4f}."
    difference = report.differences[single]
    sure = "more than chance explains" if difference.certain else "no more than chance explains"
    return (
        f"The hybrid ({report.blend}) reaches NDCG@30 {ours:.4f}, {ours / theirs - 1:+.1%} against "
        f"the best single model ({single}, {theirs:.4f}): {sure}."
    )


def _bars(values: Sequence[tuple[str, float]], *, mine: Iterable[str] = _MINE) -> str:
    """Return horizontal bars with their names and numbers."""
    mine = set(mine)
    largest = max((v for _, v in values if not math.isnan(v)), default=0) or 1
    room = _WIDTH - _LABEL - 70
    lines = []
    for row, (name, value) in enumerate(values):
        y, width = row * _BAR, 0 if math.isnan(value) else room * value / largest
        kind = "bar mine" if name in mine else "bar"
        lines.append(
            f'<text x="0" y="{y + 15}">{escape(name)}</text>'
            f'<rect class="{kind}" x="{_LABEL}" y="{y + 3}" width="{width:.1f}" height="16"/>'
            f'<text x="{_LABEL + width + 6:.1f}" y="{y + 15}">{_number(value)}</text>'
        )
    return _svg(lines, len(values) * _BAR)


def _intervals(values: Sequence[tuple[str, float, float, float]]) -> str:
    """Return means as dots on their intervals, beside an axis at 0."""
    ends = [v for _, _, low, high in values for v in (low, high) if not math.isnan(v)]
    left, right = min([*ends, 0.0]), max([*ends, 0.0])
    scale = (_WIDTH - _LABEL - 90) / ((right - left) or 1)

    def x(value: float) -> float:
        return _LABEL + 10 + (value - left) * scale

    height = len(values) * _BAR
    lines = [f'<line class="axis" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{height}"/>']
    for row, (name, mean, low, high) in enumerate(values):
        y = row * _BAR + 11
        lines.append(f'<text x="0" y="{y + 4}">{escape(name)}</text>')
        if not math.isnan(mean):
            lines.append(
                f'<line class="axis" x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y}" y2="{y}"/>'
                f'<circle class="mine" cx="{x(mean):.1f}" cy="{y}" r="4"/>'
                f'<text x="{x(high) + 8:.1f}" y="{y + 4}">{mean:+.4f}</text>'
            )
    return _svg(lines, height)


def _svg(lines: Sequence[str], height: int) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">' + "".join(lines) + "</svg>"


def _figure(drawing: str, caption: str) -> str:
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"

    lines = "".join(cells(row, "td") for row in rows)
    head = cells(heads, "th")
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{lines}</tbody></table></div>'


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
