"""A new version without a training: what is new joins the version that serves.

Enters: a dataset as read, and the version that serves. Leaves: a new version with the new items,
artists, listeners and events. What was learned stays: a new item is solved beside the users as they
are (its features draw it, where the training had any), then listeners with new events beside the
items; an item without a text of its own stands where its artist does. Texts are weighed anew where
documents came. Graphs grow, arrays that nothing touched are the same blocks. What only a training
can do waits for it and is noted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.bundle import Bundle, BundleWriter, Models
from recsys.collaborative.factors import Factors
from recsys.config import Config
from recsys.data.arrays import read_csr, write_csr
from recsys.data.catalogue import Catalogue
from recsys.data.collections import read_collections
from recsys.data.dataset import Dataset
from recsys.data.interactions import Events, Interactions, build_interactions
from recsys.ensemble.segments import Segments, find_segments
from recsys.errors import UsageError
from recsys.progress import note
from recsys.retrieval import ApproximateIndex, grown_graph
from recsys.text.model import build_text

__all__ = ["Updated", "update"]

_MADE_ANEW = (
    "catalogue/",
    "interactions/",
    "collaborative/",
    "segments/",
    "index/",
    "collections/",
)
_BY_ITEM = ("text/item_vectors", "text/item_trust", "audio/item_vectors", "descriptors/")
_BY_ARTIST = ("text/artist_vectors",)
_MATRICES = {
    "text/artist_terms": ("artists", False),
    "text/beside": ("artists", True),
    "text/item_terms": ("items", False),
}
"""Of whom the rows are; whether the columns are the same."""
_CARRIED = ("text/terms/", "audio/networks", "blend/")
"""What no row number stands in."""

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]
Given = Mapping[str, tuple[Sequence[str], Floats]]
"""Per model (text, audio) ids of items and their vectors."""


@dataclass(frozen=True)
class Updated:
    """What an update brought."""

    version: str
    items: int
    """New ones."""
    artists: int
    users: int
    refreshed: int
    """Known listeners whose events changed."""
    blocks_reused: int
    """Arrays of the version before that the new one shares."""


@dataclass(frozen=True)
class _Rows:
    """For each new row the row before, -1 where there was none."""

    users: Rows
    items: Rows
    artists: Rows

    @classmethod
    def of(cls, catalogue: Catalogue, known: Catalogue) -> _Rows:
        return cls(
            known.users.rows(catalogue.users.to_arrow()),
            known.items.rows(catalogue.items.to_arrow()),
            known.artists.rows(catalogue.artists.to_arrow()),
        )


def update(
    dataset: Dataset,
    catalogue: Catalogue,
    events: Events,
    models: Models,
    *,
    given: Given | None = None,
    activate: bool = True,
) -> Updated:
    """Bring what `dataset` has now into a new version; return what was new.

    Parameters
    ----------
    dataset, catalogue, events
        As `recsys.pipeline.read_source` reads them.
    given
        Vectors of items that were made elsewhere, in the spaces of the version's models.

    Raises
    ------
    UsageError
        Where the version holds what cannot be updated, or a given vector has another length.
    """
    former = models.open()
    config = former.config
    rows = _Rows.of(catalogue, Catalogue.read(former))
    interactions = build_interactions(events, catalogue, config.interactions)
    writer = models.write()
    catalogue.write(writer)
    interactions.write(writer)
    if "collections/owner" in former:
        read_collections(dataset, catalogue).write(writer)
    content = _content(former, writer, rows, catalogue, dataset, config, given or {})
    refreshed = 0
    if "collaborative" in former.facts["trained"]:
        refreshed = _collaborative(former, writer, rows, interactions, content, config)
    for name, vectors in content.items():
        _grow(former, writer, name, rows.items, vectors, None)
    writer.note(**dict(former.facts) | {
        "dataset": dataset.fingerprint(),
        "documents": dataset.count("documents"),
        "updated_from": former.version,
        "counts": {
            "users": catalogue.n_users,
            "items": catalogue.n_items,
            "artists": catalogue.n_artists,
            "events": len(events),
        },
    })  # fmt: skip
    before = {block.sha256 for blocks in former.arrays.values() for block in blocks}
    after = [block.sha256 for blocks in writer.arrays.values() for block in blocks]
    return Updated(
        version=writer.commit(activate=activate),
        items=int((rows.items < 0).sum()),
        artists=int((rows.artists < 0).sum()),
        users=int((rows.users < 0).sum()),
        refreshed=refreshed,
        blocks_reused=sum(sha in before for sha in after),
    )


def _content(
    former: Bundle,
    writer: BundleWriter,
    rows: _Rows,
    catalogue: Catalogue,
    dataset: Dataset,
    config: Config,
    given: Given,
) -> dict[str, Floats]:
    """Write the text and audio models under the new rows; return their item vectors."""
    content: dict[str, Floats] = {}
    anew = "text" in former.facts["trained"] and (
        former.facts.get("documents", dataset.count("documents")) != dataset.count("documents")
    )
    if anew and (text := build_text(dataset, catalogue, config.text)) is not None:
        text.write(writer)
        content["text"] = text.item_vectors
    for name in former.arrays:
        if name.startswith(_MADE_ANEW) or name in writer.arrays:
            continue
        matrix = name.rpartition("/")[0]
        if name.startswith(_BY_ITEM):
            array = _moved(former.array(name), rows.items)
            model = name.partition("/")[0]
            if name.endswith("item_vectors"):
                array = _filled(former, model, array, rows, catalogue, given.get(model))
                content[model] = array
            writer.add(name, array)
        elif name in _BY_ARTIST:
            writer.add(name, _moved(former.array(name), rows.artists))
        elif matrix in _MATRICES:
            if name.endswith("indptr"):
                whose, columns_too = _MATRICES[matrix]
                known = read_csr(former, matrix)
                write_csr(writer, matrix, _moved_matrix(known, getattr(rows, whose), columns_too))
        elif name.startswith(_CARRIED):
            writer.add_blocks(name, former.arrays[name])
        else:
            raise UsageError(
                f"version {former.version}: {name} cannot be updated; run `recsys train`"
            )
    if "audio" in content and not given.get("audio") and (rows.items < 0).any():
        note("audio: recordings of new items are heard by the next `recsys train`")
    return content


def _filled(
    former: Bundle,
    model: str,
    vectors: Floats,
    rows: _Rows,
    catalogue: Catalogue,
    given: tuple[Sequence[str], Floats] | None,
) -> Floats:
    """Give new items the vectors given for them, else, in the text space, their artist's."""
    if model == "text":
        artists = _moved(former.array("text/artist_vectors"), rows.artists)
        fresh = np.flatnonzero((rows.items < 0) & (catalogue.item_artist >= 0))
        vectors[fresh] = artists[catalogue.item_artist[fresh]]
    if given is not None:
        ids, known = given
        if known.shape != (len(ids), vectors.shape[1]):
            raise UsageError(
                f"{model} vectors: want shape ({len(ids)}, {vectors.shape[1]}), got {known.shape}"
            )
        places = catalogue.items.rows(list(ids))
        vectors[places[places >= 0]] = known[places >= 0]
    return vectors


