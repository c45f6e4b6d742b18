"""Text: quality on real listening, what the weights were learned on, and speed.

    RECSYS_TEST_DATA=... python benchmarks/text.py [--parts quality,weights,speed]
                                        [--out docs/results] [--kept FOLDER] [--no-sentences]

Every figure of the page is printed by this command; a part replaces its section of the page and
leaves the others. With ``--kept`` readings and embeddings stay in a folder, so that a second run is
quick, and one that was broken off goes on; ``--no-sentences`` leaves the encoder out.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import json
import re
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from page import options, origin, place
from scipy.sparse import csr_array, diags_array
from sklearn.feature_extraction.text import TfidfVectorizer

from recsys.config import TextConfig
from recsys.data.catalogue import Catalogue, read_catalogue
from recsys.data.dataset import Dataset
from recsys.data.world import make_world
from recsys.evaluation.metrics import ranking_metrics
from recsys.storage import Folder
from recsys.text.crawl.extract import read_page
from recsys.text.cultural import Said, columns_of, count, weigh
from recsys.text.mentions import Names
from recsys.text.model import build_text
from recsys.text.reading import Readings
from recsys.text.sentences import Sentences
from recsys.text.tagger import default_tagger
from recsys.text.terms import KINDS, count_terms, split

K = 10
MIN_LISTENERS = 20
WORLDS = (1, 2, 3)
GRID = (0.0, 0.25, 0.5, 1.0, 2.0)
VOICES = (1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass
class Corpus:
    """Texts about artists, and how alike the artists really are."""

    dataset: Dataset
    catalogue: Catalogue
    judged: np.ndarray
    """Artist rows that are compared."""
    truth: np.ndarray
    """(n_judged, n_judged) how alike they are."""


def real(folder: Path, kept: Path) -> Corpus:
    """The paragraphs about Last.fm artists, judged by who is listened to by the same people."""
    dataset = Dataset(kept / "real")
    lines = (folder / "artist-texts.jsonl").read_text(encoding="utf-8").splitlines()
    table = folder / "hetrec-lastfm" / "artists.dat"
    named = [line.split("\t")[:2] for line in table.read_text(encoding="utf-8").splitlines()[1:]]
    artists = pa.table(
        [[id for id, _ in named], [name for _, name in named]], ["artist_id", "name"]
    )
    with dataset.transaction() as transaction:
        pages = pa.Table.from_pylist([json.loads(line) for line in lines])
        transaction.append("artists", [artists], source="artists", fingerprint="artists")
        transaction.append("documents", [pages], source="documents", fingerprint="documents")
    catalogue = read_catalogue(dataset)
    plays = np.loadtxt(folder / "hetrec-lastfm" / "user_artists.dat", skiprows=1, dtype=np.int64)
    rows = catalogue.artists.rows([str(artist) for artist in plays[:, 1]])
    shape = (catalogue.n_artists, int(plays[:, 0].max()) + 1)
    listening = csr_array((np.log1p(plays[:, 2]), (rows, plays[:, 0])), shape=shape)
    written = {id for line in lines for id in json.loads(line)["artist_ids"]}
    told = np.array([id in written for id in catalogue.artists])
    judged = np.flatnonzero(told & (np.diff(listening.indptr) >= MIN_LISTENERS))
    return Corpus(dataset, catalogue, judged, cosines(listening[judged].toarray()))


def planted(seed: int, kept: Path) -> Corpus:
    """The demo world, judged by the tastes that it was made from."""
    world = make_world(kept / f"world-{seed}", seed=seed)
    catalogue = read_catalogue(world.dataset)
    rows = catalogue.artists.rows(list(world.truth.artist_ids))
    taste = world.truth.artist_taste
    distance = np.linalg.norm(taste[:, None] - taste[None], axis=2)
    return Corpus(world.dataset, catalogue, rows, -distance)


def cosines(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, lengths, out=np.zeros(rows.shape), where=lengths > 0)
    return rows @ rows.T


def score(likeness: np.ndarray, corpus: Corpus) -> dict[str, float]:
    """NDCG@10 and P@10 of the ten most alike, where the ten truly most alike are relevant."""
    foremost = []
    for matrix in (corpus.truth, likeness):
        others = matrix.astype(float).copy()
        np.fill_diagonal(others, -np.inf)
        foremost.append(np.argsort(-others, axis=1, kind="stable")[:, :K].astype(np.int32))
    n = len(likeness)
    place = (np.repeat(np.arange(n), K), foremost[0].ravel())
    relevant = csr_array((np.ones(n * K), place), shape=(n, n))
    metrics = ranking_metrics(foremost[1], relevant, (K,))
    return {"ndcg": float(metrics[f"ndcg@{K}"].mean()), "p": float(metrics[f"recall@{K}"].mean())}


def heard(corpus: Corpus, config: TextConfig, *, sentences: bool) -> Said:
    """Count a corpus once."""
    n_artists, n_items = corpus.catalogue.n_artists, corpus.catalogue.n_items
    encode = Sentences(config.encoder, corpus.dataset.folder) if sentences else None
    pages = Readings(corpus.dataset, corpus.catalogue, config)
    return count(pages, config, n_artists=n_artists, n_items=n_items, encode=encode)


def parts(corpus: Corpus, said: Said, weighting: str = "log") -> dict[str, np.ndarray]:
    """Return the exact cosines of each part of the vectors, between the judged artists."""
    weights = weigh(said, n_artists=corpus.catalogue.n_artists, weighting=weighting)[corpus.judged]
    found = {kind: weights[:, columns_of(said.terms, kind)] for kind in KINDS}
    likeness = {kind: (rows @ rows.T).toarray() for kind, rows in found.items()}
    if said.passages.shape[1]:
        rows = said.passages[: corpus.catalogue.n_artists]
        common = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))[
            rows.any(axis=1)
        ].mean(axis=0)
        rows = rows[corpus.judged]
        likeness["passages, as they are"] = cosines(rows)
        unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        likeness["passages"] = cosines(unit - common)
    return likeness


def together(corpus: Corpus, **settings: object) -> np.ndarray:
    """Return the cosines of the vectors that the project trains."""
    model = build_text(corpus.dataset, corpus.catalogue, TextConfig(**settings))
    rows = model.artist_vectors[corpus.judged].astype(float)
    return rows @ rows.T


def company(corpus: Corpus, said: Said, own_voices: float) -> np.ndarray:
    """Return the cosines of artists by whom they are named beside alone."""
    own = own_voices * said.voices[: corpus.catalogue.n_artists]
    rows = mixing(said.beside, own)[corpus.judged]
    return cosines(rows[:, corpus.judged].toarray())


def quality(corpus: Corpus, *, sentences: bool) -> list[str]:
    default = TextConfig()
    said = heard(corpus, default, sentences=sentences)
    exact = parts(corpus, said)
    texts = {row["artist_ids"][0]: row["text"] for row in rows_of(corpus.dataset)}
    judged = [texts[corpus.catalogue.artists[int(row)]] for row in corpus.judged]
    tf_idf = TfidfVectorizer(ngram_range=(1, 2)).fit(texts.values()).transform(judged)
    singles = {"tf-idf of 1-2-grams (scikit-learn)": (tf_idf @ tf_idf.T).toarray(), **exact}
    singles["artists named beside"] = company(corpus, said, default.own_voices)
    figures = {name: score(likeness, corpus) for name, likeness in singles.items()}
    best = max(figures.values(), key=lambda figure: figure["ndcg"])["ndcg"]
    off = {} if sentences else {"sentences": 0.0}
    variants: dict[str, dict[str, object]] = {
        "**all together (default)**": {},
        "without those named beside": {"own_voices": 0.0},
        "without passages": {"sentences": 0.0},
        **{f"without {kind}": {kind: 0.0} for kind in KINDS},
        "weighting tf-idf": {"weighting": "tf-idf"},
        "weighting gaussian (Whitman, Lawrence)": {"weighting": "gaussian"},
        **{f"own voices {n:g}": {"own_voices": n} for n in VOICES if n != default.own_voices},
    }
    for name, changed in variants.items():
        figures[name] = score(together(corpus, **{**off, **changed}), corpus)
        print(name, figures[name], flush=True)
    return [
        f"| {name} | {figure['ndcg']:.4f} | {figure['p']:.4f} | {figure['ndcg'] / best - 1:+.1%} |"
        for name, figure in figures.items()
    ]


def learn(corpora: Iterable[Corpus], *, sentences: bool) -> list[str]:
    """Search the weights on worlds whose truth is planted, one weight at a time from equal ones."""
    measured = []
    for corpus in corpora:
        said = heard(corpus, TextConfig(), sentences=sentences)
        graph = said.beside[corpus.judged][:, corpus.judged]
        measured.append((corpus, parts(corpus, said), graph, said.voices[corpus.judged]))

    def reached(weights: dict[str, float]) -> float:
        return float(np.mean([reach(weights, *one) for one in measured]))

    def reach(
        weights: dict[str, float], corpus: Corpus, likeness: dict, graph: csr_array, voices: Any
    ) -> float:
        whole = sum(weights[kind] * likeness[kind] for kind in weights if kind in likeness)
        mixed = mixing(graph, weights["own_voices"] * voices)
        drawn = mixed @ (mixed @ whole.T).T
        lengths = np.sqrt(np.maximum(np.diag(drawn), 1e-12))
        return score(drawn / lengths[:, None] / lengths, corpus)["ndcg"]

    choices = {kind: GRID for kind in KINDS if kind != "n1"}
    if sentences:
        choices["passages"] = GRID
    choices["own_voices"] = VOICES
    weights = {"n1": 1.0, **dict.fromkeys(choices, 1.0)}
    for _ in range(3):
        for name, values in choices.items():
            found = [(reached({**weights, name: value}), value) for value in values]
            weights[name] = max(found)[1]
    default = TextConfig()
    shipped = {"n1": default.n1, "n2": default.n2, "np": default.np, "adj": default.adj}
    shipped |= {"passages": default.sentences, "own_voices": default.own_voices}
    shipped = {name: value for name, value in shipped.items() if name in weights}
    equal = {**dict.fromkeys(shipped, 1.0), "own_voices": default.own_voices}
    alone = {**dict.fromkeys(shipped, 0.0), "n1": 1.0, "own_voices": 1e9}
    rows = {"words alone": alone, "equal": equal, "the search's best": weights, "default": shipped}
    return [
        f"| {name} | {' | '.join(f'{w[k]:g}' for k in shipped)} | {reached(w):.4f} |"
        for name, w in rows.items()
    ]


def mixing(beside: csr_array, own: np.ndarray) -> csr_array:
    """Return the matrix by which `described_together` draws artists together."""
    graph = beside + beside.T + diags_array(own)
    scale = diags_array(1 / np.sqrt(np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1e-12)))
    return csr_array(scale @ graph @ scale)


def rows_of(dataset: Dataset) -> Iterable[dict]:
    for batch in dataset.batches("documents", ["artist_ids", "text"]):
        yield from batch.to_pylist()


def speed(corpus: Corpus, kept: Path, *, sentences: bool) -> list[str]:
    """Time each step in CPU seconds of this process, so that other work on the machine hides."""
    texts = [row["text"] for row in rows_of(corpus.dataset)][:1000]
    html = [
        f"<html><head><title>A page</title></head><body><nav><a href='/a'>a</a></nav><article>"
        f"<h1>A page</h1><p>{text}</p></article><footer>2024</footer></body></html>"
        for text in texts
    ]
    names = Names(corpus.catalogue.artist_names)
    words = [sentence for text in texts for sentence in split(text)]
    n_words = sum(map(len, words))
    default_tagger().tag(words[:100])
    readings = list(Readings(corpus.dataset, corpus.catalogue, TextConfig()))
    n_documents = sum(page.n for page in readings)
    n_artists = corpus.catalogue.n_artists
    lines, seconds_a_page = [], 0.0
    for name, n, work in (
        ("extract (trafilatura)", len(html), lambda: [read_html(body) for body in html]),
        ("link (names found)", len(texts), lambda: [names.find(text) for text in texts]),
        ("tag and take terms", len(texts), lambda: count_terms(texts)),
        (
            "count",
            n_documents,
            lambda: count(readings, TextConfig(), n_artists=n_artists, n_items=0),
        ),
    ):
        began = time.process_time()
        work()
        a_page = (time.process_time() - began) / n
        seconds_a_page += a_page
        lines.append(f"| {name} | {1 / a_page:,.0f} |")
    lines.append(f"| all four | {1 / seconds_a_page:,.0f} |")
    began = time.process_time()
    default_tagger().tag(words)
    tagged = n_words / (time.process_time() - began)
    cores = 10_000_000 * seconds_a_page / 86_400
    notes = [f"Tagger: {tagged:,.0f} words/s a core."]
    if sentences:
        with tempfile.TemporaryDirectory(dir=kept) as folder:
            encoder = Sentences(TextConfig().encoder, Folder(folder))
            encoder(["warm up"])
            began, wall = time.process_time(), time.perf_counter()
            encoder(texts[:200])
            used, wall = time.process_time() - began, time.perf_counter() - wall
        notes.append(
            f"Embedding: {200 / used:,.1f} documents/s a core ({200 / wall:,.1f}/s by the clock, "
            f"{os.cpu_count()} cores, shared with whatever else ran)."
        )
    needed = f"Ten million pages a day need {cores:,.1f} cores for the four steps"
    if sentences:
        more = 10_000_000 * used / 200 / 86_400
        needed += f", and {more:,.0f} more if every one were embedded, not the first of each artist"
    notes.append(f"{needed}.")
    return [*lines, "", *notes]


def read_html(body: bytes) -> object:
    return read_page(body, "https://example.org/page")


def quality_section(kept: Path, *, sentences: bool) -> str:
    corpus = real(data_folder(), kept)
    rows = table(quality(corpus, sentences=sentences))
    n_judged, n_known = len(corpus.judged), corpus.catalogue.n_artists
    return f"""Protocol: {n_judged} artists of Last.fm (HetRec 2011) have a paragraph and at least
{MIN_LISTENERS} listeners. Judge: the cosine of their rows of log(1 + plays); relevant for an artist
are the ten with the highest. Ranked are all other judged artists. Documents and names alone are
trained on (names: all {n_known:,}); no play enters. Mean over artists. Singles are exact cosines,
whole vectors have the {TextConfig().dimensions} dimensions that are served; the last column
compares with the best single.

