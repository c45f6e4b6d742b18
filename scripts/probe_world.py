"""What each kind of model can find in demo worlds: prints the tables of docs/world.md.

    OPENBLAS_NUM_THREADS=1 python scripts/probe_world.py 0 1 2 3 --audio 0

Quick stand-ins, not the project's models: `implicit`'s ALS (of the extra ``bench``), tf-idf of
whole pages, ridge regression on pooled log-mel statistics. Seed 4 is kept for the last judgement.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings

import librosa
import numpy as np
import pandas as pd
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from recsys.data.world import World, make_world
from recsys.data.world.sound import excerpt

K = 30


def main() -> None:
    """Probe the worlds of the given seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--audio", type=int, nargs="*", default=[], help="seeds to listen to")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows, sounds = {}, {}
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            world = make_world(folder, seed=seed)
            rows[seed] = {**sizes(world), **listening(world)}
            if seed in arguments.audio:
                sounds[seed] = audio(world)
    show(rows)
    if sounds:
        show(sounds)


def show(columns: dict[int, dict[str, float]]) -> None:
    """Print a Markdown table, one column per seed."""
    print("| | " + " | ".join(f"seed {seed}" for seed in columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for name in next(iter(columns.values())):
        values = [column[name] for column in columns.values()]
        shown = (f"{v:,}" if isinstance(v, int) else f"{v:.3f}" for v in values)
        print(f"| {name} | " + " | ".join(shown) + " |")
    print()


def sizes(world: World) -> dict[str, float]:
    """Count what there is."""
    events = world.dataset.read("events", ["user_id", "item_id", "kind", "organic"]).to_pandas()
    streams = events[events.kind == "stream"]
    plays = streams.item_id.value_counts()
    return {
        "events": len(events),
        "streams": len(streams),
        "listener-item pairs": len(streams.drop_duplicates(["user_id", "item_id"])),
        "items never streamed": len(world.truth.item_ids) - len(plays),
        "listeners with under 5 streams": int((streams.user_id.value_counts() < 5).sum()),
        "documents": world.dataset.count("documents"),
        "private rows dropped": world.truth.private_rows,
        "recommended share": float(1 - events.organic.mean()),
        "share of streams on the top tenth of items": float(
            plays.iloc[: len(world.truth.item_ids) // 10].sum() / len(streams)
        ),
    }


def listening(world: World) -> dict[str, float]:
    """Rank never-heard items for the last tenth of the plays from the first nine tenths."""
    truth = world.truth
    plays = world.dataset.read("events").to_pandas().query("kind in ('stream', 'skip')")
    user = pd.Index(truth.user_ids).get_indexer(plays.user_id)
    item = pd.Index(truth.item_ids).get_indexer(plays.item_id)
    liked, cut = (plays.kind == "stream").to_numpy(), int(0.9 * len(plays))
    shape = truth.preference.shape
    counts = sp.csr_matrix((liked[:cut].astype(float), (user[:cut], item[:cut])), shape=shape)
    heard = np.zeros(shape, bool)
    heard[user[:cut], item[:cut]] = True
    wanted = np.zeros(shape, bool)
    chosen = liked[cut:] & plays.organic.to_numpy()[cut:]
    wanted[user[cut:][chosen], item[cut:][chosen]] = True
    wanted &= ~heard
    evidence = counts.copy()
    evidence.data = np.log1p(evidence.data)

    model = AlternatingLeastSquares(32, 10.0, 5.0, iterations=15, random_state=0, num_threads=1)
    model.fit(evidence, show_progress=False)
    text = said_of_items(world)
    popularity = np.broadcast_to((counts > 0).sum(axis=0), shape)
    scores = {
        "random": np.random.default_rng(0).random(shape),
        "popularity": np.asarray(popularity, float),
        "text profile": (evidence @ text) @ text.T,
        "ALS": model.user_factors @ model.item_factors.T,
        "oracle": truth.preference,
    }
    found = {f"NDCG@30 {name}": ndcg(s, wanted, heard) for name, s in scores.items()}
    cold = ~heard.any(axis=0)
    found["ALS, share of the oracle"] = found["NDCG@30 ALS"] / found["NDCG@30 oracle"]
    found["wanted items that nobody had heard, share"] = wanted[:, cold].sum() / wanted.sum()
    found["artists' true ten nearest among tf-idf's ten"] = nearest_artists(world)
    return found


def ndcg(
    scores: NDArray[np.floating], wanted: NDArray[np.bool_], heard: NDArray[np.bool_]
) -> float:
    """Return mean NDCG@K over listeners who wanted something new."""
    who = wanted.any(axis=1)
    ranked = np.argsort(-np.where(heard, -np.inf, scores)[who], axis=1, kind="stable")[:, :K]
    discount = 1 / np.log2(np.arange(K) + 2)
    ideal = discount.cumsum()[np.minimum(wanted[who].sum(axis=1), K) - 1]
    return float(((np.take_along_axis(wanted[who], ranked, axis=1) @ discount) / ideal).mean())


def said_of_artists(world: World) -> NDArray[np.float64]:
    """Return (n_artists, terms) unit tf-idf vectors of the pages that name their subject."""
    row = {id: place for place, id in enumerate(world.truth.artist_ids)}
    said = [""] * len(row)
    for page in world.dataset.read("documents", ["artist_ids", "text"]).to_pylist():
        if page["artist_ids"]:
            said[row[page["artist_ids"][0]]] += " " + page["text"]
    return TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(said).toarray()


def artist_of_items(world: World) -> NDArray[np.int64]:
    """Return (n_items,) rows of artists."""
    row = {id: place for place, id in enumerate(world.truth.artist_ids)}
    items = world.dataset.read("items", ["item_id", "artist_id"]).to_pylist()
    artist = {item["item_id"]: row[item["artist_id"]] for item in items}
    return np.array([artist[id] for id in world.truth.item_ids])


def said_of_items(world: World) -> NDArray[np.float64]:
    """Return (n_items, terms): an item is described as its artist is."""
    return said_of_artists(world)[artist_of_items(world)]


def nearest_artists(world: World) -> float:
    """Return the share of each artist's true ten nearest that tf-idf has among its ten."""
    music = np.array([not id.startswith("show") for id in world.truth.artist_ids])
    taste = world.truth.artist_taste[music] - world.truth.artist_taste[music].mean(axis=0)
    taste /= np.linalg.norm(taste, axis=1, keepdims=True)
    return overlap(said_of_artists(world)[music], taste, 10)


def overlap(one: NDArray[np.floating], two: NDArray[np.floating], k: int) -> float:
    """Return the mean share of common rows among the `k` nearest by inner product."""
    shared = []
    near = [np.argsort(-(v @ v.T - 9 * np.eye(len(v))), axis=1)[:, :k] for v in (one, two)]
    for a, b in zip(*near, strict=True):
        shared.append(len(set(a) & set(b)) / k)
    return float(np.mean(shared))


def audio(world: World) -> dict[str, float]:
    """Ask how much of taste a line through pooled spectra and through the true labels explains."""
    truth = world.truth
    rows = np.flatnonzero(np.asarray(truth.beats_per_bar) > 0)[::2]
    pooled = np.array([pool(excerpt(truth, row)) for row in rows])
    beats = truth.beats_per_bar[rows]
    labels = np.stack([
        np.log(truth.tempo_bpm[rows]), truth.minor[rows], beats == 3, beats == 6,
        truth.loudness_lufs[rows],
    ], axis=1)  # fmt: skip
    taste = truth.item_taste[rows] - truth.item_taste[rows].mean(axis=0)
    features = {
        "pooled log-mel": pooled,
        "tempo, mode, metre, loudness": labels,
        "both": np.hstack([pooled, labels]),
        "the six audible axes": taste[:, :6],
    }
    artists = artist_of_items(world)[rows]
    found = {f"R2 {name}": explained(x, taste, artists) for name, x in features.items()}
    unit = taste / np.linalg.norm(taste, axis=1, keepdims=True)
    standard = StandardScaler().fit_transform(pooled)
    standard /= np.linalg.norm(standard, axis=1, keepdims=True)
    found["true twenty nearest among pooled log-mel's twenty"] = overlap(standard, unit, 20)
    found["the same by chance"] = 20 / len(rows)
    return found


def pool(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return mean, deviation and mean change of each of 64 mel bands in decibels."""
    mel = librosa.feature.melspectrogram(y=samples, sr=22_050, n_mels=64, n_fft=1024)
    level = librosa.power_to_db(mel)
    change = np.abs(np.diff(level, axis=1)).mean(axis=1)
    return np.concatenate([level.mean(axis=1), level.std(axis=1), change])


def explained(
    features: NDArray[np.floating], taste: NDArray[np.floating], artists: NDArray[np.int64]
) -> float:
    """Return R2 over all axes of taste together, for artists not fitted on."""
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
    guess = cross_val_predict(model, features, taste, groups=artists, cv=GroupKFold(5))
    return float(1 - ((taste - guess) ** 2).sum() / (taste**2).sum())


if __name__ == "__main__":
    main()
