"""The files that a cluster is made from are what Ray takes, those that we have not run too."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from recsys.serving.environment import serve_environment

with warnings.catch_warnings():  # of its own dependencies
    warnings.simplefilter("ignore")
    from ray.serve.schema import ServeDeploySchema

ROOT = Path(__file__).parents[2]


def read(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / name).read_text()))


@pytest.mark.parametrize("name", ["cluster.yaml", "examples/cluster-aws.yaml"])
def test_ray_up_takes_it(name):
    (given,) = read(name)
    prepared = prepare_config(given)
    validate_config(prepared)
    assert prepared["rsync_exclude"] == [".git"]
    assert prepared["rsync_filter"] == [".gitignore"]


def test_a_misspelt_key_is_not_taken():
    (given,) = read("cluster.yaml")
    with pytest.raises(Exception, match="rsync_excludes"):
        validate_config(prepare_config(given | {"rsync_excludes": []}))


def test_serve_takes_what_kubernetes_hands_on():
    _, service = read("examples/kuberay.yaml")
    (ours,) = read("serve_config.yaml")
    theirs = yaml.safe_load(service["spec"]["serveConfigV2"])
    for config in (ours, theirs):
        ServeDeploySchema.model_validate(config)
    (application,), (same,) = ours["applications"], theirs["applications"]
    assert same["import_path"] == application["import_path"]
    assert [one["name"] for one in same["deployments"]] == ["recsys"]


def test_pods_that_serve_have_the_environment_of_a_node(tmp_path):
    _, service = read("examples/kuberay.yaml")
    cluster = service["spec"]["rayClusterConfig"]
    wanted = {
        name: value.replace(str(tmp_path), "/home/ray/.recsys")
        for name, value in serve_environment(tmp_path).items()
    }
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert {entry["name"]: entry["value"] for entry in container["env"]} == wanted
