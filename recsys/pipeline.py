"""From a dataset to one trained version: the whole way of the data, in the order it flows.

::

    dataset --> catalogue, events --> interactions --> collaborative --+
       |                                                 |  ^          |
       |                                                 |  | features, if set
       +------> documents -----------------------> text -|--+----------+--> bundle
       |                                                 v  |          |
       +------> recordings ------------> audio ---> network +----------+
                                                                       |
            base, tune --> all models --> candidates --> blend --------+
                                blend slice ---------------^

Enters: a `Dataset`, a `Config`, a `Backend`. Leaves: a version in `Models`. A model is trained when
the dataset has data for it; what was left out, and why, stands in the bundle's facts. With
``collaborative.features`` labels, text and audio draw the items' vectors too. The network learns
from the factors to hear where an item lies; where audio is such a feature, the factors are then
trained once more, drawn to what networks say that have never met the item's artist. A retraining
starts from the version that serves, so that neighbours, and maps learned on its vectors, stay
stable. How much to believe each signal is learned once, on what listeners loved in the blend slice,
from models that saw only what was before it; the version itself is trained on every event.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.audio.listening import Heard, hear_items
from recsys.audio.model import AudioModel, build_audio
from recsys.backend import Backend, LocalBackend
from recsys.bundle import BundleWriter, Models
from recsys.collaborative.als import train
from recsys.collaborative.checkpoints import Checkpoints
from recsys.collaborative.checks import MAX_FEATURES
from recsys.collaborative.factors import Curvature, Factors
from recsys.config import CollaborativeConfig, Config
from recsys.data.catalogue import NO_TIME, Catalogue, read_catalogue
from recsys.data.collections import Collections, read_collections
from recsys.data.dataset import Dataset
from recsys.data.importers.database import events_until
from recsys.data.interactions import (
    Events,
    Interactions,
    build_interactions,
    latest_times,
    newly_loved,
    read_events,
)
from recsys.data.slices import split
from recsys.ensemble.ensemble import Ensemble
from recsys.ensemble.learned import write_blender
from recsys.ensemble.learning import Ladder, climb, prepare
from recsys.ensemble.segments import find_segments, former_centres
from recsys.ensemble.sound import Sound
from recsys.errors import InputError, RecsysError, UsageError
from recsys.progress import note
from recsys.retrieval import catalogue_graph
from recsys.storage import Folder
from recsys.text.model import TextModel, build_text, leading_directions

__all__ = [
    "IDLE_KEYS",
    "MODEL_NAMES",
    "Content",
    "Source",
    "assemble",
    "build",
    "check_names",
    "evidence_of",
    "evidence_times",
    "learn_to_hear",
    "read_source",
    "training_key",
]

_FEW_LISTENERS = 10
"""An item of so many listeners counts half in the training of the network."""

MODEL_NAMES = ("collaborative", "text", "audio")
"""The three models, in the order in which they are trained."""

IDLE_KEYS = ("checkpoint_every", "loss_every", "num_threads")
"""Settings of the collaborative model that move no factor."""


@dataclass(frozen=True)
class Source:
    """A dataset as read: who and what there is, and what happened."""

    dataset: Dataset
    catalogue: Catalogue
    events: Events
    collections: Collections | None = None


@dataclass
class Content:
    """What is said of items, what they sound like, and how to blend; each is found out once.

    Several builds from one dataset share it, as those that evaluate and those that serve.
    """

    source: Source
    config: Config
    only: Collection[str] = MODEL_NAMES
    """The models wanted."""
    sound: tuple[NDArray[np.float32], NDArray[np.uint8]] | None = None
    """What networks say, (n_items, f), and these; once factors are there to learn from."""
    backend: Backend = field(default_factory=LocalBackend)
    """Where recordings and passages are encoded, and models trained that only the blend needs."""

    @cached_property
    def heard(self) -> dict[str, Heard]:
        return hear_items(self.source.dataset, self.config.audio, self.backend)

    @cached_property
    def text(self) -> TextModel | None:
        source, config = self.source, self.config.text
        return build_text(source.dataset, source.catalogue, config, self.backend)

    @cached_property
    def audio(self) -> AudioModel | None:
        return build_audio(self.heard, self.source.catalogue, self.config.audio)

    @property
    def spoken(self) -> AudioModel | None:
        """The audio model with what networks say, where there are any."""
        return self.audio if not (self.audio and self.sound) else self.audio.joined(*self.sound)

    def afresh(self, source: Source, only: Collection[str] = MODEL_NAMES) -> Content:
        """Return the same for other events of the same catalogue; networks have yet to learn."""
        other = Content(source, self.config, only, backend=self.backend)
        shared = ("heard", "text", "audio")
        vars(other).update({name: vars(self)[name] for name in shared if name in vars(self)})
        return other

    @cached_property
    def ladder(self) -> Ladder:
        """The blend learned on the blend slice of the source, from models of base and tune."""
        source, config = self.source, self.config
        catalogue, seed = source.catalogue, config.evaluation.seed
        slices = split(source.events, config.slices)
        before = source.events.take(np.sort(np.concatenate([slices.base, slices.tune])))
        later = source.events.take(slices.blend)
        heard = build_interactions(before, catalogue, config.interactions).heard

        def loved(events: Events, eligible: NDArray[np.bool_]) -> csr_array:
            return newly_loved(
                events, catalogue, config.interactions, heard=heard, eligible=eligible
            )

        # Counted before anything is trained for it.
        of_any_kind = loved(later, np.ones(catalogue.n_items, bool))
        n_listeners = int(np.count_nonzero(np.diff(of_any_kind.indptr)))
        if n_listeners < config.ensemble.blend_fewest:
            return Ladder(None, {}, n_listeners, {})
        _ = self.text, self.audio  # found out before they are handed on
        ensemble = self.afresh(replace(source, events=before))._ensemble()
        eligible = catalogue.of_kind(ensemble.default_kind)
        sought = loved(later.take(later.organic), eligible)
        lesson = prepare(ensemble, loved(later, eligible), sought, eligible=eligible, seed=seed)
        return climb(lesson, ensemble.fusion, config.ensemble, seed=seed)

    def _ensemble(self) -> Ensemble:
        """Return what models know that saw the events of the source only."""
        source, config = self.source, self.config
        interactions = build_interactions(source.events, source.catalogue, config.interactions)
        matrix, factors = evidence_of(interactions, config.collaborative), None
        if matrix.nnz:
            with TemporaryDirectory(prefix="recsys-blend-") as folder:
                checkpoints = Checkpoints(folder, every=0, resume=False)
                factors = _factors(matrix, self, self.backend, Models(folder), checkpoints)
        content = {"text": self.text, "audio": self.spoken}
        return Ensemble(
            source.catalogue,
            interactions,
            known_lists(source, interactions),
            factors=factors,
            content={name: m.item_vectors for name, m in content.items() if m is not None},
            sound=Sound.of(self.audio, source.catalogue.n_items),
            config=config.ensemble,
        )

    def features(
        self,
        names: Collection[str] | None = None,
        sound: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32] | None:
        """Return (n_items, d) what is known of items under `names`; None where there is nothing.

        By default they are those of ``collaborative.features``. Columns are those of text, audio
        and labels, in this order. Each gives unit rows, or zero rows where it knows nothing; labels
        are projected where there are more than room is left. `sound` is what networks say,
        (n_items, f); the audio model's own vectors otherwise.
        """
        found = [np.zeros((self.source.catalogue.n_items, 0), np.float32)]
        wanted = self.config.collaborative.features if names is None else names
        for name in ("text", "audio", "labels"):
            if name in wanted:
                room = MAX_FEATURES - sum(rows.shape[1] for rows in found)
                said = sound if name == "audio" else None
                found.append(self._vectors(name, room) if said is None else said)
                if not found[-1].shape[1]:
                    note(f"collaborative: no {name} to take features from")
        features = np.concatenate(found, axis=1)
        return features if features.size else None

    def _vectors(self, name: str, room: int) -> NDArray[np.float32]:
        if name == "labels":
            return _label_vectors(self.source.catalogue, max(room, 1))
        model = self.text if name == "text" else self.audio
        if model is None:
            return np.zeros((self.source.catalogue.n_items, 0), np.float32)
        return model.item_vectors


def _label_vectors(catalogue: Catalogue, room: int) -> NDArray[np.float32]:
    """Return (n_items, at most `room`) unit rows of the editors' tags."""
    labels = catalogue.labels.matrix()
    n_labels = np.diff(labels.indptr)
    labels.data /= np.repeat(np.sqrt(n_labels), n_labels).astype(np.float32)
    if labels.shape[1] > room:
        return np.asarray(labels @ leading_directions(labels, room).T, np.float32)
    return np.asarray(labels.toarray(), np.float32)