def _collaborative(
    former: Bundle,
    writer: BundleWriter,
    rows: _Rows,
    interactions: Interactions,
    content: Mapping[str, Floats],
    config: Config,
) -> int:
    """Solve new items, then listeners whose events changed; return how many known ones did."""
    trained = Factors.read(former)
    factors = trained.renumbered(rows.users, rows.items)
    explicit = trained.config.feedback == "explicit"
    matrix = interactions.ratings if explicit else interactions.evidence
    before = Interactions.read(former)
    changed = _changed(before.ratings if explicit else before.evidence, matrix, rows)
    fresh = np.flatnonzero(rows.items < 0)
    if len(fresh):
        features = _features(content, config, trained.feature_map, fresh)
        columns = csr_array(matrix.T.tocsr()[fresh])
        solved = factors.fold_in_items(columns, features=features)
        factors.item_factors[fresh], factors.item_biases[fresh] = solved
    if len(changed):
        solved = factors.fold_in(csr_array(matrix[changed]))
        factors.user_factors[changed], factors.user_biases[changed] = solved
    factors.write(writer)
    _grow(former, writer, "collaborative", rows.items, factors.item_factors, factors.item_biases)
    if "segments/centres" in former:
        centres = Segments.read(former).centres
        groups = config.segments.groups
        find_segments(factors.user_factors, groups, former=centres).write(writer)
    return int((rows.users[changed] >= 0).sum())


