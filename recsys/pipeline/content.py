"""What is said of items and what they sound like: found out once, shared by several builds.

Enters: a `Source`, a `Config`, a `Backend`. Leaves: the text and audio models, and what the
collaborative model may draw its items' vectors to.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.audio.listening import Heard, hear_items
from recsys.audio.model import AudioModel, build_audio
from recsys.backend import Backend, LocalBackend
from recsys.collaborative.checks import MAX_FEATURES
from recsys.config import Config
from recsys.data.catalogue import Catalogue
from recsys.data.dataset import Dataset
from recsys.ensemble.learning import Ladder
from recsys.pipeline.source import Source
from recsys.progress import note
from recsys.text.model import TextModel, build_text, leading_directions

__all__ = ["MODEL_NAMES", "Content", "Hearing"]

MODEL_NAMES = ("collaborative", "text", "audio")
"""The three models, in the order in which they are trained."""


class Hearing:
    """What the recordings of a dataset sound like, whatever catalogue is made of it; heard once."""

    def __init__(self, dataset: Dataset, config: Config, backend: Backend) -> None:
        self._dataset, self._config, self._backend = dataset, config, backend

    @cached_property
    def heard(self) -> dict[str, Heard]:
        """By item id."""
        return hear_items(self._dataset, self._config.audio, self._backend)

    def wanted(self, only: Collection[str]) -> bool:
        """Tell whether a training of the models `only` needs to hear anything."""
        return "audio" in {*only, *self._config.collaborative.features}

    def fingerprint(self, only: Collection[str]) -> str:
        """Return the dataset's, as it is once all that a training of `only` needs is heard.

        Hearing fills the descriptors table, which is part of the dataset.
        """
        if self.wanted(only):
            _ = self.heard
        return self._dataset.fingerprint()


class Content:
    """What is said of items, what they sound like, and how to blend; each is found out once.

    Several builds from one dataset share it, as those that evaluate and those that serve.

    Parameters
    ----------
    only
        The models wanted.
    backend
        Where recordings and passages are encoded, and models trained that only the blend needs.
    hearing
        Of the same dataset, where another shares it.
    """

    def __init__(
        self,
        source: Source,
        config: Config,
        only: Collection[str] = MODEL_NAMES,
        *,
        backend: Backend | None = None,
        hearing: Hearing | None = None,
    ) -> None:
        self.source, self.config, self.only = source, config, only
        self.backend = backend or LocalBackend()
        self.hearing = hearing or Hearing(source.dataset, config, self.backend)
        self.sound: tuple[NDArray[np.float32], NDArray[np.uint8]] | None = None
        """What networks say, (n_items, f), and these; once factors are there to learn from."""
        self.ladder: Ladder | None = None
        """How to blend, once it is learned."""

    @property
    def heard(self) -> dict[str, Heard]:
        return self.hearing.heard

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
        """Return the same for other events of the same catalogue, nothing learned from them yet."""
        other = Content(source, self.config, only, backend=self.backend, hearing=self.hearing)
        shared = ("text", "audio")
        vars(other).update({name: vars(self)[name] for name in shared if name in vars(self)})
        return other

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
