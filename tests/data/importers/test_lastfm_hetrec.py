from __future__ import annotations

import os
from pathlib import Path

import pytest

from recsys.data.catalogue import read_catalogue
from recsys.data.events import read_events
from recsys.data.importers import import_source
from recsys.errors import InputError

PLAYS = "userID\tartistID\tweight\r\n2\t51\t13883\r\n2\t52\t11690\r\n3\t51\t7\r\n"
ARTISTS = 'id\tname\turl\tpictureURL\n51\tDuran "Duran"\thttp://x\thttp://y\n52\tAir\t\t\n'
TAGS = "tagID\ttagValue\r\n1\tpop\r\n2\tchanson fran\xe7aise\r\n".encode("latin-1")
TAGGED = "userID\tartistID\ttagID\tday\tmonth\tyear\r\n" + "".join(
    f"{user}\t{artist}\t{tag}\t1\t4\t2009\r\n"
    for user, artist, tag in [(77, 52, 2), (78, 52, 2), (77, 52, 1), (77, 99, 1)]
)
FILES = {"user_artists.dat": PLAYS, "artists.dat": ARTISTS}


def test_the_artist_is_the_item(bring, dataset):
    tags = {"tags.dat": TAGS, "user_taggedartists.dat": TAGGED}
    result = bring("lastfm-hetrec", FILES | tags, name="hetrec")
    assert result.rows == {"artists": 2, "items": 2, "events": 3}
    catalogue = read_catalogue(dataset)
    assert list(catalogue.items) == list(catalogue.artists) == ["51", "52"]
    assert list(catalogue.titles) == list(catalogue.artist_names) == ['Duran "Duran"', "Air"]
    assert catalogue.item_artist.tolist() == [0, 1] and list(catalogue.kinds) == ["artist"]
    assert list(catalogue.labels) == [[], ["chanson française", "pop"]]
    events = read_events(dataset, catalogue)
    assert events.value.tolist() == [13883, 11690, 7]
    # Nobody who merely gave tags is known.
    assert list(catalogue.users) == ["2", "3"]


def test_a_newer_copy_replaces_the_counts(bring, dataset):
    bring("lastfm-hetrec", FILES, name="hetrec")
    newer = "userID\tartistID\tweight\n2\t51\t13900\n"
    bring("lastfm-hetrec", FILES | {"user_artists.dat": newer}, name="hetrec")
    assert dataset.read("events")["value"].to_pylist() == [13900]
    assert dataset.count("artists") == 2


def test_what_is_absent_is_named(bring):
    with pytest.raises(InputError, match=r"no artists\.dat"):
        bring("lastfm-hetrec", {"user_artists.dat": PLAYS}, name="hetrec")
    with pytest.raises(InputError, match="no column 'weight'"):
        plays = {"user_artists.dat": PLAYS.replace("weight", "plays")}
        bring("lastfm-hetrec", FILES | plays, name="hetrec")


@pytest.mark.skipif("RECSYS_TEST_DATA" not in os.environ, reason="RECSYS_TEST_DATA is not set")
def test_the_real_files(dataset):
    data = Path(os.environ["RECSYS_TEST_DATA"])
    result = import_source("lastfm-hetrec", data / "hetrec-lastfm", dataset)
    assert result.rows == {"artists": 17_632, "items": 17_632, "events": 79_326}
    assert result.rejected == 0
    texts = import_source("documents", data / "artist-texts.jsonl", dataset)
    assert texts.rows == {"documents": 2_813} and texts.rejected == 0
    catalogue = read_catalogue(dataset)
    assert (catalogue.n_users, catalogue.n_items, catalogue.n_artists) == (1_892, 17_632, 17_632)
    assert import_source("lastfm-hetrec", data / "hetrec-lastfm", dataset).unchanged
