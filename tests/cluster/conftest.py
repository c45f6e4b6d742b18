"""One private cluster for all tests of this folder."""

from __future__ import annotations

import pytest

from recsys.cluster import ray_session


@pytest.fixture(scope="package")
def cluster():
    with ray_session(num_cpus=8, object_store_bytes=100_000_000):
        yield
