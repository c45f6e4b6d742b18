from __future__ import annotations

NAME = "usersha1-artmbid-artname-plays.tsv"
A, B = "00000c289a1829a808ac09c00daf10bc3c4e223b", "00001411dc427966b17297bf4d69e7e193135d89"
MBID = "3bd73256-3905-4f3a-97e2-8b341527f805"
ROWS = [
    f"{A}\t{MBID}\tbetty blowtorch\t2137",
    f"{A}\t\tdie Ärzte\t1099",
    f"{B}\t\tdie Ärzte\t12",
    f"{B}\t{MBID}\tbetty blowtorch\t3",
]


def test_artists_are_known_by_mbid_or_by_name(bring, dataset, rejects):
    result = bring("lastfm-360k", "\n".join(ROWS) + "\n", name=NAME)
    assert result.rows == {"events": 4, "artists": 2, "items": 2}
    events = dataset.read("events", ["user_id", "item_id", "value", "at"]).to_pylist()
    assert events[1] == {"user_id": A, "item_id": "name:die Ärzte", "value": 1099, "at": None}
    artists = dataset.read("artists").to_pylist()
    assert artists == [
        {"artist_id": MBID, "name": "betty blowtorch", "mbid": MBID},
        {"artist_id": "name:die Ärzte", "name": "die Ärzte", "mbid": None},
    ]
    item = dataset.read("items").to_pylist()[0]
    assert (item["item_id"], item["kind"], item["artist_id"]) == (MBID, "artist", MBID)


def test_a_folder_with_the_file_and_rows_out_of_place(bring, dataset, rejects):
    bad = ["sep 20, 2008\t\tx\t1", f"{A}\t\t\t3", f"{A}\t\tsilence\t0"]
    result = bring("lastfm-360k", {NAME: "\n".join(ROWS * 20 + bad)}, name="folder")
    reasons = [r["reason"] for r in rejects(result)]
    assert [r.partition(":")[0] for r in reasons] == ["user_id", "item_id", "value"]
    assert dataset.count("items") == 2, "an artist of rejected rows only is none"
