"""The search: what it writes, that it goes on after a kill, what it refuses."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys.backend import LocalBackend
from recsys.cluster import ray_session
from recsys.cluster.searched import read_space
from recsys.cluster.trials import Task, Trial, configured
from recsys.cluster.tune import _task, tune
from recsys.cluster.tune_report import Tried, importances, pareto, report
from recsys.collaborative.als import alternate, gather
from recsys.config import CollaborativeConfig, Config, TuneConfig, load_config
from recsys.data.dataset import Dataset
from recsys.errors import ConfigError, InputError, UsageError
from recsys.evaluation.metrics import ranking_metrics
from recsys.pipeline import read_source

SPACE = (
    "collaborative.regularization log 0.1 300",
    "collaborative.factors of 2 3",
    "interactions.save even 0.0 4.0",
    "ensemble.text even 0.0 1.0",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """40 listeners of two scenes, 30 items each; a listener plays half of a scene."""
    rng = np.random.default_rng(0)
    users, items = [], []
    for user in range(40):
        for item in rng.permutation(30)[:15] + 30 * (user % 2):
            users.append(f"u{user}")
            items.append(f"i{item:02}")
    table = pa.table({"user_id": users, "item_id": items, "kind": ["stream"] * len(users)})
    dataset = Dataset(tmp_path_factory.mktemp("dataset"))
    with dataset.transaction() as transaction:
        transaction.append("events", [table], source="test", fingerprint="1")
    return dataset


def config(**changes):
    return Config(
        collaborative=CollaborativeConfig(factors=2, iterations=3, regularization=1.0),
        tune=TuneConfig(**{"space": SPACE[:2], "grace": 1, "reduction": 2.0} | changes),
    )


def test_what_a_search_leaves(dataset, tmp_path, capfd):
    out = tmp_path / "out"
    with ray_session(num_cpus=2, object_store_bytes=100_000_000):
        best = tune(dataset, config(space=SPACE), out, trials=6)
        with pytest.raises(UsageError, match="holds a search; go on with --resume"):
            tune(dataset, config(), out, trials=1)
    assert best == out / "best.toml"
    assert capfd.readouterr().out == ""
    with (out / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    worth = [float(row["worth"]) for row in rows]
    assert len(rows) == 6 and worth == sorted(worth, reverse=True)
    assert float(rows[0]["ndcg@10"]) > 0.1
    assert any(int(row["stopped"]) and int(row["sweeps"]) < 3 for row in rows)
    chosen = load_config(best)
    assert chosen.collaborative.iterations == int(rows[0]["iterations"])
    for path in (line.split()[0] for line in SPACE):
        stage, key = path.split(".")
        assert float(rows[0][path]) == pytest.approx(getattr(getattr(chosen, stage), key))
    given = {(float(row["collaborative.regularization"]), row["interactions.save"]) for row in rows}
    assert (1.0, "3.0") in given
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 4 and "http" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "").replace("https://matplotlib.org", "")
    assert list((out / "trials").glob("*/events.out.tfevents.*"))


def test_a_killed_search_goes_on(dataset, tmp_path):
    """Kill it with all its processes once two trials have ended, then resume."""
    out, trials = tmp_path / "out", 5
    command = [
        sys.executable, "-m", "recsys", "tune", dataset.folder.path, out, "--trials", str(trials),
        "--set", "collaborative.factors=2", "--set", "collaborative.iterations=3",
        "--set", "tune.space=['collaborative.regularization log 0.1 300']",
    ]  # fmt: skip
    environment = os.environ | {"TUNE_GLOBAL_CHECKPOINT_S": "0"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    killed = subprocess.Popen(command, env=environment, start_new_session=True, **quiet)

    def ended():
        files = out.glob("trials/*/result.json")
        return {file.parent.name for file in files if '"training_iteration": 3' in file.read_text()}

    try:
        deadline = time.monotonic() + 300
        while len(before := ended()) < 2 and killed.poll() is None:
            assert time.monotonic() < deadline, "no trial ended within 300 s"
            time.sleep(0.05)
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    assert not (out / "best.toml").exists()
    done = subprocess.run([*command, "--resume"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert str(out / "best.toml") in done.stdout
    with (out / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == trials and all(int(row["sweeps"]) <= 3 for row in rows)
    assert before <= ended() and len(list(out.glob("trials/*/result.json"))) == trials


@pytest.fixture
def task(dataset) -> Task:
    settings = config()
    return _task(read_source(dataset), settings, read_space(settings))


def begun(task: Task, setting: dict[str, float]) -> Trial:
    """Return a trial in this process, made as Tune makes one."""

    class Here(Trial):
        def setup(self, config):
            super().setup(config, task=task)

    return Here(setting)


@pytest.mark.parametrize("gone", [False, True])
def test_a_trial_whose_checkpoint_is_gone_trains_anew(task, tmp_path, gone):
    """Tune drops an older checkpoint before it writes down the newer one's name."""
    setting = {"collaborative.regularization": 2.0, "collaborative.factors": 3}
    first, second = begun(task, setting), begun(task, setting)
    first.train()
    saved = first.save(str(tmp_path / "saved"))
    if gone:
        (tmp_path / "saved").rename(tmp_path / "elsewhere")
    second.restore(saved)
    assert second.train()["training_iteration"] == (1 if gone else 2)


