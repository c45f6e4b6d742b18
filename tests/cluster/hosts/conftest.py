"""Three hosts for all tests of this folder; where there can be none, the tests skip, saying why."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.hosts.machines import Operator, missing, three_hosts


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip where there can be no hosts."""
    if (reason := missing()) is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def operator(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Boot three hosts; switch them off at the end."""
    with three_hosts(tmp_path_factory.mktemp("hosts")) as operator:
        yield operator
