from __future__ import annotations

import numpy as np
import pytest

from recsys.bundle import Models
from recsys.data.catalogue import NO_TIME, Catalogue, read_catalogue
from recsys.data.dataset import Dataset
from recsys.errors import NotFoundError

ITEMS = [
    {"item_id": "b", "kind": "track", "title": "Blue", "artist_id": "y", "duration_s": 200.0},
    {"item_id": "e", "kind": "episode", "title": "Über", "labels": ["talk", "new", "talk"]},
    {
        "item_id": "a",
        "kind": "track",
        "artist_id": "x",
        "released_at": 1_700_000_000_000,
        "explicit": True,
        "language": "de",
        "territories": ["HK", "DE"],
        "available_until": 1_800_000_000_000,
    },
]


@pytest.fixture
def dataset(write) -> Dataset:
    return write(
        items=ITEMS,
        artists=[{"artist_id": "y", "name": "Yes"}],
        events=[
            {"user_id": "u2", "item_id": "unlisted", "kind": "stream", "value": 1.0},
            {"user_id": "u1", "item_id": "a", "kind": "save", "value": 1.0},
            {"user_id": "u1", "artist_id": "w", "kind": "follow", "value": 1.0},
        ],
        documents=[{"doc_id": "d", "text": "of z", "artist_ids": ["z", "y"]}],
    )


def check(catalogue: Catalogue) -> None:
    assert list(catalogue.users) == ["u1", "u2"]
    assert list(catalogue.items) == ["a", "b", "e", "unlisted"]
    assert list(catalogue.artists) == ["w", "x", "y", "z"]
    assert catalogue.item_artist.tolist() == [1, 2, -1, -1]
    assert list(catalogue.titles) == [None, "Blue", "Über", None]
    assert list(catalogue.artist_names) == [None, None, "Yes", None]
    assert (catalogue.title(0), catalogue.title(1)) == ("a", "Blue")
    assert catalogue.artist_name(3) == "z"
    assert catalogue.of_kind("episode").tolist() == [False, False, True, False]
    assert catalogue.released_at.tolist() == [1_700_000_000_000, NO_TIME, NO_TIME, NO_TIME]
    assert catalogue.available_until[0] == 1_800_000_000_000
    np.testing.assert_array_equal(catalogue.duration_s, [np.nan, 200, np.nan, np.nan])
    assert catalogue.explicit.tolist() == [1, -1, -1, -1]
    assert list(catalogue.languages) == ["de", None, None, None]
    assert list(catalogue.territories) == [["HK", "DE"], [], [], []]
    assert list(catalogue.labels) == [[], [], ["talk", "new", "talk"], []]
    assert catalogue.labels.matrix().toarray().tolist() == [[0, 0], [0, 0], [1, 1], [0, 0]]


def test_ids_come_from_every_table_and_metadata_is_aligned(dataset):
    check(read_catalogue(dataset))


def test_a_bundle_gives_the_same_catalogue_back(dataset, tmp_path):
    models = Models(tmp_path / "models")
    writer = models.write()
    read_catalogue(dataset).write(writer)
    writer.commit()
    check(Catalogue.read(models.open()))


def test_an_unknown_kind_names_the_nearest(dataset):
    with pytest.raises(NotFoundError, match="'episode'"):
        read_catalogue(dataset).of_kind("episodes")


def test_an_empty_dataset_gives_an_empty_catalogue(tmp_path):
    catalogue = read_catalogue(Dataset(tmp_path))
    assert (catalogue.n_users, catalogue.n_items, catalogue.n_artists) == (0, 0, 0)
    assert len(catalogue.recording) == len(catalogue.titles) == len(catalogue.labels) == 0
