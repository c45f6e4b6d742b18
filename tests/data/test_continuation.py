"""A continued row is the row that counting everything from the start gives."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.config import InteractionsConfig
from recsys.data.catalogue import NO_TIME, Catalogue
from recsys.data.continuation import continued, only
from recsys.data.events import Events, kind_code
from recsys.data.identity import Ids
from recsys.data.interactions import build_interactions
from recsys.data.tables import EVENT_KINDS

DAY_MS = 86_400_000
N_USERS, N_ITEMS, N_ARTISTS = 4, 7, 3


def catalogue() -> Catalogue:
    """Items 0 and 6 are one recording; item 5 has no artist."""
    made = {field.name: None for field in fields(Catalogue)}
    made |= {
        "users": Ids.from_strings([f"u{n}" for n in range(N_USERS)], kind="user"),
        "items": Ids.from_strings([f"i{n}" for n in range(N_ITEMS)], kind="item"),
        "artists": Ids.from_strings([f"a{n}" for n in range(N_ARTISTS)], kind="artist"),
        "item_artist": np.array([0, 0, 1, 1, 2, -1, 0], np.int32),
        "recording": np.array([0, 1, 2, 3, 4, 5, 0], np.int32),
        "duration_s": np.array([100, 100, np.nan, 50, 100, 100, 100], np.float32),
    }
    return Catalogue(**made)  # type: ignore[arg-type]


@st.composite
def logs(draw: st.DrawFn) -> list[dict[str, int | float | bool]]:
    one = st.fixed_dictionaries(
        {
            "user": st.integers(0, N_USERS - 1),
            "item": st.integers(-1, N_ITEMS - 1),
            "artist": st.integers(-1, N_ARTISTS - 1),
            "kind": st.integers(0, len(EVENT_KINDS) - 1),
            "value": st.sampled_from([1.0, 2.0, 5.0]),
            "ms_played": st.sampled_from([-1, 0, 30_000, 500_000]),
            "organic": st.booleans(),
            "at": st.sampled_from([NO_TIME, 0, DAY_MS, 9 * DAY_MS]),
        }
    )
    return sorted(draw(st.lists(one, max_size=25)), key=lambda event: event["at"])


def as_events(rows: list[dict[str, int | float | bool]]) -> Events:
    types = {
        "user": np.int32,
        "item": np.int32,
        "artist": np.int32,
        "kind": np.int8,
        "value": np.float32,
        "at": np.int64,
        "ms_played": np.int32,
        "organic": bool,
    }
    return Events(**{n: np.array([r[n] for r in rows], t) for n, t in types.items()})  # type: ignore[arg-type]


@pytest.mark.parametrize("transform", ["linear", "log", "bm25"])
@pytest.mark.parametrize("half_life_days", [0.0, 3.0])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=logs(), after=logs())
def test_a_continued_row_is_that_of_all_events(
    transform: str, half_life_days: float, before: list[dict], after: list[dict]
) -> None:
    config = InteractionsConfig(
        transform=transform, half_life_days=half_life_days, recommended=0.5, bm25_k1=5.0
    )
    known, user = catalogue(), 1
    former = build_interactions(as_events(before), known, config)
    # Only the one listener goes on, at times after all others; times stay in order.
    later = [{**e, "user": 0, "at": 10 * DAY_MS + n} for n, e in enumerate(after)]
    got = continued(former, user, as_events(later), known, config)

    everything = as_events([*before, *({**event, "user": user} for event in later)])
    now_ms = int(former.counted_at[0])
    wanted = only(build_interactions(everything, known, config, now_ms=now_ms), user)
    dense = {n: getattr(wanted, n).toarray() for n in ("plays", "ratings", "heard", "follows")}
    for name, matrix in dense.items():
        np.testing.assert_allclose(getattr(got, name).toarray(), matrix, rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(got.streamed, wanted.streamed, rtol=1e-5)
    np.testing.assert_array_equal(got.last_played, wanted.last_played)
    # BM25's mean listener is the version's: with it given, the evidence is the same.
    if transform != "bm25":
        np.testing.assert_allclose(
            got.evidence.toarray(), wanted.evidence.toarray(), rtol=1e-4, atol=2e-6
        )


def test_bm25_compares_with_the_mean_listener_of_the_version() -> None:
    config, known = InteractionsConfig(transform="bm25", bm25_k1=5.0), catalogue()
    stream = {"item": 2, "artist": -1, "kind": kind_code("stream"), "value": 4.0,
              "ms_played": -1, "organic": True, "at": 5}  # fmt: skip
    former = build_interactions(
        as_events([{**stream, "user": user} for user in range(N_USERS)]), known, config
    )
    got = continued(former, 1, as_events([{**stream, "user": 0, "item": 3}]), known, config)
    relative = 8.0 / 4.0
    per_item = 4.0 * 6.0 / (4.0 + 5.0 * (1 - 0.8 + 0.8 * relative))
    np.testing.assert_allclose(got.evidence.toarray()[0, [2, 3]], per_item, rtol=1e-6)


def test_nothing_new_is_the_row_as_it_was() -> None:
    known, config = catalogue(), InteractionsConfig()
    former = build_interactions(as_events([]), known, config)
    none = as_events([])
    assert continued(former, -1, none, known, config).evidence.nnz == 0
    assert replace(former, plays=former.plays[:1]).plays.shape == only(former, 0).plays.shape
