"""`models/` trains where only torch, e3nn, pyarrow and NumPy are installed: everything else is made unimportable."""

import json
import subprocess
import sys

import pytest

from tesseral.study.study import Study
from tests.support.confirm_trials import confirm_trials

SCRIPT = """
import importlib.abc, json, sys

class Absent(importlib.abc.MetaPathFinder):
    names = {"pydantic", "obstore", "ray", "optuna", "polars", "pyscf", "typer", "rich", "altair", "jinja2"}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"{name} is not installed here")

sys.meta_path.insert(0, Absent())
from tesseral.models.data.reference_file import read_reference
from tesseral.models.training.training import train
from tesseral.study.configuration.trial import Trial

class Recorder:
    epochs = 0
    def curves(self, rows): pass
    def traces(self, rows): pass
    def boundary(self, step, steps, state, metrics): self.epochs += 1

reference, trial = read_reference(sys.argv[1]), Trial.from_dict(json.loads(sys.argv[2]))
recorder = Recorder()
result = train(trial, reference, recorder, device="cpu")
print(json.dumps({"epochs": recorder.epochs, "error": result.metrics["test.relative_error"]}))
"""


@pytest.mark.parametrize("quantity", ["density", "dipole"])
def test_a_trial_trains_without_the_rest_of_the_service(tiny_reference, study_file, quantity):
    from tesseral.models.data.reference_file import read_reference
    from tesseral.models.training.numerics import NUMERICS

    text = study_file.read_text().replace('metric = "l2_error"', "")
    study = Study.parse(f'{text}\n[target]\nquantity = "{quantity}"', "study.toml")
    hashes = {"reference/water_tiny.parquet": read_reference(tiny_reference).content_hash}
    trial = confirm_trials(study, hashes, NUMERICS)[0].trial
    command = [sys.executable, "-c", SCRIPT, str(tiny_reference), json.dumps(trial.to_dict())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["epochs"] == 6
    assert 0 < printed["error"] < 200
