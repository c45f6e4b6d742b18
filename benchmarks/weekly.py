"""Everybody's Discover Weekly: listeners a second with the full ensemble, reasons and files.

    python benchmarks/weekly.py [--out docs/results]

A catalogue of 100,000 items by 10,000 artists with collaborative factors (ALS, f = 64), text (256)
and audio (64) vectors, and a blend learned from a tenth of the plays, which the models have not
seen; the lists are made over the Backend by Ray actors, one a core, kept, and written as Parquet. A
second week then avoids what the first one showed.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
from page import options, origin, publish
from recommend import listening
from scipy.sparse import coo_array, csr_array

from recsys.audio.model import AudioModel
from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.cli.weekly import _write
from recsys.cluster import backend_of
from recsys.collaborative.als import train
from recsys.config import CollaborativeConfig, Config
from recsys.data.catalogue import read_catalogue
from recsys.data.collections import Collections
from recsys.data.dataset import Dataset
from recsys.data.identity import Ids
from recsys.data.interactions import build_interactions, read_events
from recsys.ensemble.bulk import all_weekly
from recsys.ensemble.ensemble import Ensemble
from recsys.ensemble.learned import write_blender
from recsys.ensemble.learning import climb, prepare
from recsys.ensemble.sound import Sound
from recsys.retrieval import catalogue_index
from recsys.text.model import TextModel

N_SCENES, N_TERMS = 400, 2_000
HELD_OUT = 0.1


def dataset(folder: Path, n_users: int, n_items: int) -> tuple[Dataset, coo_array]:
    """Write a listening log of scenes: artists belong to a scene, listeners have three.

    Return it and what was held out, (n_users, n_items).
    """
    drawn = coo_array(listening(n_users, n_items, 30 * n_users))
    held = np.random.default_rng(1).random(drawn.nnz) < HELD_OUT
    made = Dataset(folder)
    plays, later = (
        coo_array((drawn.data[some], (drawn.row[some], drawn.col[some])), shape=drawn.shape)
        for some in (~held, held)
    )
    item = np.arange(n_items)
    events = pa.table(
        {
            "user_id": [f"u{row:06}" for row in plays.row.tolist()],
            "item_id": [f"i{row:06}" for row in plays.col.tolist()],
            "kind": ["stream"] * plays.nnz,
            "value": plays.data.astype(float),
        }
    )
    items = pa.table(
        {
            "item_id": [f"i{row:06}" for row in item.tolist()],
            "artist_id": [f"a{row // 10:05}" for row in item.tolist()],
            "title": [f"Song {row}" for row in item.tolist()],
        }
    )
    with made.transaction() as transaction:
        transaction.append("events", [events], source="benchmark", fingerprint="events")
        transaction.append("items", [items], source="benchmark", fingerprint="items")
    return made, later


def around(centres: np.ndarray, spread: float, seed: int) -> np.ndarray:
    vectors = centres + spread * np.random.default_rng(seed).standard_normal(centres.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def models(folder: Path, data: Dataset, later: coo_array, n_items: int) -> tuple[Models, str]:
    """Train the factors, give every scene a text and an audio direction, and learn the blend."""
    random = np.random.default_rng(0)
    config = Config(collaborative=CollaborativeConfig(factors=64, iterations=6, regularization=1.0))
    catalogue = read_catalogue(data)
    events = read_events(data, catalogue)
    interactions = build_interactions(events, catalogue, config.interactions)
    kept = Models(folder)
    writer = kept.write()
    catalogue.write(writer)
    interactions.write(writer)
    factors = train(interactions.evidence, config.collaborative, LocalBackend())
    factors.write(writer)
    scene = np.arange(n_items) * N_SCENES // n_items
    artists = around(random.standard_normal((N_SCENES, 256))[scene[::10]], 0.7, 1)
    terms = np.sort(random.integers(0, N_TERMS // N_SCENES, (len(artists), 4)), axis=1)
    terms = terms + (scene[::10] * (N_TERMS // N_SCENES))[:, None]
    said = csr_array(
        (
            np.full(terms.size, 0.5, np.float32),
            (np.repeat(np.arange(len(artists)), 4), terms.ravel()),
        ),
        shape=(len(artists), N_TERMS),
    )
    said.sum_duplicates()
    text = TextModel(
        around(np.repeat(artists, 10, axis=0), 0.02, 2),
        artists,
        Ids.from_strings([f"adj\tterm {n:04}" for n in range(N_TERMS)], kind="term"),
        said,
        csr_array((len(artists), len(artists)), dtype=np.float32),
    )
    audio = AudioModel(around(random.standard_normal((N_SCENES, 64))[scene], 1.0, 3))
    text.write(writer)
    audio.write(writer)
    indices = {}
    for name, vectors, biases in (
        ("collaborative", factors.item_factors, factors.item_biases),
        ("text", text.item_vectors, None),
        ("audio", audio.item_vectors, None),
    ):
        index, recall = catalogue_index(vectors, biases)
        print(f"index of {name}: {'kept' if index is not None else 'none'}, recall {recall:.3f}")
        if index is not None:
            writer.add_group(f"index/{name}", index.arrays)
            indices[name] = index
    ensemble = Ensemble(
        catalogue,
        interactions,
        Collections.none(n_items),
        factors=factors,
        content={"text": text.item_vectors, "audio": audio.item_vectors},
        sound=Sound.unknown(n_items),
        config=config.ensemble,
        indices=indices,
    )
    user = catalogue.users.rows([f"u{row:06}" for row in later.row.tolist()])
    known = user >= 0
    ones = np.ones(np.count_nonzero(known), np.float32)
    shape = (catalogue.n_users, n_items)
    loved = csr_array((ones, (user[known], later.col[known])), shape=shape)
    lesson = prepare(ensemble, loved, loved, eligible=np.ones(n_items, bool))
    ladder = climb(lesson, ensemble.fusion, config.ensemble, seed=0)
    if ladder.blender is not None:
        write_blender(ladder.blender, writer)
    print("blend:", getattr(ladder.blender, "kind", "fusion"), ladder.facts())
    writer.note(config=config.to_dict(), trained=["collaborative", "text", "audio"], left_out={})
    return kept, writer.commit()


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        data, later = dataset(place / "data", args.users, args.items)
        kept, made = models(place / "models", data, later, args.items)
        blend = kept.open(made).facts.get("blend", {}).get("kind", "fusion")
        with backend_of(args.workers) as backend:
            for week in ("2026-W46", "2026-W47"):
                started = perf_counter()
                n_lists = all_weekly(kept, made, week, backend)
                seconds = perf_counter() - started
                started = perf_counter()
                _write(kept, made, week, str(place / "out"), ["parquet"], {})
                written = perf_counter() - started
                size = sum(
                    f.stat().st_size for f in (place / "models/weekly" / week).rglob("*.parquet")
                )
                rows.append(
                    f"| {week} | {n_lists:,} | {seconds:.1f} | {n_lists / seconds:,.0f} | "
                    f"{written:.1f} | {size / n_lists:,.0f} |"
                )
                print(rows[-1], flush=True)
    page = f"""# Everybody's Discover Weekly

{args.items:,} items, {args.users:,} listeners, {args.workers} workers; collaborative (64), text
(256), audio (64), artists and popularity, blended by {blend}; 30 items each with signals and
reasons.

| week | lists | s | listeners/s | Parquet s | bytes kept a list |
|---|---|---|---|---|---|
{chr(10).join(rows)}

The time includes opening the version in every worker. The second week leaves out what the first
one showed.

{origin("numpy", "ray", load=load)}
"""
    publish(page, args.out)


if __name__ == "__main__":
    sys.exit(main())