def read_source(dataset: Dataset) -> Source:
    """Read ids, metadata and events of a dataset once."""
    catalogue = read_catalogue(dataset)
    events, collections = read_events(dataset, catalogue), read_collections(dataset, catalogue)
    return Source(dataset, catalogue, events, collections)


def build(
    source: Source,
    config: Config,
    backend: Backend,
    models: Models,
    *,
    only: Collection[str] = MODEL_NAMES,
    activate: bool = True,
    resume: bool = False,
    content: Content | None = None,
) -> str:
    """Train what `source` has data for and return the name of the new version.

    Parameters
    ----------
    source
        The dataset; an evaluation passes one whose events end before the slice it reports.
    only
        The models to train, of `MODEL_NAMES`.
    activate
        Let the new version serve.
    resume
        Go on from the checkpoint that a training of the same events and settings left in `models`.
    content
        What was found out already about the items and the blend, from a source with the same
        catalogue; by default it is found out here.

    Raises
    ------
    UsageError
        For a model name that does not exist.
    InputError
        Where the dataset has data for none of the wanted models.
    """
    check_names(only)
    interactions = build_interactions(source.events, source.catalogue, config.interactions)
    writer = models.write()
    source.catalogue.write(writer)
    interactions.write(writer)
    known_lists(source, interactions).write(writer)

    shared = Content(source, config, backend=backend) if content is None else content
    if "audio" in {*only, *config.collaborative.features}:
        # Hearing fills the descriptors table, which is part of the dataset that the key names.
        _ = shared.heard
    # A blend learned with a model cannot do without it.
    if set(MODEL_NAMES) <= set(only) and config.ensemble.blend != "fusion":
        _blend(shared.ladder, writer)
    # What is shared is found out before it is handed on.
    _ = [getattr(shared, name) for name in ("text", "audio") if name in only]
    content = shared.afresh(source, frozenset(only))
    latest = int(source.events.at.max(initial=0))
    key = training_key([source.dataset.fingerprint(), len(source.events), latest], config)
    every = config.collaborative.checkpoint_every
    path = f"{models.folder.path}/checkpoints/{key}"
    checkpoints = Checkpoints(path, every=every, resume=resume)

    def collaborative() -> str:
        matrix = evidence_of(interactions, config.collaborative)
        if not matrix.nnz:
            explicit = config.collaborative.feedback == "explicit"
            return "no ratings" if explicit else "no events on items"
        factors = _factors(matrix, content, backend, models, checkpoints)
        factors.write(writer)
        _write_graph(writer, "collaborative", factors.item_factors, factors.item_biases)
        find_segments(
            factors.user_factors,
            config.segments.groups,
            seed=config.segments.seed,
            former=former_centres(models, config.collaborative),
        ).write(writer)
        return ""

    counts = {"users": len(source.catalogue.users), "events": len(source.events)}
    version = assemble(content, collaborative, writer, only=only, activate=activate, counts=counts)
    checkpoints.clear()
    return version


