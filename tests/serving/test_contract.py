"""The whole OpenAPI document, tried by schemathesis with every check it has."""

from __future__ import annotations

import shutil
import warnings

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from recsys.bundle import Models
from recsys.serving.app import AppArgs, create_app
from recsys.serving.security import KeyRing

with warnings.catch_warnings():  # of its own dependencies
    warnings.simplefilter("ignore")
    schemathesis = pytest.importorskip("schemathesis", reason="install the dev extra")
    from schemathesis.specs.openapi.checks import positive_data_acceptance

EXAMPLES = 12


@pytest.fixture(scope="module")
def api(models: Models, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """The schema of an application with an admin key."""
    from starlette.testclient import TestClient

    folder = tmp_path_factory.mktemp("contract") / "models"
    shutil.copytree(models.folder.path, folder)
    key = KeyRing(Models(folder).folder).create("tester", ["admin"])
    app = create_app(AppArgs(models=str(folder)))
    with TestClient(app):  # keeps the application started
        schema = schemathesis.openapi.from_asgi("/openapi.json", app)
        schema.config.update(headers={"Authorization": f"Bearer {key}"})
        yield schema


def test_every_address_keeps_its_word(api) -> None:  # type: ignore[no-untyped-def]
    tried = 0
    for result in api.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def keeps_its_word(case) -> None:  # type: ignore[no-untyped-def]
            # What may be asked depends on the configuration and the version (the longest list, the
            # kinds of item), which no schema says: such a request gets a documented 422.
            answer = case.call_and_validate(excluded_checks=[positive_data_acceptance])
            assert answer.status_code < 500

        keeps_its_word()
        tried += 1
    assert tried >= 15