| | NDCG@{K} | P@{K} | beside the best single |
|---|---:|---:|---:|
{rows}
"""


def weights_section(kept: Path, *, sentences: bool) -> str:
    rows = table(learn([planted(seed, kept) for seed in WORLDS], sentences=sentences))
    heads = ["n1", "n2", "np", "adj", *(["passages"] if sentences else []), "own voices"]
    seeds = ", ".join(map(str, WORLDS))
    return f"""They were not chosen on the figures above. The search below goes over demo worlds of
seeds {seeds} (truth: the ten nearest in the tastes that the world was made from; mean NDCG@{K}),
one weight at a time, three rounds. The default are round numbers: words lead, the finer types count
half, passages as much as words.

| weights | {" | ".join(heads)} | NDCG@{K} |
|---|{"---:|" * (len(heads) + 1)}
{rows}
"""


def speed_section(kept: Path, *, sentences: bool) -> str:
    rows = table(speed(real(data_folder(), kept), kept, sentences=sentences))
    return f"""CPU seconds of one process, the paragraphs above as pages (about 125 words each).

| step | pages/s a core |
|---|---:|
{rows}

Memory is bounded: recsys/text/reading.py and cultural.py say by what.
"""


TITLE = "# Text: quality, weights, speed"
PARTS = {
    "quality": ("Artists that the same people listen to", quality_section),
    "weights": ("Where the weights come from", weights_section),
    "speed": ("Speed", speed_section),
}


def data_folder() -> Path:
    if not (named := os.environ.get("RECSYS_TEST_DATA")):
        raise SystemExit("RECSYS_TEST_DATA does not name the folder of real data")
    return Path(named)


def table(lines: list[str]) -> str:
    return "\n".join(lines)


def sections(page: str) -> dict[str, str]:
    """Return what a results page says under each heading."""
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)[1:]
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def joined(page: str, fresh: dict[str, str]) -> str:
    """Return the page with `fresh` sections in place of those of the same heading."""
    known = sections(page) | {name: body.strip() for name, body in fresh.items()}
    shown = (f"## {name}\n{known[name]}\n" for name, _ in PARTS.values() if name in known)
    return "\n".join([TITLE, "", *shown])


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--kept", type=Path, help="keep readings and embeddings here")
    parser.add_argument("--no-sentences", action="store_true", help="leave the encoder out")
    args = parser.parse_args()
    sentences = not args.no_sentences
    libraries = ("numpy", "scikit-learn", "sentence-transformers", "trafilatura")
    with tempfile.TemporaryDirectory() as scratch:
        kept = args.kept or Path(scratch)
        kept.mkdir(parents=True, exist_ok=True)
        for part in args.parts.split(","):
            name, measure = PARTS[part]
            began, load = time.perf_counter(), os.getloadavg()[0]
            body = measure(kept, sentences=sentences)
            minutes = (time.perf_counter() - began) / 60
            made = f"{minutes:.0f} minutes. {origin(*libraries, load=load)}"
            section = {name: f"{body}\n{made}"}
            print(f"## {name}\n{section[name]}\n", flush=True)
            if args.out:
                page = place(args.out)
                before = page.read_text(encoding="utf-8") if page.exists() else ""
                page.write_text(joined(before, section), encoding="utf-8")


if __name__ == "__main__":
    main()
