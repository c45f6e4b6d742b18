"""Listeners: their tastes, how these drift over the year, and what they would play.

A listener has one to three tastes, each near a scene or between two, and a share of the sessions
for each. Over the year tastes move and shares shift. In a session of taste k an item is played with

    P(i | u, k, month) = softmax_i(p_uk . q_i + m_u a_i(month) + e_ui)

with p_uk the taste, q_i the item's place, a_i its appeal in that month, m_u how much the listener
follows the crowd, and e_ui a whim that nothing explains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.data.world.music import DAY_MS, START_MS, Music
from recsys.data.world.scenes import AXES, SCENES, scene_centres

__all__ = ["N_MONTHS", "N_TASTES", "Listeners", "appeal_by_month", "make_listeners", "odds"]

N_TASTES = 3
N_MONTHS = 12
MONTH_MS = 364 * DAY_MS // N_MONTHS

_SHARPNESS = 2.1  # length of a taste vector: how picky a listener is
_PERSONAL = 0.3  # how far a taste strays from its scenes, per axis, before its length is set
_DRIFT = 0.5  # how far it moves in the year
_WHIM = 0.3
_TREND = 0.15  # monthly step of an item's appeal


@dataclass
class Listeners:
    """One row per listener."""

    seed: int
    """The world's."""
    user_ids: list[str]
    tastes: NDArray[np.float64]
    """(n_users, N_MONTHS, N_TASTES, n_axes)."""
    shares: NDArray[np.float64]
    """(n_users, N_MONTHS, N_TASTES): the share of sessions of each taste, sums to 1."""
    crowd: NDArray[np.float64]
    """How much a listener follows the crowd, about 1."""
    podcasts: NDArray[np.float64]
    """Log odds of an episode over a track."""
    joined_ms: NDArray[np.int64]
    n_sessions: NDArray[np.int64]
    """In the whole time since joining."""
    repeats: NDArray[np.float64]
    """Share of plays that repeat something heard."""
    hours: NDArray[np.float64]
    """(n_users, N_TASTES): the hour of the day around which a taste is listened to."""

    def __len__(self) -> int:
        return len(self.user_ids)


def make_listeners(*, seed: int, scale: float) -> Listeners:
    """Invent 1,000 listeners at scale 1."""
    rng = np.random.default_rng([seed, 2])
    n = max(30, round(1000 * scale))
    start, end = _tastes(n, rng), _tastes(n, rng)
    # (n, 12, 3, axes): most drift a little; an eighth end the year at wholly new tastes.
    moves = np.where(rng.random((n, N_TASTES)) < 0.12, 1.0, _DRIFT * rng.random((n, N_TASTES)))
    way = np.linspace(0, 1, N_MONTHS)[None, :, None] * moves[:, None, :]
    tastes = (1 - way)[..., None] * start[:, None] + way[..., None] * end[:, None]
    tastes *= _SHARPNESS / np.linalg.norm(tastes, axis=-1, keepdims=True)
    many = np.arange(N_TASTES) < rng.choice([1, 2, 3], n, p=[0.25, 0.4, 0.35])[:, None]
    first, last = (rng.dirichlet(np.full(N_TASTES, 1.5), n) * many + 1e-9 for _ in range(2))
    time = np.linspace(0, 1, N_MONTHS)[None, :, None]
    shares = (1 - time) * first[:, None] + time * last[:, None]
    # Some join during the year; the newest have played next to nothing.
    late, newest = rng.random(n) < 0.3, rng.random(n) < 0.05
    joined_day = np.where(late, rng.integers(0, 350, n), 0)
    joined_day = np.where(newest, rng.integers(345, 363, n), joined_day)
    weeks = (364 - joined_day) / 7
    return Listeners(
        seed=seed,
        user_ids=[f"u{row:05d}" for row in range(n)],
        tastes=tastes,
        shares=shares / shares.sum(axis=-1, keepdims=True),
        crowd=rng.lognormal(-0.1, 0.35, n),
        podcasts=np.where(rng.random(n) < 0.35, rng.normal(0.7, 0.7, n), -5.0),
        joined_ms=START_MS + joined_day * DAY_MS,
        n_sessions=1 + rng.poisson(np.minimum(0.72 * rng.lognormal(0, 0.9, n), 5.5) * weeks),
        repeats=rng.beta(4.5, 5.5, n),
        hours=rng.choice([7.5, 12.5, 17.5, 20.5, 22.5], (n, N_TASTES)),
    )


def appeal_by_month(music: Music, *, seed: int) -> NDArray[np.float64]:
    """Return (N_MONTHS, n_items): appeal wanders, and a new release is louder for a while."""
    rng = np.random.default_rng([seed, 3])
    walk = rng.normal(0, _TREND, (N_MONTHS, len(music.item_ids))).cumsum(axis=0)
    months = START_MS + (np.arange(N_MONTHS) + 0.5)[:, None] * MONTH_MS
    age = np.maximum(months - music.released_ms, 0) / MONTH_MS
    return np.asarray(music.appeal + walk + 0.6 * np.exp(-age / 1.5))


def odds(
    music: Music, listeners: Listeners, rows: slice, month: int, appeal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (rows, N_TASTES, n_items) probabilities of a free choice in one month."""
    logits = listeners.tastes[rows, month] @ music.taste.T
    logits += (listeners.crowd[rows, None] * appeal[month])[:, None]
    logits += (listeners.podcasts[rows, None] * music.is_podcast)[:, None]
    logits += _whims(music, listeners, rows)[:, None]
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)
    return np.asarray(logits)


def _whims(music: Music, listeners: Listeners, rows: slice) -> NDArray[np.float64]:
    """Return (rows, n_items) standard whims; the same ones in every month."""
    first, _, _ = rows.indices(len(listeners))
    rng = np.random.default_rng([listeners.seed, first, 4])
    n = len(range(*rows.indices(len(listeners))))
    return _WHIM * rng.standard_normal((n, len(music.item_ids)))


def _tastes(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (n, N_TASTES, n_axes) unit vectors between one or two scenes each."""
    centres = scene_centres()
    one, two = rng.integers(len(SCENES), size=(2, n, N_TASTES))
    mix = np.maximum(rng.random((n, N_TASTES, 1)), 0.5)
    towards = mix * centres[one] + (1 - mix) * centres[two]
    towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
    strayed = towards + rng.normal(0, _PERSONAL, (n, N_TASTES, len(AXES)))
    return np.asarray(strayed / np.linalg.norm(strayed, axis=-1, keepdims=True))
