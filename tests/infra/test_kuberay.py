"""The files for KubeRay. Their fields were held against the operator's own schemas; those that matter stand here."""

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from tesseral.cluster.submission.jobs import Request
from tesseral.cluster.submission.shipment import Shipment

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
def test_a_namespace_that_is_restricted_admits_all_pods(spec):
    """What the Pod Security Standard `restricted` asks for, of the autoscaler's container too."""
    confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert spec["autoscalerOptions"]["securityContext"] == confined
    for pod in pods(spec):
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert [container["securityContext"] for container in pod["containers"]] == [confined]


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
    """The script itself, among processes that are drivers by their command lines, as a job begins them, and one that is
    none."""
    command = pods(SPECS["rayjob"])[0]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command == pods(SPECS["raycluster"])[0]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    submitted = Request(Shipment("study", tmp_path, "study.toml"), ("run", "study.toml"), "/studies").entrypoint
    program = tmp_path / "tesseral"
    program.write_text(f"#!{sys.executable}\nprint('ready', flush=True)\nimport time; time.sleep(60)\n")
    program.chmod(0o755)
    python = tmp_path / "python"
    python.symlink_to("tesseral")
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    processes = [
        subprocess.Popen(line, shell=True, stdout=subprocess.PIPE, text=True, env=os.environ | path)
        for line in (f"exec {JOB['spec']['entrypoint']}", submitted, "exec tesseral status study.toml")
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    own = "".join(f" /proc/{process.pid}" for process in processes)
    script = command[2].replace(" /proc/[0-9]*", f" /proc/$${own}").replace("sleep 15", "echo waits")
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "waits\n")  # it has not ended itself
    assert [process.wait(20) for process in processes[:2]] == [-signal.SIGTERM] * 2
    assert processes[2].poll() is None
    processes[2].kill()
    for process in processes:
        process.communicate()