def check_names(only: Collection[str]) -> None:
    """Raise UsageError for a model that does not exist."""
    unknown = set(only) - set(MODEL_NAMES)
    if unknown:
        raise UsageError(f"no model {min(unknown)!r}; known: {', '.join(MODEL_NAMES)}")


def assemble(
    content: Content,
    collaborative: Callable[[], str],
    writer: BundleWriter,
    *,
    only: Collection[str],
    activate: bool,
    counts: Mapping[str, int],
) -> str:
    """Train the wanted models into a version that has its catalogue and interactions; commit it.

    `collaborative` trains that model and returns why it could not, or an empty string.
    """
    source, config = content.source, content.config

    def text() -> str:
        if content.text is None:
            return "no documents about known artists"
        content.text.write(writer)
        _write_graph(writer, "text", content.text.item_vectors)
        return ""

    def audio() -> str:
        if content.audio is None:
            return "no readable recordings"
        model = content.spoken
        assert model is not None
        model.write(writer)
        _write_graph(writer, "audio", model.item_vectors)
        return ""

    left_out = {name: "not asked for" for name in MODEL_NAMES if name not in only}
    for name, train_it in zip(MODEL_NAMES, (collaborative, text, audio), strict=True):
        if name in only and (reason := train_it()):
            left_out[name] = reason
            note(f"{name} left out: {reason}")
    trained = [name for name in MODEL_NAMES if name not in left_out]
    if not trained:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise InputError(f"{source.dataset.folder.path}: nothing to train ({reasons})")
    known = {"items": len(source.catalogue.items), "artists": len(source.catalogue.artists)}
    writer.note(
        config=config.to_dict(),
        dataset=source.dataset.fingerprint(),
        trained=trained,
        left_out=left_out,
        events_until=events_until(source.dataset),
        counts=known | dict(counts),
    )
    return writer.commit(activate=activate)


