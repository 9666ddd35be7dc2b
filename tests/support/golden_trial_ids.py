"""The ids of the trials that the examples ask for, as digests: golden values for the tests.

`python -m tests.support.golden_trial_ids` writes `trial_ids.json`. Do so only when `NUMERICS` is raised or an example
asks for something else. Any other change of a digest is a mistake: tesseral would not find earlier records, and would
train finished trials again.
"""

import json
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from tesseral.cluster.planning.plan import plan
from tesseral.models.training.numerics import NUMERICS
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.trial import digest
from tesseral.study.design.stages import confirm_seeds, make_trial, search_seeds
from tesseral.study.parsing.user_function import source_hash
from tesseral.study.study import Study

GOLDEN = Path(__file__).with_name("trial_ids.json")
CONTENT = "f" * 64
"""Content hash of every reference file: the data need not be there."""
NATURAL = {
    "gate_points": "matching builds a user's network for every width that it tries, which takes most of a minute",
    "trimers": "its reference data are imported, so no recipe says what they hold",
}
"""Studies whose arms are taken at their natural widths, and why. All others are matched, as `tesseral run` does it."""


def cases() -> Iterator[tuple[str, str | None]]:
    """Each example of a study, whole and with each of its presets."""
    for entry in sorted(resources.files("tesseral.study.examples").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            tree = tomllib.loads(entry.read_text())
            if "study" in tree:
                yield from ((entry.name.removesuffix(".toml"), preset) for preset in (None, *tree.get("presets", {})))


def trial_ids(name: str, preset: str | None) -> dict[str, list[str]]:
    """Arm → ids of its first trial of the confirm stage and of its unsearched setting in the search stage."""
    with resources.as_file(resources.files("tesseral.study.examples") / f"{name}.toml") as file:
        study = Study.load(file, preset)
    configurations: list[tuple[str, Configuration]]
    if name in NATURAL:
        sys.path.insert(0, str(file.parent))  # as `plan` does: the example's own module is there
        configurations = [(arm.label, arm.configuration) for arm in study.arms]
    else:
        with tempfile.TemporaryDirectory() as storage:
            configurations = [(arm.label, arm.configuration) for arm in plan(study, storage).arms]
    ids = {}
    for label, configuration in configurations:
        define = configuration.network.define
        source = None if define is None else source_hash(define, "network.define")
        hashes = {configuration.data.reference: CONTENT}
        seeds = (confirm_seeds(study.file.study.seed, 1, 0), search_seeds(study.file.study.seed))
        ids[label] = [make_trial(configuration, each, hashes, NUMERICS, source).id for each in seeds]
    return ids


def main() -> None:
    """Write the digests, one a study."""
    digests = {f"{name}/{preset or ''}".strip("/"): digest(trial_ids(name, preset)) for name, preset in cases()}
    GOLDEN.write_text(json.dumps(digests, indent=1) + "\n")


if __name__ == "__main__":
    main()
