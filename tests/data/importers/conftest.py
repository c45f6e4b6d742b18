"""Import small files written out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys.data.dataset import Dataset
from recsys.data.importers import ImportResult, import_source

NOW_MS = 1_700_000_000_000


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path / "dataset")


@pytest.fixture
def bring(tmp_path: Path, dataset: Dataset) -> Callable[..., ImportResult]:
    """Write one file, or a folder of files, and import it."""

    def make(format: str, content: bytes | str | dict[str, Any], name: str = "log.csv") -> Any:
        source = tmp_path / name
        if isinstance(content, dict):
            source.mkdir(exist_ok=True)
            for inner, text in content.items():
                (source / inner).write_bytes(text.encode() if isinstance(text, str) else text)
        else:
            source.write_bytes(content.encode() if isinstance(content, str) else content)
        return import_source(format, source, dataset, now_ms=NOW_MS)

    return make


@pytest.fixture
def rejects() -> Callable[[ImportResult], list[dict[str, Any]]]:
    """Read the rows that an import set aside."""

    def read(result: ImportResult) -> list[dict[str, Any]]:
        assert result.rejects_file is not None
        lines = Path(result.rejects_file).read_text(encoding="utf-8").splitlines()
        assert len(lines) == result.rejected
        return [json.loads(line) for line in lines]

    return read