def _blend(ladder: Ladder, writer: BundleWriter) -> None:
    """Keep what was learned, and how each rung ranked."""
    chosen = "fusion" if ladder.blender is None else ladder.blender.kind
    if ladder.ndcg:
        shown = ", ".join(f"{name} {ndcg:.4f}" for name, ndcg in ladder.ndcg.items())
        note(f"blend: {chosen}; NDCG@30 for held-out listeners: {shown}")
    else:
        note(f"blend: fusion; too few ({ladder.n_listeners}) loved something new to learn from")
    writer.note(ladder={"chosen": chosen, "n_listeners": ladder.n_listeners, **ladder.facts()})
    if ladder.blender is not None:
        write_blender(ladder.blender, writer)


def evidence_of(interactions: Interactions, settings: CollaborativeConfig) -> csr_array:
    """Return (n_users, n_items) what the collaborative model is fitted to."""
    return interactions.ratings if settings.feedback == "explicit" else interactions.evidence


def known_lists(source: Source, interactions: Interactions) -> Collections:
    """Return the collections as they can have been when the last event of `source` happened."""
    if source.collections is None:
        return Collections.none(source.catalogue.n_items)
    released, now = source.catalogue.released_at, source.events.at.max(initial=NO_TIME)
    out = (released <= now) if now != NO_TIME else np.ones(len(released), bool)
    return source.collections.as_of(interactions.heard, out)