def test_a_trial_that_is_taken_up_goes_on_as_if_nothing_was(task, tmp_path):
    """Without over-relaxation a resumed training is the same one."""
    steady = replace(task.config.collaborative, relaxation=1.0)
    task = replace(task, config=replace(task.config, collaborative=steady))
    setting = {"collaborative.regularization": 2.0, "collaborative.factors": 3}
    whole, first, second = (begun(task, setting) for _ in range(3))
    results = [whole.step() for _ in range(3)]
    first.step()
    first.save_checkpoint(str(tmp_path))
    second.load_checkpoint(str(tmp_path))
    assert second.step()["work"] == results[1]["work"]
    last = second.step()
    assert last["done"] and not results[1]["done"]
    assert last["ndcg@10"] == pytest.approx(results[2]["ndcg@10"], abs=0.02)
    np.testing.assert_allclose(
        second._factors().item_factors @ second._factors().user_factors.T,
        whole._factors().item_factors @ whole._factors().user_factors.T,
        atol=0.01,
    )


def test_an_actor_takes_the_next_trial(task):
    used = begun(task, {"collaborative.factors": 2, "collaborative.regularization": 9.0})
    used.step()
    following = {"collaborative.factors": 3, "interactions.stream": 2.0}
    assert used.reset_config(following)
    fresh = begun(task, following)
    assert used.step() == fresh.step()


def other(value: Any) -> Any:
    """Return another value that a field of a signal may have."""
    if isinstance(value, bool):
        return not value
    words = {"log": "bm25", "excess": "total", "implicit": "explicit", "auto": "cholesky"}
    return words[value] if isinstance(value, str) else type(value)(value * 1.5 + 1)


def test_every_signal_can_be_searched(task):
    """All fields of how events become evidence and of the objective, each once changed."""
    settings = {
        f"{stage}.{field.name}": other(value)
        for stage in ("interactions", "collaborative")
        for field in fields(getattr(task.config, stage))
        if not isinstance(value := getattr(getattr(task.config, stage), field.name), tuple)
    }
    settings["interactions.bm25_b"] = settings["collaborative.unobserved_weight"] = 0.5
    settings["collaborative.relaxation"] = 1.2
    space = tuple(f"{path} of {str(value).lower()}" for path, value in settings.items())
    read = read_space(config(space=space))
    assert [one.values for one in read] == [(value,) for value in settings.values()]
    trial = begun(task, {})
    for path, value in settings.items():
        trial.reset_config({path: value})
        assert 0 <= trial.step()["ndcg@10"] <= 1, path


def test_a_search_with_one_trial_at_a_time_is_repeated_by_its_seed(dataset, tmp_path):
    """All of two tables is alike, but for the seconds."""
    settings = config(space=(*SPACE[:2], "collaborative.alpha log 0.3 30"), concurrent=1, seed=3)
    found = []
    with ray_session(num_cpus=2, object_store_bytes=100_000_000):
        for name in "ab":
            tune(dataset, settings, tmp_path / name, trials=12)
            with (tmp_path / name / "trials.csv").open(newline="") as file:
                found.append([row | {"seconds": ""} for row in csv.DictReader(file)])
    assert found[0] == found[1] and len({row["collaborative.alpha"] for row in found[0]}) == 12


def test_what_work_costs(task):
    """The price is in standard errors over listeners, for each doubling of the given work."""
    setting = {"collaborative.factors": 3}
    priced = begun(task, setting)
    free = begun(replace(task, config=configured(task.config, {"tune.thrift": 0.0})), setting)
    figures = ranking_metrics(
        lists_after_a_sweep(task, setting),
        task.loved[np.flatnonzero(np.diff(task.loved.indptr))],
        (10,),
    )["ndcg@10"]
    nnz, settings = task.interactions.evidence.nnz, task.config.collaborative
    given = settings.iterations * (settings.factors**2 * 100 + 2 * settings.factors * nnz)
    cost = 0.25 * figures.std() / np.sqrt(len(figures)) * np.log2((9 * 100 + 6 * nnz) / given)
    result = priced.step()
    assert result["ndcg@10"] == pytest.approx(figures.mean())
    assert result["worth"] == pytest.approx(figures.mean() - cost) and cost != 0
    result = free.step()
    assert result["worth"] == result["ndcg@10"]


