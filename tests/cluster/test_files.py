"""The cluster files, checked offline: Ray's and Kubernetes' schemas, and the token that all must ask for."""

import json
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

FOLDER = Path(__file__).resolve().parents[2] / "cluster"
LAUNCHERS = ["aws.yaml", "gcp.yaml"]
KUBERNETES = "1.34"


def read(name: str) -> dict:
    return yaml.safe_load((FOLDER / name).read_text())


@pytest.fixture(scope="module")
def rayjob():
    return read("kuberay-score-sectors.yaml")


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launchers_match_rays_schema(name):
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(read(name), schema)
    complete = prepare_config(read(name))
    validate_config(complete)
    types = complete["available_node_types"]
    assert types["head"]["max_workers"] == 0 and types["cpu"]["min_workers"] == 0


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launchers_ask_for_a_token_and_show_no_dashboard(name):
    config = read(name)
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
    starts = [c for kind in ("head", "worker") for c in config[f"{kind}_start_ray_commands"] if "ray start" in c]
    assert len(starts) == 2 and all("RAY_AUTH_MODE=token ray start" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0] and "0.0.0.0" not in json.dumps(config)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launchers_use_the_locked_ray(name):
    version = f"ray:{ray.__version__}-py311"
    config = read(name)
    assert version in config["docker"]["image"]
    assert version in config["available_node_types"]["gpu"]["docker"]["worker_image"]


def test_the_rayjob_runs_score_sectors_with_a_token(rayjob):
    assert (rayjob["apiVersion"], rayjob["kind"]) == ("ray.io/v1", "RayJob")
    spec, cluster = rayjob["spec"], rayjob["spec"]["rayClusterSpec"]
    assert spec["entrypoint"].startswith("python -m jobs.score_sectors ")
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == ray.__version__  # the operator refuses authOptions without it
    environment = yaml.safe_load(spec["runtimeEnvYAML"])
    assert environment["env_vars"]["SKYSIFT_WORKSPACE"].startswith("s3://")
    assert "RAY_AUTH_TOKEN" not in (FOLDER / "kuberay-score-sectors.yaml").read_text().split("apiVersion")[1]


def test_the_rayjob_has_the_fields_that_kuberay_requires(rayjob):
    known = {"entrypoint", "submissionMode", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"}
    known |= {"activeDeadlineSeconds", "backoffLimit", "runtimeEnvYAML", "rayClusterSpec"}
    assert set(rayjob["spec"]) <= known
    cluster = rayjob["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    for group in groups[1:]:
        assert group["groupName"] and group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_rayjobs_pods_match_kubernetes_schema(rayjob):
    cluster = rayjob["spec"]["rayClusterSpec"]
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "pod"},
            "spec": group["template"]["spec"],
        }
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
        for container in pod["spec"]["containers"]:
            assert set(container["resources"]) == {"requests", "limits"}
    metadata = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": rayjob["metadata"]}
    kubernetes_validate.validate(metadata, KUBERNETES, strict=True)
