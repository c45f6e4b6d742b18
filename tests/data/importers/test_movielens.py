from __future__ import annotations

from datetime import UTC, datetime

import pytest

from recsys.errors import InputError

FLAGS = "|".join(["0", "0", "0", "1", "1"] + ["0"] * 14)
LAYOUTS = {
    "100k": {
        "u.data": "196\t1\t3\t881250949\n186\t1\t5\t891717742\n",
        "u.item": f"1|Café Story (1995)|01-Jan-1995||http://us.imdb.com/M/t|{FLAGS}\n".encode(
            "latin-1"
        ),
    },
    "1m": {
        "ratings.dat": "196::1::3::881250949\n186::1::5::891717742\n",
        "movies.dat": "1::Café Story (1995)::Animation|Children's\n".encode("latin-1"),
    },
    "latest": {
        "ratings.csv": "userId,movieId,rating,timestamp\n"
        "196,1,3.0,881250949\n186,1,5.0,891717742\n",
        "movies.csv": 'movieId,title,genres\n1,"Café Story (1995)",Animation|Children\'s\n',
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_tables(bring, dataset, layout):
    result = bring("movielens", LAYOUTS[layout], name=layout)
    assert result.rows == {"items": 1, "events": 2} and result.rejected == 0
    (film,) = dataset.read("items").to_pylist()
    assert (film["item_id"], film["kind"], film["title"]) == ("1", "movie", "Café Story (1995)")
    assert film["released_at"] == datetime(1995, 1, 1, tzinfo=UTC)
    assert film["labels"] == ["Animation", "Children's"]
    events = dataset.read("events", ["user_id", "kind", "value", "at"]).to_pylist()
    assert events[0] == {
        "user_id": "196",
        "kind": "rating",
        "value": 3,
        "at": datetime(1997, 12, 4, 15, 55, 49, tzinfo=UTC),
    }


def test_films_without_genres_and_year(bring, dataset):
    films = 'movieId,title,genres\n7,"Untitled, the",(no genres listed)\n'
    bring("movielens", LAYOUTS["latest"] | {"movies.csv": films}, name="ml")
    (film,) = dataset.read("items").to_pylist()
    assert (film["title"], film["labels"], film["released_at"]) == ("Untitled, the", None, None)


def test_a_folder_of_something_else_is_named(bring):
    with pytest.raises(InputError, match=r"ratings\.csv and movies\.csv"):
        bring("movielens", {"ratings.csv": ""}, name="ml")
