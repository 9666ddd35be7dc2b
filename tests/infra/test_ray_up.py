"""The file for `ray up`, by Ray's own validator."""

from pathlib import Path

import jsonschema
import pytest
import yaml

FILE = Path(__file__).parents[2] / "infra" / "ray-up.yaml"


def validated(config: dict) -> dict:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(config)
    validate_config(prepared)
    return prepared


def test_ray_takes_it():
    config = validated(yaml.safe_load(FILE.read_text()))
    kinds = config["available_node_types"]
    assert kinds[config["head_node_type"]]["resources"] == {"CPU": 0}
    assert (kinds["gpu"]["min_workers"], kinds["gpu"]["max_workers"]) == (0, 8)
    assert config["idle_timeout_minutes"] == 10


def test_ray_refuses_a_key_that_it_does_not_know():
    config = yaml.safe_load(FILE.read_text()) | {"idle_timeout": 10}
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        validated(config)


def test_every_node_asks_for_the_token():
    config = yaml.safe_load(FILE.read_text())
    starts = [
        command
        for key in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in config[key]
        if "ray start" in command
    ]
    assert len(starts) == 2
    assert all(command.startswith("RAY_AUTH_MODE=token ") for command in starts)
    assert list(config["file_mounts"].values()) == ["~/.ray/auth_token"]


def test_the_options_of_ray_are_rays():
    from ray.scripts.scripts import start

    known = {option for parameter in start.params for option in (*parameter.opts, *parameter.secondary_opts)}
    config = yaml.safe_load(FILE.read_text())
    for command in (*config["head_start_ray_commands"], *config["worker_start_ray_commands"]):
        assert {word.split("=")[0] for word in command.split() if word.startswith("--")} <= known