def lists_after_a_sweep(task: Task, setting: dict[str, float]) -> np.ndarray:
    """Return the lists after one sweep of a setting, trained without a `Trial`."""
    settings = replace(configured(task.config, setting).collaborative, num_threads=1)
    backend, interactions = LocalBackend(), task.interactions
    steps = alternate(interactions.evidence, settings, backend)
    step = next(step for step in steps if step.side == "items")
    users = np.flatnonzero(np.diff(task.loved.indptr))
    factors = gather(step, settings, backend)
    return factors.recommend(users, 10, exclude=interactions.heard[users])[0]


def test_work_is_counted_by_both_half_steps(task):
    trial = begun(task, {"collaborative.factors": 3})
    trial.step()
    nnz = task.interactions.evidence.nnz
    assert trial.step()["work"] == 2 * (9 * (40 + 60) + 2 * 3 * nnz)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("collaborative.alpha log 3 1", "want LOW < HIGH, above 0"),
        ("collaborative.alpha log 0 1", "want LOW < HIGH, above 0"),
        ("collaborative.alpha log 1", "want `collaborative.alpha log LOW HIGH`"),
        ("collaborative.alpha about 1 2", "want `collaborative.alpha log LOW HIGH`"),
        ("collaborative.alfa log 1 2", "unknown key 'alfa'; did you mean alpha"),
        ("serving.max_k of 1 2", "want a key of interactions, collaborative, ensemble"),
        ("collaborative.alpha of 1 many", "alpha: want float, got 'many'"),
        ("collaborative.solver log cg auto", "has no range"),
        ("", "want a key of"),
    ],
)
def test_a_line_that_names_no_space_is_refused(line, message):
    with pytest.raises(ConfigError, match=message):
        read_space(config(space=(line,)))


def test_one_key_twice_or_none_is_refused():
    for space in ((SPACE[0], SPACE[0]), ()):
        with pytest.raises(ConfigError, match="want different keys, at least one"):
            read_space(config(space=space))


def test_whole_numbers_stay_whole():
    [one] = read_space(config(space=("collaborative.factors log 8 128",)))
    assert isinstance(one.domain.sample(), int)
    assert configured(config(), {"collaborative.factors": 9}).collaborative.factors == 9


@pytest.mark.parametrize(
    ("line", "given", "nearest"),
    [
        ("collaborative.factors log 8 128", 40, 40),
        ("collaborative.factors log 8 128", 129, 128),
        ("collaborative.alpha even 0.5 2", 0.1, 0.5),
        ("collaborative.factors of 16 32 64", 40, 32),
        ("collaborative.factors of 16 32 64", 64, 64),
        ("collaborative.bias of false", True, False),
        ("collaborative.solver of cg cholesky", "auto", "cg"),
    ],
)
def test_the_search_starts_near_what_is_given(line, given, nearest):
    [one] = read_space(config(space=(line,)))
    assert one.nearest(given) == nearest and type(one.nearest(given)) is type(nearest)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "accuracy@10"}, "want one of recall, ndcg"),
        ({"metric": "ndcg"}, "at a cut-off, such as ndcg@10"),
        ({"grace": 0}, "tune.grace: want 1 or more, got 0"),
        ({"thrift": -1.0}, "tune.thrift: want 0 or more, got -1.0"),
    ],
)
def test_what_cannot_be_searched_is_refused(dataset, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        tune(dataset, config(**changes), tmp_path, trials=1)


def test_a_tune_slice_without_anything_new_is_refused(tmp_path):
    table = pa.table({"user_id": ["u"], "item_id": ["i"], "kind": ["stream"]})
    dataset = Dataset(tmp_path / "dataset")
    with dataset.transaction() as transaction:
        transaction.append("events", [table], source="test", fingerprint="1")
    with pytest.raises(InputError, match="no listener loved anything new"):
        tune(dataset, config(), tmp_path / "out", trials=1)


def tried(number, regularization, curve, worth=None):
    work = [sweep + 1.0 for sweep in range(len(curve))]
    setting = {"collaborative.regularization": regularization, "collaborative.factors": 2}
    return Tried(number, setting, curve, worth or curve, work, 1.0, len(curve) == 3)


def test_the_best_sweep_is_worth_most():
    one = tried(0, 1.0, [0.1, 0.3, 0.31], worth=[0.1, 0.29, 0.28])
    assert (one.at, one.best) == (2, 0.3)


def test_the_front_holds_what_nothing_beats_with_less_work():
    cheap, good, dear = tried(0, 1.0, [0.1]), tried(1, 2.0, [0.1, 0.3]), tried(2, 3.0, [0.0, 0.2])
    assert [one.number for one in pareto([dear, good, cheap])] == [0, 1]
    assert (good.best, good.at) == (0.3, 2)


def test_the_key_that_matters_is_found():
    space = read_space(config())
    found = importances([tried(n, 1.0 + n, [n / 10]) for n in range(8)], space)
    assert found["collaborative.regularization"] > 0.9
    assert importances([tried(0, 1.0, [0.5])] * 9, space) == dict.fromkeys(found, 0.0)
    assert "<svg" in report([tried(0, 1.0, [0.5])], space, "ndcg@10")
