"""What an evaluation found, for people and for programs.

Enters: figures per ranker. Leaves: JSON, Markdown, one HTML page (page.py), and rows for a table on
a terminal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recsys.ensemble.segments import SEGMENT_COLUMNS, Segment
from recsys.evaluation.compare import Difference
from recsys.storage import Folder

__all__ = ["GROUPS_LINE", "Report"]

GROUPS_LINE = "Who has a taste in common, and what sets it apart; the parts measure each group."

_COLUMNS = (
    ("NDCG@10", "ndcg@10"),
    ("NDCG@30", "ndcg@30"),
    ("recall@10", "recall@10"),
    ("recall@30", "recall@30"),
    ("MAP@10", "map@10"),
    ("MAP@30", "map@30"),
    ("MRR@30", "mrr@30"),
    ("hit@10", "hit_rate@10"),
    ("hit@30", "hit_rate@30"),
    ("coverage@30", "coverage@30"),
    ("novelty@30", "novelty@30"),
    ("diversity@30", "diversity@30"),
    ("Gini@30", "gini@30"),
    ("of oracle@30", "of_oracle@30"),
)
_BRIEF = (
    "ndcg@10",
    "ndcg@30",
    "recall@30",
    "hit_rate@30",
    "coverage@30",
    "novelty@30",
    "diversity@30",
    "of_oracle@30",
)
"""What fits a terminal; Markdown, HTML and JSON have all."""


@dataclass(frozen=True)
class Report:
    """The figures of one evaluation and what they were measured on."""

    rankers: Mapping[str, Mapping[str, float]]
    """Per ranker its metrics, baselines first; nan where a metric has no value."""
    differences: Mapping[str, Difference]
    """NDCG@30 of the hybrid minus that of each other ranker, for the same listeners."""
    parts: Mapping[str, Mapping[str, float]]
    """Per part of the truth its number of listeners, and NDCG@30 of every ranker."""
    segments: Sequence[Segment]
    """The groups of listeners that `parts` names by number."""
    ladder: Mapping[str, float]
    """NDCG@30 of each source and rung on the blend slice, for listeners held out of learning."""
    blend: str
    """The rung that serves."""
    kind: str
    """The kind of item that was ranked."""
    n_eligible: int
    """Items that a list could show; all of them were ranked, none sampled."""
    n_listeners: int
    """Listeners measured: those who loved something new in the test slice."""
    n_left_out: int
    """Listeners who did not, or were not drawn; they are in no figure."""
    n_events: Mapping[str, int]
    """Events in each slice: base, tune, blend, test. The models saw all but test."""
    left_out: Mapping[str, str]
    """Models that were not trained, and why."""
    dataset: str
    """Fingerprint of the dataset."""
    notes: Sequence[str] = ()
    """What a reader should know of the rankers."""

    def best_single(self) -> str:
        """Return the model that ranks best alone, by NDCG@30."""
        alone = [name for name in ("collaborative", "text", "audio") if name in self.rankers]
        return max(alone, key=lambda name: self.rankers[name]["ndcg@30"], default="popularity")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; nan is None."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def columns(self, *, brief: bool = False) -> list[str]:
        """Return the heads of the table's columns."""
        return ["ranker", *(head for head, key in self._shown(brief))]

    def rows(self, *, brief: bool = False) -> list[list[str]]:
        """Return the table's rows, one a ranker, figures as text."""
        shown = [key for _, key in self._shown(brief)]
        return [
            [name, *(_text(key, figures.get(key, math.nan)) for key in shown)]
            for name, figures in self.rankers.items()
        ]

    def markdown(self) -> str:
        """Return the report as Markdown."""
        heads = self.columns()
        table = [heads, ["---"] + ["---:"] * (len(heads) - 1), *self.rows()]
        lines = ["# Evaluation", "", *(f"{line}  " for line in self.summary()), ""]
        lines += _table(table)
        lines += ["", *(f"- {note}" for note in self.notes)]
        lines += ["", "## The hybrid beside the others", ""]
        lines += ["Difference in NDCG@30, with the interval of 95 % of a paired bootstrap.", ""]
        lines += _table([["ranker", "hybrid is better by", "from", "to"], ["---"] + ["---:"] * 3])
        lines += _table(
            [name, *(f"{value:+.4f}" for value in (d.mean, d.low, d.high))]
            for name, d in self.differences.items()
        )
        lines += ["", "## For whom, and for what", "", "NDCG@30 of the truth in each part.", ""]
        names = list(self.rankers)
        lines += _table([["part", "listeners", *names], ["---"] + ["---:"] * (len(names) + 1)])
        lines += _table(
            [part, f"{figures['listeners']:.0f}", *(_text("ndcg", figures[n]) for n in names)]
            for part, figures in self.parts.items()
        )
        if self.segments:
            lines += ["", "## Listeners' groups", "", GROUPS_LINE, ""]
            cells = [one.cells() for one in self.segments]
            lines += _table([SEGMENT_COLUMNS, ["---:"] * 3 + ["---"] * 2, *cells])
        if self.ladder:
            lines += ["", "## The ladder of blends", ""]
            lines += [f"Held-out listeners of the blend slice; {self.blend} serves.", ""]
            lines += _table([["rung", "NDCG@30"], ["---", "---:"]])
            lines += _table([name, f"{ndcg:.4f}"] for name, ndcg in self.ladder.items())
        return "\n".join(lines) + "\n"

    def summary(self) -> list[str]:
        """Return some lines that say what was measured on what."""
        events = ", ".join(f"{name} {n:,}" for name, n in self.n_events.items())
        lines = [
            f"{self.n_listeners:,} listeners who loved something new in the test slice "
            f"({self.n_left_out:,} others left out); {self.n_eligible:,} items of kind "
            f"{self.kind}, all ranked.",
            f"Events: {events}; the models saw all but test.",
        ]
        return lines + [f"No {name} model: {why}." for name, why in self.left_out.items()]

    def write(self, folder: str | Path) -> None:
        """Write report.json, report.md and report.html into `folder`."""
        from recsys.evaluation.page import html_page

        place = Folder(folder)
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        place.write("report.json", text.encode())
        place.write("report.md", self.markdown().encode())
        place.write("report.html", html_page(self).encode())

    def _shown(self, brief: bool) -> list[tuple[str, str]]:
        known = {key for figures in self.rankers.values() for key in figures}
        known &= set(_BRIEF) if brief else known
        return [(head, key) for head, key in _COLUMNS if key in known]


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return Markdown lines of cells."""
    return [
        "| " + " | ".join(" ".join(cell.split()).replace("|", r"\|") for cell in cells) + " |"
        for cells in rows
    ]


def _text(key: str, value: float) -> str:
    if math.isnan(value):
        return ""
    if key.startswith("novelty"):
        return f"{value:.1f}"
    if key.startswith(("diversity", "gini")):
        return f"{value:.3f}"
    if key.startswith(("coverage", "of_oracle")):
        return f"{value:.1%}"
    return f"{value:.4f}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, float) and math.isnan(value):
        return None
    return list(value) if isinstance(value, tuple) else value
