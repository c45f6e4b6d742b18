"""How much the ensemble adds: five demo worlds, and real play counts (Last.fm, HetRec 2011).

    python benchmarks/ensemble.py [--seeds 0 1 2 3 4] [--worlds FOLDER] [--out FOLDER]

Per world and, where RECSYS_TEST_DATA is set, for HetRec: every source alone, every rung of the
blend, and what serves, by NDCG@30 on the untouched test slice, with the paired bootstrap against
the best single model. HetRec's documents are artist texts and tags aggregated per artist: a
listener's own taggings would tell of the pairs that are withheld. Then by what points a space had
best be searched, and what one list costs.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import csv
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
import pyarrow as pa
from page import options, origin, publish
from scipy.sparse import csr_array

from recsys.backend import LocalBackend
from recsys.config import Config
from recsys.data.dataset import Dataset
from recsys.data.importers import import_source
from recsys.data.world import make_world, synthesise
from recsys.ensemble.candidates import unit
from recsys.ensemble.lists import ListMaker
from recsys.ensemble.tastes import tastes
from recsys.evaluation.compare import paired_bootstrap
from recsys.evaluation.metrics import ranking_metrics
from recsys.evaluation.protocol import KS, Trial, measure
from recsys.pipeline import Content, learn_blend, read_source

METRIC = "ndcg@30"
MODELS = ("collaborative", "text", "audio")
_CLIP_S = 10.0
_MIN_TAGS = 2


def world_content(
    folder: Path, seed: int, config: Config, *, audio: bool
) -> tuple[Content, object]:
    world = make_world(folder, seed=seed)
    if audio:
        synthesise(world, duration_s=_CLIP_S, workers=os.cpu_count() or 1)
    return Content(read_source(world.dataset), config), world.truth


def hetrec_content(data: Path, folder: Path, config: Config) -> Content:
    """Import play counts, artist texts, and one document per artist of what it was tagged with."""
    source = data / "hetrec-lastfm"
    dataset = Dataset(folder)
    import_source("lastfm-hetrec", source, dataset)
    import_source("documents", data / "artist-texts.jsonl", dataset)
    names = {}
    with (source / "tags.dat").open(encoding="iso-8859-1", newline="") as file:
        for row in csv.reader(file, delimiter="\t"):
            names[row[0]] = row[1]
    tags: dict[str, Counter[str]] = defaultdict(Counter)
    with (source / "user_taggedartists.dat").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        for row in rows:
            tags[row["artistID"]][names.get(row["tagID"], "")] += 1
    documents = [
        {
            "doc_id": f"tags-{artist}",
            "text": ". ".join(" ".join([tag] * min(n, 4)) for tag, n in sorted(counts.items())),
            "artist_ids": [artist],
        }
        for artist, counts in sorted(tags.items())
        if sum(counts.values()) >= _MIN_TAGS
    ]
    with dataset.transaction() as transaction:
        table = pa.Table.from_pylist(documents)
        transaction.append("documents", [table], source="tags per artist", fingerprint="tags")
    return Content(read_source(Dataset(folder)), config)


def row_of(name: str, trial: Trial) -> tuple[str, dict[str, float], float]:
    figures = {n: ranking_metrics(r, trial.truth, KS)[METRIC] for n, r in trial.lists.items()}
    means = {n: float(np.nanmean(values)) for n, values in figures.items()}
    single = max((n for n in MODELS if n in means), key=lambda n: means[n])
    gain = means["hybrid"] / means[single] - 1
    sure = paired_bootstrap(figures["hybrid"], figures[single])
    rung = getattr(trial.recommender.blender, "kind", "fusion")
    oracle = f"{means['hybrid'] / means['oracle']:.0%}" if "oracle" in means else ""
    shown = ["popularity", *MODELS, "artists", "collections", "fusion", "logistic", "trees"]
    cells = [f"{means[n]:.4f}" if n in means else "(serves)" if n == rung else "" for n in shown]
    line = (
        f"| {name} | {' | '.join(cells)} | **{means['hybrid']:.4f}** | {gain:+.1%} "
        f"| {sure.low:+.4f} to {sure.high:+.4f} | {means.get('as served', np.nan):.4f} | {oracle} |"
    )
    return line, means, gain


def proposals(name: str, trial: Trial) -> list[str]:
    """Return how much of what was loved is among 100 items near different points of a listener."""
    ensemble, lines = trial.recommender.ensemble, []
    listeners = ensemble.listeners(trial.users)
    within = ensemble.eligible(trial.eligible)
    loved = csr_array(trial.truth > 0).astype(np.int64)

    def share(space: str, points: np.ndarray, k: int) -> float:
        found = csr_array(loved.shape, dtype=np.int64)
        for part in range(points.shape[1]):
            rows, _ = ensemble.spaces[space].search(
                np.ascontiguousarray(points[:, part]), k,
                exclude=listeners.heard, within=within.within(space),
            )  # fmt: skip
            who, place = np.nonzero(rows >= 0)
            ones = np.ones(len(who), np.int64)
            found = found + csr_array((ones, (who, rows[who, place])), shape=loved.shape)
        hits = csr_array(found > 0).multiply(loved).sum(axis=1)
        return float((hits / loved.sum(axis=1)).mean())

    for space in ("text", "audio"):
        if space in ensemble.spaces:
            points = listeners.points[space]
            n_tastes = ensemble.config.tastes
            centres = tastes(listeners.history, ensemble.spaces[space].vectors, n_tastes)
            both = unit(points[:, 0] + points[:, 1])[:, None]
            shares = (
                share(space, centres, -(-100 // n_tastes)),
                share(space, points[:, 1:2], 100),
                share(space, both, 100),
            )
            lines.append(f"| {name} | {space} | {' | '.join(f'{one:.3f}' for one in shares)} |")
    return lines


def costs(trial: Trial, ladder: object) -> list[str]:
    """Return CPU milliseconds of one list of 30, alone and in a batch, per rung."""
    recommender = trial.recommender
    users = trial.users[: min(200, len(trial.users))]
    rungs = {"fusion": recommender.ensemble.fusion, **ladder.rungs}  # type: ignore[attr-defined]
    lines = []
    for name, blender in rungs.items():
        make = ListMaker(
            ensemble=recommender.ensemble,
            blender=blender,
            weights=dict.fromkeys(blender.signals, 1.0),
            eligible=recommender.ensemble.eligible(trial.eligible),
            max_per_artist=2,
        )
        told = []
        for size in (1, len(users)):
            for _ in range(2):  # the first time functions are compiled or read
                started = process_time()
                for start in range(0, len(users), size):
                    make(recommender.ensemble.listeners(users[start : start + size]), 30)
                spent = (process_time() - started) / len(users) * 1e3
            told.append(spent)
        lines.append(f"| {name} | {told[0]:.2f} | {told[1]:.2f} |")
    return lines


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--worlds", type=Path, help="keep the worlds here")
    parser.add_argument("--no-audio", action="store_true", help="leave out sound, which is slow")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    config, backend = Config(), LocalBackend()
    heads = "| data | popularity | collaborative | text | audio | artists | collections | fusion "
    heads += (
        "| logistic | trees | hybrid | gain | interval of the difference | as served | of oracle |"
    )
    lines = [heads, "|---" + "|---:" * 14 + "|"]
    gains, cost, near = [], [], []
    with TemporaryDirectory() as temporary:
        worlds = args.worlds or Path(temporary)
        for seed in args.seeds:
            folder = worlds / f"world{seed}"
            content, truth = world_content(folder, seed, config, audio=not args.no_audio)
            trial = measure(content, config, backend, truth=truth)  # type: ignore[arg-type]
            line, _, gain = row_of(f"world {seed}", trial)
            near += proposals(f"world {seed}", trial)
            gains.append(gain)
            lines.append(line)
            print(line, flush=True)
            cost = cost or costs(trial, learn_blend(content))
        if "RECSYS_TEST_DATA" in os.environ:
            data = Path(os.environ["RECSYS_TEST_DATA"])
            content = hetrec_content(data, Path(temporary) / "hetrec", config)
            trial = measure(content, config, backend)
            line, _, _ = row_of("HetRec", trial)
            near += proposals("HetRec", trial)
            lines.append(line)
            print(line, flush=True)
            print(json.dumps(dict(learn_blend(content).ndcg)), flush=True)
    table = "\n".join(lines)
    page = f"""# What the ensemble adds

NDCG@30 on the test slice; all eligible items ranked, what was heard left out. The blend was learned
on the blend slice from models that saw base and tune; models were then trained on all but test.
`gain` is the hybrid over the best single model (collaborative, text, audio); the interval of the
difference holds 95 % of a paired bootstrap over listeners. World 4 was not used in development.

{table}

Mean gain over {len(gains)} worlds: {np.mean(gains) if gains else float("nan"):+.1%}.

How much of what was loved is among the 100 items nearest to a listener: to each of their tastes in
turn, to the mean of all that was played, and to that and the mean of what was played lately
together, which is how text and audio are searched.

| data | space | tastes in turn | all | all and lately |
|---|---|---:|---:|---:|
{chr(10).join(near)}

What a list of 30 costs in CPU milliseconds, without reasons (demo world, 1,540 items):

| rung | one listener | in a batch |
|---|---:|---:|
{chr(10).join(cost)}

{origin("numpy", "lightgbm", load=load)}
"""
    publish(page, args.out)


if __name__ == "__main__":
    sys.exit(main())
