"""Two versions side by side: stable shares, exposures, an honest report."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from recsys.bundle import Models
from recsys.data.eventstore import EventStore, Variant
from recsys.errors import BundleError, UsageError
from recsys.serving import experiment as trial
from recsys.serving.app import AppArgs, create_app


@pytest.fixture
def own(models: Models, tmp_path: Path) -> Models:
    shutil.copytree(models.folder.path, tmp_path / "models")
    return Models(tmp_path / "models")


def second_version(models: Models) -> str:
    """Commit the active version once more, with other weights."""
    source, writer = models.open(), models.write()
    config = json.loads(json.dumps(source.facts["config"]))
    config["ensemble"] |= {"collaborative": 0.0, "text": 0.0, "popularity": 1.0}
    writer.arrays, writer.facts = source.arrays, {**source.facts, "config": config}
    return writer.commit(activate=False)


def run(*arguments: str | Path) -> Any:
    command = [sys.executable, "-m", "recsys", "experiment", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def test_listeners_keep_their_variant_and_shares_are_kept() -> None:
    experiment = trial.Experiment("x", "v", 0.2, "")
    variants = [experiment.variant_of(f"user-{n}") for n in range(5000)]
    assert variants == [experiment.variant_of(f"user-{n}") for n in range(5000)]
    assert 0.18 < variants.count("treatment") / 5000 < 0.22
    other = trial.Experiment("y", "v", 0.2, "")
    both = sum(
        experiment.variant_of(f"user-{n}") == other.variant_of(f"user-{n}") == "treatment"
        for n in range(5000)
    )
    assert both < 5000 * 0.08, "experiments must draw their listeners independently"


def test_an_experiment_from_start_to_report(own: Models) -> None:
    rival, active = second_version(own), own.active()
    path = own.folder.path
    started = run(path, "start", "weights", rival, "--share", "0.5", "--json")
    assert started["experiment"]["version"] == rival
    seen: dict[str, set[str]] = {}
    with TestClient(create_app(AppArgs(require_keys=False, models=path))) as client:
        told = client.get("/v1/models").json()
        assert told["serving"] == active and told["experiment"]["name"] == "weights"
        experiment = trial.running(own.folder)
        assert experiment is not None
        users = [one["user_id"] for one in client.get("/v1/users?limit=12").json()["users"]]
        users = [user for user in users if user.isalnum()]
        for user in users:
            body = client.get(f"/v1/users/{user}/recommendations?k=5").json()
            variant = experiment.variant_of(user)
            assert body["version"] == (rival if variant == "treatment" else active)
            seen.setdefault(variant, set()).add(user)
            first = body["items"][0]["item_id"]
            event = {"user_id": user, "item_id": first, "kind": "stream", "organic": False}
            assert client.post("/v1/events", json=event).status_code == 202
    assert set(seen) == {"control", "treatment"}, "both variants must be drawn from a dozen"
    report = run(path, "report", "--json")
    for outcome in report["variants"]:
        n = len(seen[outcome["variant"]])
        assert (outcome["listeners"], outcome["exposures"]) == (n, 5 * n)
        assert outcome["plays"] == n and outcome["rate"] == pytest.approx(0.2)
        assert outcome["low"] <= 0.2 <= outcome["high"]
    assert report["treatment_minus_control"]["difference"] == pytest.approx(0)
    assert "plays per exposure" in run(path, "report")
    run(path, "stop")
    assert trial.running(own.folder) is None
    assert "no experiment runs" in run(path, "status")


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Listeners differ in how much they see and play: 95 % intervals must allow for it."""
    rng, covered, n_runs = np.random.default_rng(0), 0, 300
    for _ in range(n_runs):
        shown = rng.integers(5, 60, 200)
        taste = rng.beta(2, 18, 200)  # mean 0.1
        played = rng.binomial(shown, taste)
        counts = [
            Variant("control", f"u{n}", int(s), int(p))
            for n, (s, p) in enumerate(zip(shown, played, strict=True))
        ]
        (control, _), _ = trial.report(counts)
        covered += control.low <= 0.1 <= control.high
    assert 0.91 < covered / n_runs < 0.985


def test_too_little_is_said_to_be_too_little() -> None:
    outcomes, difference = trial.report([Variant("control", "u", 5, 1)])
    assert outcomes[0].rate == 0.2 and outcomes[0].low != outcomes[0].low
    assert outcomes[1].rate != outcomes[1].rate and difference[0] != difference[0]


def test_a_rival_that_cannot_be_loaded_leaves_everybody_served(own: Models, user: str) -> None:
    rival = second_version(own)
    trial.start(own, "broken", rival, 0.999)
    manifest = Path(own.folder.locate(f"versions/{rival}/manifest.json"))
    manifest.write_bytes(manifest.read_bytes()[:300])
    with TestClient(create_app(AppArgs(require_keys=False, models=own.folder.path))) as client:
        answer = client.get(f"/v1/users/{user}/recommendations")
        assert answer.status_code == 200 and answer.json()["version"] == own.active()
        assert rival in client.get("/v1/models").json()["problem"]


def test_meaningless_experiments_are_refused(own: Models) -> None:
    for name, version, share in (
        ("a/b", own.active(), 0.5),
        ("a", own.active(), 0.0),
        ("a", own.active(), 1.0),
    ):
        with pytest.raises(UsageError):
            trial.start(own, name, version, share)
    with pytest.raises(BundleError):
        trial.start(own, "a", "none", 0.5)
    own.folder.write("EXPERIMENT", b"[]")
    with pytest.raises(BundleError, match="recsys experiment MODELS stop"):
        trial.running(own.folder)


def test_exposures_survive_a_store_that_is_away(own: Models, tmp_path: Path) -> None:
    store = EventStore(f"sqlite:///{tmp_path}/e.db")
    exposures = trial.Exposures(store)
    experiment = trial.Experiment("x", "v", 0.5, "")
    exposures.add(experiment, "control", "u", "v", ["a", "b"])
    exposures.close()
    assert store.variants("x") == [Variant("control", "u", 2, 0)]
    store.close()
