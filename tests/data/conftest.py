"""Small datasets written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from recsys.data.catalogue import Catalogue, read_catalogue
from recsys.data.dataset import Dataset
from recsys.data.events import Events, read_events
from recsys.data.tables import TABLES

Rows = list[dict[str, Any]]


def put(dataset: Dataset, *, source: str = "test", **tables: Rows) -> None:
    """Append rows given as dictionaries, each call as one import."""
    with dataset.transaction() as transaction:
        for name, rows in tables.items():
            schema = TABLES[name].schema
            columns = {f.name: [row.get(f.name) for row in rows] for f in schema}
            table = pa.table({f.name: pa.array(columns[f.name], f.type) for f in schema})
            transaction.append(name, [table], source=source, fingerprint=f"{source}{rows}")


@pytest.fixture
def append() -> Callable[..., None]:
    """Add rows per table to a dataset, each call as one import."""
    return put


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Dataset]:
    """Make a dataset of rows per table."""

    def make(**tables: Rows) -> Dataset:
        dataset = Dataset(tmp_path / "dataset")
        put(dataset, **tables)
        return dataset

    return make


@pytest.fixture
def load(write: Callable[..., Dataset]) -> Callable[..., tuple[Catalogue, Events]]:
    """Make a dataset of rows per table and read it back."""

    def make(**tables: Rows) -> tuple[Catalogue, Events]:
        dataset = write(**tables)
        catalogue = read_catalogue(dataset)
        return catalogue, read_events(dataset, catalogue)

    return make
