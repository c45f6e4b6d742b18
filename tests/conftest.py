"""Order of the tests: quick ones first, then those that start Ray, a server, or the whole way."""

from __future__ import annotations

import pytest

_LAST = (
    "tests/test_docs.py",
    "tests/serving/test_server.py",
    "tests/test_whole_way.py",
    "tests/cluster/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the slow files behind all others, in the order of `_LAST`."""

    def lateness(item: pytest.Item) -> int:
        places = (n for n, name in enumerate(_LAST, start=1) if item.nodeid.startswith(name))
        return next(places, 0)

    items.sort(key=lateness)
