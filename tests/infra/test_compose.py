"""The cluster of containers: a head without CPU cores, two workers, an S3 store, a mirror, and loopback alone."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.support.s3_server import s3

INFRA = Path(__file__).parents[2] / "infra"
SERVICES = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
KEYS = {
    "image", "init", "working_dir", "volumes", "shm_size", "stop_grace_period", "restart", "environment", "command",
    "ports", "healthcheck", "depends_on", "deploy", "profiles",
}  # fmt: skip
"""Keys of a service in the Compose specification, those that are used."""


def test_services_and_their_keys():
    assert set(SERVICES) == {"head", "worker", "store", "bucket", "mirror", "prometheus", "grafana"}
    assert {key for service in SERVICES.values() for key in service} <= KEYS
    assert SERVICES["worker"]["deploy"] == {"replicas": 2}
    assert "--num-cpus=0" in SERVICES["head"]["command"]
    assert SERVICES["mirror"]["image"].startswith("postgres:")


def test_a_service_waits_for_services_that_exist_and_can_be_healthy():
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            assert wait["condition"] in ("service_started", "service_healthy", "service_completed_successfully")
            assert wait["condition"] != "service_healthy" or "healthcheck" in SERVICES[name]


def test_ports_are_published_on_loopback_alone():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 5
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_secrets_come_from_outside():
    """A file without a token, and the token in no command."""
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("TOKEN|PASSWORD|SECRET", name):
                assert value.startswith("${")
        assert "TOKEN" not in str(service.get("command", ""))


def test_the_options_of_ray_are_rays():
    from ray.scripts.scripts import start

    known = {option for parameter in start.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for name in ("head", "worker"):
        assert {option.split("=")[0] for option in SERVICES[name]["command"].split()[2:]} <= known


def test_files_that_are_mounted_exist():
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    assert all((INFRA / path).is_file() for path in mounted if path.startswith("./"))


def test_the_bucket_is_made_twice_without_harm():
    _, _, script = SERVICES["bucket"]["command"]
    with s3() as environment:
        for _ in range(2):
            subprocess.run([sys.executable, "-c", script], env=os.environ | environment, check=True, timeout=120)