def _changed(before: csr_array, now: csr_array, rows: _Rows) -> NDArray[np.int64]:
    """Return rows of `now` that are new or differ from what they were."""
    place = np.full(before.shape[1], -1, np.int64)
    place[rows.items[rows.items >= 0]] = np.flatnonzero(rows.items >= 0)
    known = np.flatnonzero(rows.users >= 0)
    old = csr_array(before[rows.users[known]])
    moved = csr_array((old.data, place[old.indices], old.indptr), shape=(len(known), now.shape[1]))
    differing = csr_array(abs(now[known] - moved))
    differing.data[differing.data < 1e-6] = 0
    differing.eliminate_zeros()
    return np.sort(
        np.concatenate([np.flatnonzero(rows.users < 0), known[np.diff(differing.indptr) > 0]])
    )


def _features(
    content: Mapping[str, Floats],
    config: Config,
    feature_map: Floats | None,
    fresh: Rows | NDArray[np.int64],
) -> Floats | None:
    """Return what draws new items, as in training; None where that cannot be had here."""
    if feature_map is None:
        return None
    names = [name for name in ("text", "audio") if name in config.collaborative.features]
    found = [content[name][fresh] for name in names if name in content]
    width = sum(vectors.shape[1] for vectors in found)
    if width != len(feature_map):
        note("collaborative: new items are drawn to their features by the next `recsys train`")
        return None
    return np.concatenate(found, axis=1)


def _grow(
    former: Bundle,
    writer: BundleWriter,
    name: str,
    items: Rows,
    vectors: Floats,
    biases: Floats | None,
) -> None:
    """Add new items to a model's index, where it has one, under the new rows."""
    arrays = former.group(f"index/{name}")
    if not arrays:
        return
    graph = ApproximateIndex.from_arrays(arrays).graph
    # The graph's own order: items as they were numbered, then the new ones.
    order = np.empty(len(items), np.int64)
    old = items >= 0
    n_kept = len(graph)
    if int(old.sum()) != n_kept:
        raise UsageError(f"{name}: items of the version are gone; run `recsys train`")
    order[items[old]] = np.flatnonzero(old)
    order[n_kept:] = np.flatnonzero(~old)
    held, heights = vectors[order], None if biases is None else biases[order]
    before = None if heights is None else heights[:n_kept]
    first = ApproximateIndex(held[:n_kept], before, graph=graph)
    grown = grown_graph(first, graph, held, heights)
    renumbered = np.where(grown >= 0, order[grown], -1).astype(np.int32)
    placed = np.empty_like(renumbered)
    placed[order] = renumbered
    writer.add_group(f"index/{name}", ApproximateIndex(vectors, biases, graph=placed).arrays)


def _moved(array: NDArray[Any], rows: Rows) -> NDArray[Any]:
    """Return an array under new rows; a new row is nan, -1 or, in vectors, zero."""
    blank: float = 0
    if array.ndim == 1:
        blank = np.nan if np.issubdtype(array.dtype, np.floating) else -1
    moved = np.full((len(rows), *array.shape[1:]), blank, array.dtype)
    moved[rows >= 0] = array[rows[rows >= 0]]
    return moved


def _moved_matrix(matrix: csr_array, rows: Rows, columns_too: bool) -> csr_array:
    """Return (new rows, ...) with empty new rows; `columns_too` where they are the same things."""
    known = np.flatnonzero(rows >= 0)
    taken = csr_array(matrix[rows[known]])
    counts = np.zeros(len(rows), taken.indptr.dtype)
    counts[known] = np.diff(taken.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(taken.indptr.dtype)
    indices, n_columns = taken.indices, matrix.shape[1]
    if columns_too:
        place = np.full(n_columns, -1, np.int32)
        place[rows[known]] = known
        indices, n_columns = place[indices], len(rows)
    moved = csr_array((taken.data, indices, indptr), shape=(len(rows), n_columns))
    moved.sort_indices()
    return moved
