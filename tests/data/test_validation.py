from __future__ import annotations

import pyarrow as pa
import pytest

from recsys.data.validation import check

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000


def judge(table, **columns):
    columns = {n: v if isinstance(v, list) else [v] for n, v in columns.items()}
    return check(table, pa.RecordBatch.from_pydict(columns), now_ms=NOW_MS)


def fault(**changes):
    columns = {"user_id": "u", "item_id": "i", "kind": "stream"} | changes
    return judge("events", **columns).reasons.get(0)


@pytest.mark.parametrize("value", ["0", "-3", "nan", "inf", "-inf", "1.1e9", "1e300", "many"])
def test_counts_that_cannot_be_are_refused(value):
    reason = fault(value=value)
    assert reason is not None and reason.startswith("value: ") and repr(value) in reason


@pytest.mark.parametrize("value", ["1", "0.5", "1e9", ""])
def test_other_counts_are_taken(value):
    assert fault(value=value) is None


@pytest.mark.parametrize(
    ("stars", "fine"), [("0", True), ("100", True), ("-1", False), ("101", False)]
)
def test_ratings_are_between_0_and_100_stars(stars, fine):
    assert (fault(value=stars, kind="rating") is None) is fine


def test_of_several_faults_the_first_is_told_and_good_rows_have_none():
    checked = judge(
        "events",
        user_id=["u", "bell\a", "u"],
        item_id=["i", "bell\a", "i"],
        kind=["stream", "nonsense", "save"],
    )
    assert list(checked.reasons) == [1] and checked.reasons[1].startswith("user_id: ")


@pytest.mark.parametrize(
    ("at", "rule"),
    [
        (631_152_000_000, None),
        (631_151_999_999, "1990"),
        ("1985-10-26", "1990"),
        (NOW_MS + DAY_MS, None),
        (NOW_MS + DAY_MS + 1, "future"),
        (NOW_MS * 1000, "future"),
        ("soon", "ISO 8601"),
    ],
)
def test_events_lie_between_1990_and_tomorrow(at, rule):
    reason = fault(at=at)
    assert reason is None if rule is None else rule in str(reason)


def test_works_may_be_older_and_yet_to_come():
    made = judge("items", item_id="i", released_at="1967", available_until="2999-01-01")
    assert made.good.all()


@pytest.mark.parametrize("id", ["a b", "a/b\\c", "🎵👩‍👩‍👧", "é" * 1024, "None", "0", " x "])
def test_ids_may_be_nearly_anything(id):
    made = judge("events", user_id=id, item_id=id, kind="save")
    assert made.rows.column("user_id").to_pylist() == [id]


@pytest.mark.parametrize(
    ("id", "rule"),
    [
        ("", "empty"),
        (None, "empty"),
        ("  ", "blank"),
        ("é" * 1025, "1,024 characters"),
        ("x" * 10_000, "10,000 characters"),
        ("a\tb", "control"),
        ("a\nb", "control"),
        ("\x00", "control"),
        ("a\x7f", "control"),
        ("\x85a", "control"),
    ],
)
def test_other_ids_are_refused(id, rule):
    assert rule in str(fault(user_id=id))


def test_ids_in_lists_are_checked():
    made = judge("collections", collection_id="c", item_ids=[["a", "b\n"]])
    assert "control" in made.reasons[0]


@pytest.mark.parametrize("kind", ["stream", "save", "playlist_add", "skip", "rating"])
def test_what_is_about_an_item_must_name_it(kind):
    assert "item_id" in str(fault(item_id=None, artist_id="a", kind=kind))


@pytest.mark.parametrize("kind", ["artist_visit", "follow"])
def test_what_is_about_an_artist_must_name_it(kind):
    assert "artist_id" in str(fault(kind=kind))
    assert fault(kind=kind, item_id=None, artist_id="a") is None


def test_unknown_kinds_and_negative_plays_are_refused():
    assert "stream, save" in str(fault(kind="hum"))
    assert "ms_played" in str(fault(ms_played=-1))


@pytest.mark.parametrize("private", ["true", "1", "YES", "perhaps", True, 1])
def test_what_is_not_clearly_public_is_private_and_gets_no_reason(private):
    made = judge("events", user_id="u", item_id="i", kind="hum", incognito_mode=private)
    assert made.private.all() and not made.good.any() and made.reasons == {}


@pytest.mark.parametrize("private", ["false", "", None, "0", False, 0])
def test_what_is_clearly_public_is_taken(private):
    assert judge("events", user_id="u", item_id="i", kind="save", private=private).good.all()


def test_unknown_durations_are_null_and_negative_ones_refused():
    made = judge("items", item_id=["a", "b", "c", "d"], duration_s=["0", "nan", "-1", "0.5"])
    assert made.rows.column("duration_s").to_pylist() == [None, None, 0.5]
    assert "duration_s" in made.reasons[2]


def test_a_required_column_that_is_absent_is_named():
    assert judge("artists", artist_id="a").reasons[0].startswith("name: ")
