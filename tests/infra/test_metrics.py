"""What Prometheus reads and Grafana shows are metrics that exist."""

import json
import re
from pathlib import Path

import yaml

INFRA = Path(__file__).parents[2] / "infra"
BOARD = json.loads((INFRA / "grafana" / "study.json").read_text())
SUFFIXES = ("_bucket", "_count", "_sum")


def known() -> set[str]:
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    from tesseral.cluster.execution import ray_metrics

    seconds = [ray_metrics.TRIAL_SECONDS + suffix for suffix in SUFFIXES]
    return {f"ray_{name}" for name in (*METRICS_GAUGES, ray_metrics.TRIALS, ray_metrics.GPUS, *seconds)}


def test_panels_ask_for_metrics_that_exist():
    asked = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    names = {name for expression in asked for name in re.findall(r"\bray_\w+", expression)}
    assert names <= known()
    assert {"ray_tesseral_trials", "ray_tesseral_trial_seconds_bucket", "ray_tesseral_gpus_reserved"} <= names


def test_panels_lie_side_by_side():
    cells = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        taken = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        cells |= taken
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_colours_are_those_of_states():
    from tesseral.study.configuration.trial import State

    (trials,) = [panel for panel in BOARD["panels"] if panel["title"] == "Trials by state"]
    assert {o["matcher"]["options"] for o in trials["fieldConfig"]["overrides"]} == {state.value for state in State}


def test_prometheus_finds_the_nodes():
    config = yaml.safe_load((INFRA / "prometheus" / "prometheus.yml").read_text())
    nodes, containers = config["scrape_configs"]
    assert nodes["file_sd_configs"] == [{"files": ["/tmp/ray/prom_metrics_service_discovery.json"]}]
    assert containers["dns_sd_configs"] == [{"names": ["head", "worker"], "type": "A", "port": 8080}]
    services = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    assert all("--metrics-export-port=8080" in services[name]["command"] for name in ("head", "worker"))


def test_the_operators_monitor_names_the_port_of_the_pods():
    monitor = yaml.safe_load((INFRA / "prometheus" / "pod-monitor.yaml").read_text())
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    spec = yaml.safe_load((INFRA / "kuberay" / "raycluster.yaml").read_text())["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert endpoint["port"] in [port["name"] for port in container["ports"]]
