"""The public face: `import tesseral` is light, and each package hands on exactly the names that are listed here."""

import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2] / "infra" / "namespace" / "tesseral"

HEAVY = {"torch", "e3nn", "ray", "optuna", "polars", "pydantic", "pyarrow", "numpy", "scipy", "obstore", "pyscf"}

NAMES = {
    "tesseral": [
        "Ended",
        "Study",
        "StudyPlan",
        "StudyTables",
        "TesseralError",
        "__version__",
        "make_reference",
        "open_study",
        "plan",
        "read_study",
        "report",
        "run",
    ],
    "tesseral.analysis": [
        "ArmError",
        "ArmSummary",
        "Best",
        "Comparison",
        "Effect",
        "Estimate",
        "FailingStarts",
        "Figure",
        "Results",
        "Step",
        "StudyTables",
        "analyse",
        "arm_errors",
        "best",
        "compare_arms",
        "effects",
        "failing_starts",
        "frontier",
        "load",
        "open_study",
        "read_study",
        "render",
        "slices",
        "steps",
        "to_dict",
    ],
    "tesseral.cluster": [
        "Display",
        "Ended",
        "Executor",
        "InlineExecutor",
        "Job",
        "RayExecutor",
        "Silent",
        "StudyPlan",
        "Work",
        "make_reference",
        "plan",
        "prepare",
        "run",
        "run_study",
        "run_trial",
    ],
    "tesseral.models": [
        "Model",
        "Network",
        "Recorder",
        "Reference",
        "Result",
        "Structure",
        "TrainedModel",
        "build_model",
        "build_network",
        "load",
        "open_data_set",
        "predict_density",
        "read_reference",
        "restore_model",
        "trace_features",
        "train",
    ],
    "tesseral.models.networks.testing": ["NetworkConformance", "small_settings"],
    "tesseral.study": [
        "ClusterError",
        "DataError",
        "DeviceLostError",
        "IncompleteError",
        "LeaseHeldError",
        "LeaseLostError",
        "RecordError",
        "StoreError",
        "Study",
        "StudyFileError",
        "TesseralError",
    ],
}
"""Package or public module → its public names. A name that is added or removed here is added to or removed
from what users may rely on."""


def python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


PACKAGES = sorted(
    ".".join(("tesseral", *stub.relative_to(ROOT).parts[:-1]))
    for room in [ROOT, *(link for link in ROOT.iterdir() if link.is_dir())]
    for stub in (room.rglob("__init__.pyi") if room != ROOT else room.glob("__init__.pyi"))
)
"""Every package that hands on names: those with a stub."""


@pytest.mark.parametrize("package", NAMES)
def test_public_names_are_those_listed(package):
    assert sorted(importlib.import_module(package).__all__) == NAMES[package]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there(package):
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert not isinstance(getattr(module, name), ModuleType), f"{package}.{name} is hidden by a module of its name"


def test_every_name_of_every_package_is_imported_without_pytest():
    """Tools for tests are in a module of their own: pytest is no dependency of tesseral."""
    absent = "import sys; sys.modules['pytest'] = None"
    lines = [absent, *(f"from {package} import *" for package in PACKAGES), "print('imported')"]
    assert python("\n".join(lines)).strip() == "imported"


def test_packages_import_nothing_heavy_before_a_name_is_used():
    code = f"import sys, {', '.join(PACKAGES)}; print(*{{name.split('.')[0] for name in sys.modules}})"
    assert set(python(code).split()) & HEAVY == set()


def test_an_unknown_name_is_an_attribute_error():
    import tesseral

    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        tesseral.nothing_of_the_kind  # noqa: B018


def test_importing_costs_at_most_a_tenth_of_a_second():
    """CPU time of the import alone, best of three, so that a busy machine does not count."""
    code = "import time; began = time.process_time(); import tesseral; print(time.process_time() - began)"
    assert min(float(python(code)) for _ in range(3)) <= 0.1


def test_the_version_is_that_of_the_package():
    import tesseral

    assert tesseral.__version__ == importlib.metadata.version("tesseral")


def test_numpy_has_one_thread_where_a_study_is_run_from_python():
    """NumPy reads this when it is imported, which must come after the name that leads to it is used."""
    code = "import os, tesseral; tesseral.run; import numpy; print(os.environ['OPENBLAS_NUM_THREADS'])"
    assert python(code).strip() == "1"
    order = (
        "import sys, tesseral.cluster, os; assert 'numpy' not in sys.modules; print(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    assert python(order).strip() == "1"
