"""The files for KubeRay. Their fields were held against the operator's own schemas; those that matter stand here."""

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "infra" / "kuberay"
CLUSTER = yaml.safe_load((FOLDER / "raycluster.yaml").read_text())
JOB = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
SPECS = {"raycluster": CLUSTER["spec"], "rayjob": JOB["spec"]["rayClusterSpec"]}
both = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def pods(spec) -> list[dict]:
    return [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def test_kinds():
    assert [(tree["apiVersion"], tree["kind"]) for tree in (CLUSTER, JOB)] == [
        ("ray.io/v1", "RayCluster"),
        ("ray.io/v1", "RayJob"),
    ]


@both
def test_every_connection_shows_the_token_of_a_secret(spec):
    assert spec["authOptions"] == {"mode": "token", "secretName": "tesseral-token"}
    assert spec["rayVersion"] == version("ray")  # the operator refuses a token without a version
    assert "auth_token" in (FOLDER / "volume.yaml").read_text()
    assert "RAY_AUTH_TOKEN" not in str(spec)


@both
def test_the_head_has_no_cores_for_trials_and_gpu_workers_come_from_zero(spec):
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    (workers,) = spec["workerGroupSpecs"]
    assert (workers["replicas"], workers["minReplicas"]) == (0, 0)
    assert workers["maxReplicas"] > 0
    (head,), (worker,) = (pod["containers"] for pod in pods(spec))
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in head["resources"]["limits"]


@both
def test_all_pods_share_a_volume_and_run_without_root(spec):
    for pod in pods(spec):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert {"name": "studies", "persistentVolumeClaim": {"claimName": "tesseral-studies"}} in pod["volumes"]
        (container,) = pod["containers"]
        assert {"name": "studies", "mountPath": "/studies"} in container["volumeMounts"]
        assert {"name": "TESSERAL_STORAGE", "value": "/studies"} in container["env"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    claim = yaml.safe_load((FOLDER / "volume.yaml").read_text())
    assert (claim["metadata"]["name"], claim["spec"]["accessModes"]) == ("tesseral-studies", ["ReadWriteMany"])


@both
def test_probes_ask_what_ray_answers_without_a_token(spec):
    from ray.dashboard import http_server_agent

    for pod, port in zip(pods(spec), (8265, 52365), strict=True):
        for probe in ("readinessProbe", "livenessProbe"):
            asked = pod["containers"][0][probe]["httpGet"]
            assert asked["port"] == port
            assert (
                asked["path"] == "/api/gcs_healthz"
                if port == 8265
                else asked["path"] in http_server_agent.PUBLIC_EXACT_PATHS
            )
        assert pod["terminationGracePeriodSeconds"] > 30


def test_a_job_is_tried_again_on_a_new_cluster_with_nothing_of_its_own_but_the_volume():
    spec = JOB["spec"]
    assert spec["entrypoint"].startswith("tesseral run ")  # whose lease makes a second driver wait, or end with 3
    assert spec["backoffLimit"] > 0
    assert spec["submitterConfig"]["backoffLimit"] > 0
    assert spec["shutdownAfterJobFinishes"] is True
    assert "jobId" not in spec  # an id that exists is refused
    for pod in pods(SPECS["rayjob"]):
        assert {"name": "study", "configMap": {"name": "tesseral-study"}} in pod["volumes"]


def test_before_the_head_ends_its_drivers_are_asked_to(tmp_path):
    """The script itself, on two processes: one that is a driver by its command line, one that is not."""
    command = pods(SPECS["rayjob"])[0]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command == pods(SPECS["raycluster"])[0]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    script = command[2].replace("sleep 15", "").replace("/tesseral run ", f"{tmp_path}/tesseral run ")
    program = tmp_path / "tesseral"
    program.write_text(f"#!{sys.executable}\nprint('ready', flush=True)\nimport time; time.sleep(60)\n")
    program.chmod(0o755)
    processes = [
        subprocess.Popen([program, word, "study.toml"], stdout=subprocess.PIPE, text=True) for word in ("run", "status")
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    subprocess.run(["/bin/sh", "-c", script], check=False, env=os.environ)
    assert processes[0].wait(20) == -signal.SIGTERM
    assert processes[1].poll() is None
    processes[1].kill()
    for process in processes:
        process.communicate()
