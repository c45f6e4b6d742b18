from __future__ import annotations

import io
import json
import tarfile

import pyarrow as pa
import pytest

from recsys.errors import InputError

MSID, MBID, ARTIST = "8c9bd0ee-5de9", "b9ad642e-b012", "650e7db6-b795"


def listen(n=0, **changes):
    return {
        "user_id": 5746,
        "user_name": "some one",
        "timestamp": 1_104_566_400 + n,
        "track_metadata": {
            "track_name": "Lucky",
            "artist_name": "Radiohead",
            "release_name": "OK Computer",
            "additional_info": {"recording_msid": MSID, "duration_ms": 259_000, "tags": []},
        },
        "recording_msid": MSID,
    } | changes


def mapped(n=0):
    one = listen(n)
    one["track_metadata"]["mbid_mapping"] = {"recording_mbid": MBID, "artist_mbids": [ARTIST]}
    one["track_metadata"]["additional_info"]["duration_played"] = 100
    return one


def lines(*listens):
    return "".join(json.dumps(one) + "\n" for one in listens).encode()


def archive(members, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if isinstance(content, tarfile.TarInfo) else content
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zst(content):
    return pa.compress(content, codec="zstd", asbytes=True)


def test_a_listen_becomes_a_stream(bring, dataset):
    result = bring("listenbrainz", lines(listen(), mapped(1)), name="1.listens")
    assert result.rows == {"events": 2, "items": 2, "artists": 2}
    plain, known = dataset.read("events").to_pylist()
    assert (plain["user_id"], plain["item_id"]) == ("5746", f"msid:{MSID}")
    assert (plain["artist_id"], plain["at"].year) == ("name:Radiohead", 2005)
    assert (known["item_id"], known["artist_id"], known["ms_played"]) == (MBID, ARTIST, 100_000)
    item = dataset.read("items").to_pylist()[1]
    assert (item["title"], item["album"], item["mbid"]) == ("Lucky", "OK Computer", MBID)
    assert item["duration_s"] == pytest.approx(259)
    assert {row["name"] for row in dataset.read("artists").to_pylist()} == {"Radiohead"}


def test_overlapping_dumps_count_a_listen_once(bring, dataset):
    bring("listenbrainz", lines(listen(0), listen(1)), name="full.listens")
    bring("listenbrainz", lines(listen(1), listen(2)), name="incremental.listens")
    assert dataset.read("events").num_rows == 3


DUMP = {
    "dump-1-full/TIMESTAMP": b"2024-01-01",
    "dump-1-full/listens/2005/1.listens": lines(listen(0), listen(1)),
    "dump-1-full/listens/2005/2.listens": lines(listen(2)),
    "dump-1-full/listens/2005/3.listens": b"",
}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dump.tar", archive(DUMP)),
        ("dump.tar.gz", archive(DUMP, "w:gz")),
        ("dump.tar.xz", archive(DUMP, "w:xz")),
        ("dump.tar.zst", zst(archive(DUMP))),
        ("1.listens.zst", zst(lines(listen(0), listen(1), listen(2)))),
    ],
)
def test_dumps_in_archives(bring, dataset, name, content):
    assert bring("listenbrainz", content, name=name).rows["events"] == 3


def link(target):
    info = tarfile.TarInfo("dump/listens/4.listens")
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


@pytest.mark.parametrize(
    "member",
    [
        {"../../etc/1.listens": b""},
        {"/etc/1.listens": b""},
        {"dump\\..\\..\\1.listens": b""},
        {"C:\\1.listens": b""},
        {"a": link("/etc/passwd")},
    ],
)
def test_an_archive_with_a_hostile_member_is_refused_whole(bring, dataset, member):
    with pytest.raises(InputError, match="points outside"):
        bring("listenbrainz", archive(DUMP | member), name="dump.tar")
    assert dataset.parts == []


def test_a_cut_archive_is_refused(bring, dataset):
    content = archive(DUMP)
    for name, cut in (("dump.tar", content[:1200]), ("dump.tar.zst", zst(content)[:-10])):
        with pytest.raises(InputError, match=r"dump\.tar"):
            bring("listenbrainz", cut, name=name)
    assert dataset.parts == []


def test_listens_that_say_too_little_are_set_aside(bring, rejects):
    bad = [
        {"user_id": 1, "timestamp": 1_104_566_400},
        listen(user_id=None, user_name=None),
        listen(timestamp=12),
        listen(timestamp="x" * 9),
    ]
    result = bring("listenbrainz", lines(*map(listen, range(99)), *bad), name="1.listens")
    reasons = [(r["row"], r["reason"].partition(":")[0]) for r in rejects(result)]
    assert sorted(reasons) == [
        ("1.listens:100", "want track_metadata with track_name and artist_name"),
        ("1.listens:101", "user_id"),
        ("1.listens:102", "at"),
    ]
