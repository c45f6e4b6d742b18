from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.config import SlicesConfig
from recsys.data.events import NO_TIME, Events
from recsys.data.slices import split
from recsys.errors import ConfigError


def log(users, items, at):
    n = len(users)
    at = np.array(at, np.int64)
    order = np.argsort(at, kind="stable")
    return Events(
        user=np.array(users, np.int32)[order],
        item=np.array(items, np.int32)[order],
        artist=np.full(n, -1, np.int32),
        kind=np.zeros(n, np.int8),
        value=np.ones(n, np.float32),
        at=at[order],
        ms_played=np.full(n, -1, np.int32),
        organic=np.ones(n, bool),
    )


def parts(events, **options):
    made = split(events, SlicesConfig(**options))
    slices = [made.base, made.tune, made.blend, made.test]
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in slices)
    assert sorted(np.concatenate(slices).tolist()) == list(range(len(events)))
    return slices


def test_by_time_every_slice_lies_after_the_one_before():
    events = log(np.arange(100) % 7, np.arange(100) % 11, np.arange(100) * 10)
    base, tune, blend, test = parts(events, tune=0.1, blend=0.2, test=0.05)
    assert [len(part) for part in (base, tune, blend, test)] == [65, 10, 20, 5]
    assert np.concatenate([base, tune, blend, test]).tolist() == list(range(100))


def test_events_of_one_moment_stay_together():
    events = log([0] * 10, range(10), [1, 2, 3, 4, 5, 6, 6, 6, 6, 6])
    base, tune, blend, test = parts(events, tune=0.1, blend=0.1, test=0.1)
    assert (len(base), len(tune), len(blend), len(test)) == (5, 0, 0, 5)


def test_an_untimed_event_goes_with_its_pair():
    events = log([0] * 10 + [0, 0], [*range(10), 9, 77], [*range(10), NO_TIME, NO_TIME])
    *_, test = parts(events)
    base = parts(events)[0]
    untimed = {int(events.item[row]): row for row in range(2)}
    assert untimed[9] in test and untimed[77] in base


@pytest.mark.parametrize("at", [NO_TIME, 1_700_000_000_000])
def test_without_times_each_users_items_are_cut_in_fixed_shares(at):
    users, items = np.divmod(np.arange(50 * 40), 40)
    events = log(users, items, [at] * 2000)
    slices = parts(events, tune=0.1, blend=0.1, test=0.2)
    for part, share in zip(slices, (0.6, 0.1, 0.1, 0.2)):
        per_user = np.bincount(events.user[part], minlength=50)
        assert (np.abs(per_user - 40 * share) <= 1).all()


def test_the_seed_decides_the_split():
    events = log([0] * 40, range(40), [NO_TIME] * 40)
    again, other = (parts(events, seed=seed)[3].tolist() for seed in (0, 1))
    assert again == parts(events)[3].tolist() != other


LOGS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=60)


@given(pairs=LOGS, seed=st.integers(0, 9))
def test_without_times_no_pair_is_in_two_slices_and_every_user_is_in_base(pairs, seed):
    users, items = [p[0] for p in pairs], [p[1] for p in pairs]
    events = log(users, items, [NO_TIME] * len(pairs))
    slices = parts(events, seed=seed)
    seen = [set(zip(events.user[part].tolist(), events.item[part].tolist())) for part in slices]
    assert sum(map(len, seen)) == len(set(pairs))
    assert {user for user, _ in seen[0]} == set(users)


def test_a_slice_of_no_share_is_empty():
    timed = log([0] * 50, range(50), range(50))
    untimed = log([0] * 50, range(50), [NO_TIME] * 50)
    for events in (timed, untimed):
        _, tune, blend, test = parts(events, tune=0.2, blend=0.0, test=0.0)
        assert len(tune) == 10 and len(blend) == len(test) == 0


@pytest.mark.parametrize("options", [{"tune": -0.1}, {"tune": 0.5, "blend": 0.4, "test": 0.1}])
def test_shares_that_leave_no_base_are_refused(options):
    with pytest.raises(ConfigError, match="base"):
        parts(log([0], [0], [0]), **options)
