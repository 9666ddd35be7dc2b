"""Modules of a user's own are found in their source; what is installed stays where it is."""

from pathlib import Path

import pytest

from tesseral.cluster.submission.own_modules import own_modules
from tesseral.study.errors import StudyFileError


def written(folder: Path, **sources: str) -> Path:
    for name, text in sources.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_what_a_module_imports_is_found_at_any_depth_and_nothing_that_is_installed(tmp_path):
    folder = written(
        tmp_path,
        network="import torch\nimport layers, json\nfrom tesseral.study import Study\n",
        layers="def build():\n    from angles import cosine\n",
        angles="import network  # a circle\n",
        other="",
    )
    assert sorted(own_modules("network:Net", "network.define", [folder])) == ["angles.py", "layers.py", "network.py"]


def test_a_package_is_shipped_whole_with_its_data_and_without_caches(tmp_path):
    written(tmp_path, pack__init="", pack__deep__net="from ..tables import read\nimport outside\n", outside="")
    (tmp_path / "pack" / "init.py").rename(tmp_path / "pack" / "__init__.py")
    (tmp_path / "pack" / "weights.json").write_text("{}")
    (tmp_path / "pack" / "__pycache__").mkdir()
    (tmp_path / "pack" / "__pycache__" / "net.pyc").write_bytes(b"")
    found = own_modules("pack.deep.net:Net", "network.define", [tmp_path])
    assert sorted(found) == ["outside.py", "pack/__init__.py", "pack/deep/net.py", "pack/weights.json"]


def test_the_first_folder_wins_as_in_python(tmp_path):
    first, second = (written(tmp_path / name, network=f"import only_{name}\n") for name in ("a", "b"))
    written(second, only_a="")
    found = own_modules("network:Net", "network.define", [first, second])
    assert found == {"network.py": first / "network.py", "only_a.py": second / "only_a.py"}


@pytest.mark.parametrize(
    ("define", "sentence"),
    [
        ("nowhere.net:Net", "expected a module in the study file's folder or on PYTHONPATH, found no 'nowhere'"),
        ("broken:Net", "broken.py is no Python source: "),
    ],
)
def test_a_module_that_is_missing_or_torn_is_refused(tmp_path, define, sentence):
    written(tmp_path, broken="def f(:\n")
    with pytest.raises(StudyFileError) as refused:
        own_modules(define, "network.define", [tmp_path])
    assert refused.value.path == "network.define"
    assert sentence in refused.value.message


def test_an_installed_module_is_not_shipped(tmp_path):
    assert own_modules("e3nn.nn.models:Network", "network.define", [tmp_path]) == {}
