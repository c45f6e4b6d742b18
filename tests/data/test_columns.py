from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.columns import parse

TIME = pa.timestamp("ms", tz="UTC")
STRINGS = pa.list_(pa.string())


def read(values, type):
    found, wrong = parse(values, type)
    assert found.type == type and len(found) == len(wrong) == len(values)
    return found.to_pylist(), wrong.tolist()


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-02-29", utc(2020, 2, 29)),
        ("2020-02-29T23:59:58Z", utc(2020, 2, 29, 23, 59, 58)),
        ("2020-02-29 23:59", utc(2020, 2, 29, 23, 59)),
        ("2020-02-29T01:00:00+02:00", utc(2020, 2, 28, 23)),
        ("2020-02-29t01:00:00-0130", utc(2020, 2, 29, 2, 30)),
        ("2020-02-29 01:02:03.456789", utc(2020, 2, 29, 1, 2, 3, 456_000)),
        ("2020-02-29 01:02:03,5 UTC", utc(2020, 2, 29, 1, 2, 3, 500_000)),
        (" 1967 ", utc(1967, 1, 1)),
        ("1967-03", utc(1967, 3, 1)),
        ("1600000000", utc(2020, 9, 13, 12, 26, 40)),
        ("1600000000.25", utc(2020, 9, 13, 12, 26, 40, 250_000)),
        ("1600000000250", utc(2020, 9, 13, 12, 26, 40, 250_000)),
        ("-86400", utc(1969, 12, 31)),
        ("", None),
        (None, None),
    ],
)
def test_times_are_iso_or_epoch_seconds_or_milliseconds(text, expected):
    assert read(pa.array([text], pa.string()), TIME) == ([expected], [False])


@pytest.mark.parametrize(
    "text", ["yesterday", "2020-13-01", "2021-02-29", "1e9", "01/02/2020", "9" * 400, "2020-1-1"]
)
def test_other_times_are_unreadable_one_by_one(text):
    values = pa.array([text, "2020-01-01", "1600000000"])
    assert read(values, TIME)[1] == [True, False, False]
    assert read(values, TIME)[0][1:] == [utc(2020, 1, 1), utc(2020, 9, 13, 12, 26, 40)]


def test_typed_times_keep_their_moment():
    east = timezone(timedelta(hours=8))
    moment = datetime(2020, 1, 1, 8, tzinfo=east)
    for values in (
        pa.array([moment], pa.timestamp("us", tz="Asia/Hong_Kong")),
        pa.array([datetime(2020, 1, 1)], pa.timestamp("ns")),
        pa.array([date(2020, 1, 1)]),
        pa.array([1_577_836_800]),
        pa.array([1_577_836_800_000.0]),
        pa.array([2020], pa.int16()),
        pa.array(["2020"]).dictionary_encode(),
    ):
        assert read(values, TIME) == ([utc(2020, 1, 1)], [False]), values.type


@given(st.datetimes(datetime(1000, 1, 1), datetime(9000, 1, 1)))
def test_every_iso_time_is_read(moment):
    expected = moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
    assert read(pa.array([moment.isoformat()]), TIME) == ([expected], [False])


def test_numbers():
    values = pa.array(["1", " -2.5 ", "1e3", "+.5", "", None, "1,5", "0x1", "1_0", "one"])
    assert read(values, pa.float64()) == (
        [1, -2.5, 1000, 0.5, None, None, None, None, None, None],
        [False] * 6 + [True] * 4,
    )
    found, _ = read(pa.array(["NaN", "-inf", "Infinity"]), pa.float64())
    assert found[0] != found[0] and found[1:] == [float("-inf"), float("inf")]
    assert read(pa.array([Decimal("1.5")]), pa.float64()) == ([1.5], [False])
    assert read(pa.array([[1.5]]), pa.float64()) == ([None], [True])


def test_whole_numbers_are_rounded_and_bounded():
    values = pa.array(["1.6", "nan", "1e300", "", "-7"])
    assert read(values, pa.int64()) == (
        [2, None, None, None, -7],
        [False, True, True, False, False],
    )


def test_flags():
    values = pa.array(["TRUE", "f", "yes", "0", "1.0", "", None, "perhaps"])
    expected = [True, False, True, False, True, None, None, None]
    assert read(values, pa.bool_()) == (expected, [False] * 7 + [True])
    assert read(pa.array([1, 0, 7, None]), pa.bool_()) == (
        [True, False, None, None],
        [False, False, True, False],
    )


def test_texts():
    assert read(pa.array([12, None]), pa.string()) == (["12", None], [False, False])
    # pandas makes floats of whole numbers with gaps
    assert read(pa.array([12.0, None]), pa.string()) == (["12", None], [False, False])
    assert read(pa.array([1.5, 2.0]), pa.string()) == (["1.5", "2"], [False, False])
    assert read(pa.array([b"ok", b"\xff", None]), pa.string()) == (
        ["ok", None, None],
        [False, True, False],
    )
    assert read(pa.array([["a"], None]), pa.string()) == ([None, None], [True, False])


def test_lists():
    values = pa.array(["a|b c", '["x", "y|z", 3]', "[1", "[{}]", "", None])
    assert read(values, STRINGS) == (
        [["a", "b c"], ["x", "y|z", "3"], None, None, None, None],
        [False, False, True, True, False, False],
    )
    assert read(pa.array([["a"], None], pa.large_list(pa.string())), STRINGS) == (
        [["a"], None],
        [False, False],
    )
    assert read(pa.array([[1]]), STRINGS) == ([None], [True])
