from __future__ import annotations

U = "b80344d063b5ccb3212f76538f3d9e43d87dca9e"
TRIPLETS = f"{U}\tSOAKIMP12A8C130995\t1\n{U}\tSOBBMDR12A8C13253B\t2\n"
TRACKS = "".join(
    f"{track}<SEP>{song}<SEP>{artist}<SEP>{title}\n"
    for track, song, artist, title in [
        ("TRMMMYQ128F932D901", "SOBBMDR12A8C13253B", "Paco De Lucia", "Entre Dos Aguas"),
        ("TRMMMYQ128F932D902", "SOBBMDR12A8C13253B", "Someone Else", "The same song again"),
        ("TRMMMYQ128F932D903", "SOUNHEARD", "Nobody", "Never played"),
    ]
)


def test_triplets_alone(bring, dataset):
    result = bring("taste-profile", TRIPLETS, name="train_triplets.txt")
    assert result.rows == {"events": 2}
    rows = dataset.read("events", ["user_id", "item_id", "kind", "value"]).to_pylist()
    assert rows[1] == {
        "user_id": U,
        "item_id": "SOBBMDR12A8C13253B",
        "kind": "stream",
        "value": 2,
    }


def test_streamed_songs_get_title_and_artist(bring, dataset):
    files = {"train_triplets.txt": TRIPLETS, "unique_tracks.txt": TRACKS}
    result = bring("taste-profile", files, name="taste")
    assert result.rows == {"events": 2, "items": 1, "artists": 1}
    (item,) = dataset.read("items", ["item_id", "title", "artist_id"]).to_pylist()
    assert item == {
        "item_id": "SOBBMDR12A8C13253B",
        "title": "Entre Dos Aguas",
        "artist_id": "name:Paco De Lucia",
    }
    assert dataset.read("artists")["name"].to_pylist() == ["Paco De Lucia"]