def training_key(events: Sequence[Any], config: Config) -> str:
    """Return what a checkpoint's training is known by: its events, and what it makes of them."""
    settings = config.to_dict()
    for key in IDLE_KEYS:
        del settings["collaborative"][key]
    stages = ["interactions", "collaborative"]
    stages += ["text", "audio"] if config.collaborative.features else []
    text = json.dumps([list(events), [settings[stage] for stage in stages]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write_graph(
    writer: BundleWriter,
    name: str,
    vectors: NDArray[np.float32],
    biases: NDArray[np.float32] | None = None,
) -> None:
    """Store how a large catalogue's items lie to each other, so that serving need not look at all.

    Where a walk would find too little, none is stored and the search stays exact.
    """
    graph, recall = catalogue_graph(vectors, biases)
    if graph is not None:
        writer.add(f"neighbours/{name}", graph)
    elif recall < 1:
        note(f"{name}: a walk finds {recall:.0%} of the nearest items; the search stays exact")


def _factors(
    matrix: csr_array,
    content: Content,
    backend: Backend,
    models: Models,
    checkpoints: Checkpoints,
) -> Factors:
    """Train; let networks learn from the factors; train again where these say what is drawn to."""
    names = content.config.collaborative.features
    if not content.config.network.enabled or "audio" not in content.only or not content.heard:
        features = content.features(names)
        return _alternated(matrix, features, content, backend, models, checkpoints)
    silent = content.features([name for name in names if name != "audio"])
    factors = _alternated(matrix, silent, content, backend, models, checkpoints)
    said = learn_to_hear(factors, matrix, content, models)
    if "audio" not in names:
        return factors
    features, settings = content.features(names, said), content.config.collaborative
    at = evidence_times(content.source.events, content.source.catalogue, settings, matrix)
    again = train(matrix, settings, backend, initial=factors, item_features=features, at=at)
    everything = np.arange(matrix.shape[1], dtype=np.int32)
    return again.aligned_to(factors, everything)


def learn_to_hear(
    factors: Factors, matrix: csr_array, content: Content, models: Models
) -> NDArray[np.float32] | None:
    """Train the networks; return (n_items, f) where they hear items lie, None where they cannot.

    A row is the shorter the less sure networks are; the mean square length is 1.
    """
    from recsys.audio.training import Targets, classes_of, learn, packed

    assert content.audio is not None and content.audio.descriptors is not None
    catalogue, config = content.source.catalogue, content.config.network
    rows = catalogue.items.rows(list(content.heard))
    n_listeners = np.diff(matrix.tocsc().indptr)[rows]
    bend = Curvature(factors, matrix) if config.loss == "weighted" else None
    targets = Targets(
        factors=factors.item_factors[rows] * (n_listeners > 0)[:, None],
        biases=factors.item_biases[rows],
        weights=(n_listeners / (n_listeners + _FEW_LISTENERS)).astype(np.float32),
        artist=catalogue.item_artist[rows],
        classes=classes_of(content.audio.descriptors, rows),
        curvature=None if bend is None else lambda places: bend(rows[places]),
    )
    source, stages = content.source, content.config.to_dict()
    told = [stages[name] for name in ("interactions", "collaborative", "audio", "network")]
    state = json.dumps([source.dataset.fingerprint(), len(source.events), told])
    key = hashlib.sha256(state.encode()).hexdigest()[:16]
    folder = Folder(f"{models.folder.path}/training/{key}")
    learned = learn([one.bands for one in content.heard.values()], targets, config, folder)
    if learned is None:
        note("network left out: too few artists whose recordings were played")
        return None
    said = np.zeros((catalogue.n_items, factors.item_factors.shape[1]), np.float32)
    directions = learned.answers.directions
    said[rows] = directions / np.sqrt(np.mean(np.sum(directions**2, axis=1)))
    content.sound = said, packed(learned.networks)
    return said


def _alternated(
    matrix: csr_array,
    features: NDArray[np.float32] | None,
    content: Content,
    backend: Backend,
    models: Models,
    checkpoints: Checkpoints,
) -> Factors:
    """Train, from the version that serves where that is possible, and lie as it does."""
    settings = content.config.collaborative
    given: dict[str, Any] = {"item_features": features, "checkpoints": checkpoints}
    source = content.source
    given["at"] = evidence_times(source.events, source.catalogue, settings, matrix)
    former = _former(models, settings) if settings.warm_start else None
    if former is None:
        return train(matrix, settings, backend, **given)
    factors, known = former
    users = known.users.rows(content.source.catalogue.users.to_arrow())
    items = known.items.rows(content.source.catalogue.items.to_arrow())
    start = factors.renumbered(users, items).shaken(settings.seed)
    return train(matrix, settings, backend, initial=start, **given).aligned_to(factors, items)


def evidence_times(
    events: Events, catalogue: Catalogue, settings: CollaborativeConfig, matrix: csr_array
) -> NDArray[np.int64] | None:
    """Return (nnz,) when each entry of evidence or ratings came about; None where no bins ask."""
    if settings.drift_bins < 2:
        return None
    explicit = settings.feedback == "explicit"
    about = events.take(events.of_kind("rating")) if explicit else events
    at = latest_times(about, catalogue, matrix)
    if not (at != NO_TIME).any():
        note("collaborative: no event has a time, so that popularity stands still")
    return at


def _former(models: Models, settings: CollaborativeConfig) -> tuple[Factors, Catalogue] | None:
    """Return the factors that serve, and of whom; None where a training cannot start there."""
    if not models.versions():
        return None
    try:
        bundle = models.open()
        if "collaborative" not in bundle.facts.get("trained", ()):
            return None
        factors, known = Factors.read(bundle), Catalogue.read(bundle)
    except RecsysError as error:
        note(f"collaborative starts afresh: {error}")
        return None
    return (factors, known) if factors.config.factors == settings.factors else None
