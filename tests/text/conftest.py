"""A small dataset of artists, items and documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from recsys.data.dataset import Dataset
from recsys.data.tables import TABLES

Make = Callable[..., Dataset]


@pytest.fixture
def make_dataset(tmp_path: Path) -> Make:
    """Return a function that makes a dataset of the rows given per table."""

    def make(**tables: list[dict[str, Any]]) -> Dataset:
        dataset = Dataset(tmp_path / "dataset")
        with dataset.transaction() as transaction:
            for table, rows in tables.items():
                if rows:
                    names = [n for n in TABLES[table].schema.names if any(n in row for row in rows)]
                    schema = pa.schema([TABLES[table].schema.field(name) for name in names])
                    nullable = pa.schema([field.with_nullable(True) for field in schema])
                    batch = pa.RecordBatch.from_pylist(rows, nullable)
                    mark = f"{table} {len(dataset.parts)}"
                    transaction.append(table, [batch], source=mark, fingerprint=mark)
        return dataset

    return make
