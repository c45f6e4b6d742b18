"""One version: everything trained that the dataset has data for, written, and let serve.

Enters: a `Source` or the `Content` made of it, a `Config`, a `Backend`. Leaves: a version in
`Models`; what was left out, and why, stands in its facts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from recsys.backend import Backend
from recsys.bundle import BundleWriter, Models
from recsys.collaborative.checkpoints import Checkpoints
from recsys.config import Config
from recsys.data.importers.database import events_until
from recsys.data.interactions import build_interactions
from recsys.ensemble.learned import write_blender
from recsys.ensemble.learning import Ladder
from recsys.ensemble.segments import find_segments, former_centres
from recsys.errors import InputError, UsageError
from recsys.pipeline.blending import learn_blend
from recsys.pipeline.content import MODEL_NAMES, Content
from recsys.pipeline.source import Source, evidence_of, known_lists
from recsys.pipeline.training import train_factors, training_key
from recsys.progress import note
from recsys.retrieval import catalogue_index

__all__ = ["assemble", "build", "check_names", "note_exact"]


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
    # A blend learned with a model cannot do without it.
    if set(MODEL_NAMES) <= set(only) and config.ensemble.blend != "fusion":
        _keep_blend(learn_blend(shared), writer)
    # What is shared is found out before it is handed on.
    _ = [getattr(shared, name) for name in ("text", "audio") if name in only]
    content = shared.afresh(source, frozenset(only))
    latest = int(source.events.at.max(initial=0))
    key = training_key([content.hearing.fingerprint(only), len(source.events), latest], config)
    every = config.collaborative.checkpoint_every
    path = f"{models.folder.path}/checkpoints/{key}"
    checkpoints = Checkpoints(path, every=every, resume=resume)

    def collaborative() -> str:
        matrix = evidence_of(interactions, config.collaborative)
        if not matrix.nnz:
            explicit = config.collaborative.feedback == "explicit"
            return "no ratings" if explicit else "no events on items"
        factors = train_factors(matrix, content, backend, models, checkpoints)
        factors.write(writer)
        _write_index(writer, "collaborative", factors.item_factors, factors.item_biases)
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
        _write_index(writer, "text", content.text.item_vectors)
        return ""

    def audio() -> str:
        if content.audio is None:
            return "no readable recordings"
        model = content.spoken
        assert model is not None
        model.write(writer)
        _write_index(writer, "audio", model.item_vectors)
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


def _keep_blend(ladder: Ladder, writer: BundleWriter) -> None:
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


def _write_index(
    writer: BundleWriter,
    name: str,
    vectors: NDArray[np.float32],
    biases: NDArray[np.float32] | None = None,
) -> None:
    """Store how a large catalogue's items lie, so that serving need not look at all."""
    index, recall = catalogue_index(vectors, biases)
    if index is not None:
        writer.add_group(f"index/{name}", index.arrays)
    else:
        note_exact(name, recall)


def note_exact(name: str, recall: float) -> None:
    """Say why a large catalogue has no index to walk: a walk of `recall` would find too little."""
    if recall < 1:
        note(f"{name}: a walk finds {recall:.0%} of the nearest items; the search stays exact")
