"""New songs today: 20,000 new items into a version of 200,000, without training.

    python benchmarks/update.py [--out docs/results/update.md]

The version has collaborative factors (f = 64) and audio vectors (64) with their graphs; the new
items come with audio vectors and with no plays.
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
from weekly import around, dataset, models

from recsys.ensemble.recommender import HybridRecommender
from recsys.ensemble.updating import update
from recsys.pipeline import read_source


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--new", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=20_000)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        data = dataset(place / "data", args.users, args.items)
        kept, _ = models(place / "models", data, args.items)
        ids = [f"n{row:06}" for row in range(args.new)]
        fresh = {"item_id": ids, "artist_id": [f"a{row // 10:05}" for row in range(args.new)]}
        with data.transaction() as transaction:
            transaction.append("items", [pa.table(fresh)], source="new", fingerprint="new")
        width = kept.open().array("audio/item_vectors").shape[1]
        sound = around(np.random.default_rng(9).standard_normal((args.new, width)), 0.1, 4)
        started = perf_counter()
        source = read_source(data)
        read = perf_counter() - started
        done = update(data, source.catalogue, source.events, kept, given={"audio": (ids, sound)})
        seconds = perf_counter() - started
        recommender = HybridRecommender.load(kept.open(done.version))
        rows = recommender.catalogue.items.rows(ids[:100])
        near, _ = recommender.neighbours("item", rows, 10, by="audio")
        reached = float((near >= 0).all(axis=1).mean())
        arrays = len(kept.open(done.version).arrays)
    page = f"""# New songs today

{done.items:,} new items into {args.items:,} with {args.users:,} listeners: {seconds:.1f} s, of
which {read:.1f} s reading the dataset. {done.blocks_reused} of {arrays} arrays are those of the
version before. Of 100 new items {reached:.0%} have ten neighbours by sound.

{origin("numpy", load=load)}
"""
    publish(page, args.out)


if __name__ == "__main__":
    sys.exit(main())
