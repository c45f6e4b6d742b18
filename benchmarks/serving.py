"""The server under wrk: 100,000 items, three spaces, the full ensemble with reasons.

    python benchmarks/serving.py [--out docs/results/serving.md]

A catalogue and a listening log are drawn (Zipf items in scenes, Pareto listeners), factors are
trained, text and audio vectors are drawn around the scenes. Then the recommender is timed in this
process, and `recsys serve` under wrk, on the same cores. What Serve costs is measured with the
health address, which does nothing; what is left of a request is ours.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from urllib.request import urlopen

import numpy as np
import pyarrow as pa
from page import options, origin, publish
from scipy.sparse import csr_array

from recsys.audio.model import AudioModel
from recsys.backend import LocalBackend
from recsys.bundle import Models
from recsys.collaborative.als import train
from recsys.config import CollaborativeConfig, Config, ServingConfig
from recsys.data.dataset import Dataset
from recsys.data.identity import Ids
from recsys.data.interactions import build_interactions
from recsys.ensemble.recommender import HybridRecommender
from recsys.pipeline import read_source
from recsys.retrieval import catalogue_index
from recsys.serving.local import served
from recsys.text.model import TextModel

N_SCENES, D = 200, 64
TERMS = 40


def make(folder: Path, n_users: int, n_items: int, n_plays: int) -> Models:
    """Draw a world and write one version of it."""
    rng = np.random.default_rng(0)
    n_artists = n_items // 10
    artist = rng.integers(0, n_artists, n_items)
    scene = artist % N_SCENES
    lengths = np.minimum(rng.pareto(1.5, n_users) * 12 + 5, 2_000)
    users = np.repeat(np.arange(n_users), rng.poisson(lengths * n_plays / lengths.sum()))
    scenes = rng.integers(0, N_SCENES, (n_users, 3))[users, rng.integers(0, 3, len(users))]
    order = np.argsort(scene, kind="stable")
    starts = np.searchsorted(scene[order], np.arange(N_SCENES))
    sizes = np.bincount(scene, minlength=N_SCENES)[scenes]
    place = np.minimum((sizes ** rng.random(len(users))).astype(int), sizes - 1)
    items = order[starts[scenes] + place]
    dataset = Dataset(folder / "dataset")
    names = np.array([f"track-{n:06d}" for n in range(n_items)])
    makers = np.array([f"artist-{n:05d}" for n in range(n_artists)])
    tables = {
        "items": {
            "item_id": names,
            "title": [f"Title {n}" for n in range(n_items)],
            "artist_id": makers[artist],
        },
        "artists": {"artist_id": makers, "name": [f"Artist {n}" for n in range(n_artists)]},
        "events": {
            "user_id": np.array([f"user-{n:06d}" for n in range(n_users)])[users],
            "item_id": names[items],
            "kind": np.full(len(users), "stream"),
        },
    }
    with dataset.transaction() as transaction:
        for name, columns in tables.items():
            transaction.append(name, [pa.table(columns)], source="drawn", fingerprint=name)
    source = read_source(dataset)
    config = Config(collaborative=CollaborativeConfig(factors=D, iterations=4))
    catalogue = source.catalogue
    interactions = build_interactions(source.events, catalogue, config.interactions)
    models = Models(folder / "models")
    writer = models.write()
    catalogue.write(writer)
    interactions.write(writer)
    factors = train(interactions.evidence, config.collaborative, LocalBackend())
    factors.write(writer)
    spaces = {"collaborative": (factors.item_factors, factors.item_biases)}

    centres = rng.normal(size=(N_SCENES, D))
    by_row = np.searchsorted(names, [catalogue.items[row] for row in range(n_items)])

    def around(rows: np.ndarray) -> np.ndarray:
        vectors = centres[rows] + rng.normal(size=(len(rows), D))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    terms = Ids.from_strings([f"adj\tterm{n:04d}" for n in range(N_SCENES * 5)], kind="term")
    said = (np.arange(n_artists)[:, None] % N_SCENES) * 5 + np.arange(5)
    weights = csr_array(
        (np.full(said.size, 0.44, np.float32), said.ravel(), np.arange(0, said.size + 1, 5)),
        shape=(n_artists, len(terms)),
    )
    of_artists = around(np.arange(n_artists) % N_SCENES)
    beside = csr_array((n_artists, n_artists), dtype=np.float32)
    text, audio = around(scene[by_row]), around(scene[by_row])
    TextModel(text, of_artists, terms, weights, beside).write(writer)
    AudioModel(audio).write(writer)
    for name, space in (spaces | {"text": (text, None), "audio": (audio, None)}).items():
        index, _ = catalogue_index(*space)
        if index is not None:
            writer.add_group(f"index/{name}", index.arrays)
    counts = {"users": n_users, "items": n_items, "artists": n_artists, "events": len(users)}
    writer.note(
        config=config.to_dict(),
        trained=["collaborative", "text", "audio"],
        left_out={},
        counts=counts,
    )
    writer.commit()
    return models


def milliseconds(run, times: int) -> tuple[float, float]:
    """Return p50 and p99 of `times` calls of ``run(n)``."""
    taken = []
    for n in range(times):
        began = perf_counter()
        run(n)
        taken.append((perf_counter() - began) * 1e3)
    return float(np.percentile(taken, 50)), float(np.percentile(taken, 99))


def wrk(address: str, paths: list[str], *, clients: int, seconds: int, folder: Path) -> dict:
    """Ask `paths` in turns and return p50, p99 (ms), requests per second and faults."""
    lua = folder / "paths.lua"
    listed = ",".join(json.dumps(path) for path in paths)
    lua.write_text(
        f"local paths = {{{listed}}}\nlocal n = 0\n"
        "request = function() n = n % #paths + 1 return wrk.format('GET', paths[n]) end\n"
        "done = function(summary, latency)\n"
        "  io.write(string.format('RESULT %f %f %f %d %d\\n', latency:percentile(50) / 1000,\n"
        "    latency:percentile(99) / 1000, summary.requests / (summary.duration / 1e6),\n"
        "    summary.errors.status, summary.errors.read + summary.errors.timeout))\nend\n"
    )
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "10s", "-s", str(lua)]
    done = subprocess.run([*command, address], capture_output=True, text=True, check=True)
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+) (\d+)", done.stdout)
    assert found, done.stdout
    p50, p99, rate = map(float, found.groups()[:3])
    return {"p50": p50, "p99": p99, "rate": rate, "faults": int(found[4]), "lost": int(found[5])}


def metrics(address: str) -> dict[str, float]:
    """Return the mean milliseconds of each stage that the server counted."""
    with urlopen(f"{address}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found = {}
    for stage in ("store", "recommend"):
        total = float(re.search(rf'stage_seconds_sum{{stage="{stage}"}} (\S+)', text)[1])
        count = float(re.search(rf'stage_seconds_count{{stage="{stage}"}} (\S+)', text)[1])
        found[stage] = total / max(count, 1) * 1e3
    return found


def own_megabytes() -> float:
    """Return the memory that a replica shares with no other process, the mean of all."""
    own = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"ServeReplica" in (process / "cmdline").read_bytes():
                found = re.search(r"Private_Dirty: +(\d+)", (process / "smaps_rollup").read_text())
                own.append(int(found[1]) / 1024)
    return float(np.mean(own))


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--plays", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=10, help="length of each run of wrk")
    parser.add_argument("--replicas", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--keep", type=Path, help="make the version here, or use the one there")
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("no wrk here; install it with `apt-get install wrk`")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="recsys-bench-") as temporary:
        folder = args.keep or Path(temporary)
        models = Models(folder / "models")
        if not models.versions():
            models = make(folder, args.users, args.items, args.plays)
        page = measure(models, args, Path(temporary), load)
    publish(page, args.out)


def measure(models: Models, args: argparse.Namespace, folder: Path, load: float) -> str:
    recommender = HybridRecommender.load(models.open())
    users = recommender.catalogue.users
    chosen = np.random.default_rng(1).choice(len(users), 1000, replace=False)
    ids, others = np.split(np.array([users[int(row)] for row in chosen], object), 2)
    for id in others:
        recommender.recommend(id, 30)
    direct = milliseconds(lambda n: recommender.recommend(ids[n], 30), len(ids))
    lists = [f"/v1/users/{id}/recommendations" for id in ids]
    weekly = [f"/v1/users/{id}/discover-weekly" for id in ids[:100]]
    rows, config = [], ServingConfig(max_requests=64, replicas=args.replicas)
    port = 18_000 + os.getpid() % 1000
    with served(models.folder.path, port=port, config=config) as address:
        run = lambda paths, clients, seconds=args.seconds: wrk(  # noqa: E731
            address, paths, clients=clients, seconds=seconds, folder=folder
        )
        run(lists, 4, 3)
        idle = run(["/v1/health/live"], 1)
        idle16 = run(["/v1/health/live"], 16)
        one, many = run(lists, 1), run(lists, 16)
        stages, own = metrics(address), own_megabytes()
        run(weekly, 1, 3)
        frozen = run(weekly, 16)
        flood = run(lists, 400)
    rows = [
        ("health (Serve, HAProxy, FastAPI, nothing else), 1 client", idle, ""),
        ("health, 16 clients", idle16, ""),
        ("recommendations, 1 client", one, "p50 <= 3 ms, p99 <= 12 ms"),
        ("recommendations, 16 clients", many, ">= 600 requests/s"),
        ("frozen weekly lists, 16 clients", frozen, ">= 1,500 requests/s"),
        ("recommendations, 400 clients (overload)", flood, "503 with Retry-After, no other fault"),
    ]
    lines = [
        f"| {name} | {r['p50']:.2f} | {r['p99']:.2f} | {r['rate']:,.0f} | {r['faults']:,} | "
        f"{r['lost']} | {wanted} |"
        for name, r, wanted in rows
    ]
    counts = models.open().facts["counts"]
    return PAGE.format(
        counts={name: f"{n:,}" for name, n in counts.items()},
        direct=direct,
        lines="\n".join(lines),
        one=one,
        idle=idle,
        stages=stages,
        own=own,
        mapped=sum(f.stat().st_size for f in Path(models.folder.path).rglob("*.npy")) / 2**20,
        replicas=args.replicas,
        cores=len(os.sched_getaffinity(0)),
        origin=origin("ray", "fastapi", load=load),
    )


PAGE = """# Serving

30 of {counts[items]} items for {counts[users]} listeners ({counts[events]} plays); collaborative,
text and audio spaces of 64 dimensions, blended by reciprocal ranks, re-ranked, with reasons; the
event store (SQLite) is read with every request. A learned blend takes longer: see ensemble.md.

In process, `HybridRecommender.recommend`: p50 {direct[0]:.2f} ms, p99 {direct[1]:.2f} ms (wanted:
1.5 ms), each listener once, after as many others.

| asked | p50 ms | p99 ms | requests/s | refused or failed | lost | wanted |
|---|---|---|---|---|---|---|
{lines}

Of the {one[p50]:.2f} ms of one list for one client, Serve, HAProxy and FastAPI take
{idle[p50]:.2f} ms (an address that does nothing), reading the event store {stages[store]:.2f} ms,
the recommender {stages[recommend]:.2f} ms (means under all of the load above); the rest is
validation, JSON and the way into a thread.
A replica has {own:.0f} MiB to itself; the {mapped:.0f} MiB of the version are mapped, and shared.
The refused of the overload row are 503 answers with Retry-After. HAProxy, {replicas} replicas and
wrk share the same {cores} cores.

{origin}
"""


if __name__ == "__main__":
    main()
