"""The documentation: it builds without a warning, fetches nothing, and its examples run.

Fenced blocks of the pages and the README say what they are, by language and kind:

    python              runs, one namespace a page; one that begins with a comment `# name.py` is that file
    toml study          a whole study file; `toml study part` is set in a valid one
    toml recipe         a whole recipe
    toml mapping        a whole mapping
    console             commands after `$`: their options exist, and the files of the project that they name
"""

import copy
import importlib
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from tesseral.cluster.campaign.driver import run
from tesseral.cluster.commands.app import app
from tesseral.cluster.planning.plan import plan
from tesseral.study.errors import TesseralError
from tesseral.study.recipe.mapping import read_mapping
from tesseral.study.recipe.recipe import read_recipe
from tesseral.study.study import Study
from tests.support.command_line import tesseral
from tests.support.water_study import EXAMPLES, water_study

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|audio|video|embed)\b[^>]*\ssrc=["'](?:https?:)?//"""
    r"""|<link\b[^>]*\shref=["'](?:https?:)?//|<link\b[^>]*rel=["']preconnect|@import\s+(?:url\()?["']?(?:https?:)?//"""
    r"""|url\(\s*["']?(?:https?:)?//""",
)
PLAIN = ("docker", "export", "kubectl", "openssl", "pip", "pytest", "sbatch", "umask")
"""Programs in console blocks that are not ours to check."""


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    fences = re.finditer(r"^( *)```(\w[^\n]*)\n(.*?)^\1``` *$", text, re.M | re.S)
    return [
        Block(
            str(page.relative_to(ROOT)),
            text.count("\n", 0, fence.start()) + 1,
            fence[2].strip(),
            re.sub(rf"^{fence[1]}", "", fence[3], flags=re.M),
        )
        for fence in fences
    ]


ALL = [block for page in PAGES for block in blocks(page)]


def of(*kinds: str) -> Any:
    chosen = [block for block in ALL if block.kind in kinds]
    return pytest.mark.parametrize("block", chosen, ids=str)


def test_every_block_has_a_kind_that_is_tested():
    known = {"python", "console", "text", "toml study", "toml study part", "toml recipe", "toml mapping"}
    assert {block.kind for block in ALL} <= known


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("docs")
    lists = ["-D", "toc_object_entries=0"]  # the contents beside a page without its objects: a third of the time less
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E", *lists, str(DOCS), str(out)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return out


def test_pages_fetch_nothing(pages):
    built = [path for path in pages.rglob("*") if path.suffix in (".html", ".css", ".svg")]
    assert sum(path.suffix == ".html" for path in built) >= len(PAGES)
    assert {path.name: hit[0] for path in built if (hit := FETCHED.search(path.read_text("utf-8")))} == {}


def test_the_reference_is_made_from_the_source(pages):
    """One name of each kind that no page writes out, on the page that it is to be on."""
    written = "".join(page.read_text("utf-8") for page in DOCS.rglob("*.md"))
    for page, name in [
        ("study_file", "training.schedule"),
        ("study_file", "replication.max_blocks"),
        ("recipe", "structures.amplitude"),
        ("mapping", "labels.convention"),
        ("records", "parameters_live"),
        ("records", "self_repulsion_error"),
        ("commands", "--difference"),
        ("python", "Configuration"),
    ]:
        assert page != "recipe" or name not in written
        text = re.sub(r"<[^>]+>", "", (pages / "reference" / f"{page}.html").read_text("utf-8"))
        assert name in text, (page, name)


def test_records_name_no_module(pages):
    """Stored descriptions keep old names of modules; readers are told what these mean today."""
    text = re.sub(r"<[^>]+>", "", (pages / "reference" / "records.html").read_text("utf-8"))
    assert re.findall(r"tesseral\.(?:models|study|analysis|cluster)\.|[A-Z]+_METRICS", text) == []


def test_formulas_are_drawn_without_a_script(pages):
    page = (pages / "numbers" / "estimators.html").read_text("utf-8")
    assert "<math" in page
    assert "mathjax" not in re.sub(r'class="[^"]*"', "", page).lower()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory, tiny_reference) -> Path:
    """A folder where the pages' Python runs: a finished study `quickstart`, and the modules that pages write."""
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "runs" / "reference").mkdir(parents=True)
    (folder / "runs" / "reference" / tiny_reference.name).write_bytes(tiny_reference.read_bytes())
    study = folder / "study" / "examples" / "quickstart.toml"
    study.parent.mkdir(parents=True)
    study.write_text(water_study("quickstart", epochs=2))
    for block in ALL:
        if name := module(block):
            (folder / name).write_text(block.text)
    run(study, folder / "runs", "inline")
    return folder


def module(block: Block) -> str | None:
    """The file that a block of Python is."""
    name = re.match(r"# (\w+\.py)\n", block.text)
    return name[1] if name and block.kind == "python" else None


@of("python")
def test_python_runs(block, sandbox, tmp_path, monkeypatch):
    monkeypatch.chdir(sandbox)
    name = module(block)
    if name and name.startswith("test_"):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name]
        environment = os.environ | {"PYTHONPATH": f"{ROOT / 'infra' / 'namespace'}{os.pathsep}{sandbox}"}
        ran = subprocess.run(command, cwd=sandbox, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout
    else:
        script = tmp_path / "block.py"
        script.write_text(block.text)
        runpy.run_path(str(script))


BASE = water_study("page", "network.radial_cutoff = [4.0, 5.0]", hidden="{ lmax = 1, mul = [4, 2] }")


def merged(base: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """`part` set in `base`; `factors` and `hidden` are replaced whole."""
    tree = copy.deepcopy(base)
    for key, value in part.items():
        whole = key in ("factors", "hidden") or not isinstance(value, dict)
        tree[key] = value if whole else merged(tree.get(key, {}), value)
    return tree


def toml(value: Any) -> str:
    """A value as inline TOML; JSON is that already but for tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


@of("toml study")
def test_study_files_are_valid(block):
    Study.parse(block.text, str(block))


@of("toml study part")
def test_parts_of_study_files_are_valid(block, sandbox, monkeypatch):
    """Set in a valid study, and planned: sizes, matching and reach too."""
    monkeypatch.chdir(sandbox)
    part = tomllib.loads(block.text)
    base = tomllib.loads(BASE)
    if part.get("replication", {}).get("allocate"):
        base["replication"] = {}
    if "data" in part:  # of data that only the page's reader has
        Study.parse("\n".join(f"{key} = {toml(value)}" for key, value in merged(base, part).items()), str(block))
        return
    file = sandbox / "page.toml"
    file.write_text("\n".join(f"{key} = {toml(value)}" for key, value in merged(base, part).items()))
    monkeypatch.setattr(sys, "path", [*sys.path])  # planning adds the folder of a user's module
    assert plan(file, "runs").arms


@of("toml recipe")
def test_recipes_are_valid(block, tmp_path):
    (tmp_path / "recipe.toml").write_text(block.text)
    read_recipe(tmp_path / "recipe.toml")


@of("toml mapping")
def test_mappings_are_valid(block, tmp_path):
    (tmp_path / "mapping.toml").write_text(block.text)
    read_mapping(tmp_path / "mapping.toml")


@of("console")
def test_commands_exist_with_their_options(block):
    commands = [line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ ")]
    assert commands
    for command in commands:
        words = shlex.split(command, comments=True)
        check(words[: words.index(">")] if ">" in words else words)


def check(words: list[str]) -> None:
    program, *rest = words
    if program == "tesseral":
        parse(typer.main.get_command(app), "tesseral", rest)
    elif program == "ray":
        # Ray reads its authentication mode at its first import, so the session's settings must come before.
        importlib.import_module("tesseral.cluster.nodes.ray_session")
        parse(importlib.import_module("ray.scripts.scripts").cli, "ray", rest)
        if "--" in rest:
            check(rest[rest.index("--") + 1 :])
    elif program == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
        assert set(rest) <= set(targets)
    elif program == "python":
        assert (ROOT / rest[0]).is_file()
    else:
        assert program in PLAIN
    for word in rest:
        if word.startswith("study/examples/"):
            assert (ROOT / word).is_file()


def parse(command: Any, name: str, words: list[str]) -> None:
    """As the program would read its arguments; an option that is not there, or lacks its value, raises."""
    while hasattr(command, "commands"):
        word, *words = words
        command = command.commands[word]
    command.make_context(name, words)


def test_what_the_checks_refuse():
    with pytest.raises(Exception, match="no-such-option"):
        check(shlex.split("tesseral run study.toml --no-such-option"))
    with pytest.raises(KeyError):
        check(shlex.split("tesseral no-such-command"))
    with pytest.raises(AssertionError):
        check(shlex.split("tesseral plan study/examples/no_such_study.toml"))
    with pytest.raises(TesseralError):
        Study.parse(BASE.replace("epochs", "epoch"), "page")
    assert FETCHED.search('<script src="https://cdn.example/x.js">')
    assert FETCHED.search("@font-face { src: url(//fonts.example/x.woff2) }")
    assert not FETCHED.search('<a href="https://arxiv.org/abs/2210.04766">')


def test_the_readme_links_to_every_page():
    readme = (ROOT / "README.md").read_text("utf-8")
    linked = {DOCS / link for link in re.findall(r"\]\(docs/([\w/]+\.(?:md|rst))\)", readme)}
    wanted = {page for page in (*DOCS.rglob("*.md"), *DOCS.rglob("*.rst")) if page.name != "index.md"}
    assert wanted - linked == set()
    assert all((ROOT / link).exists() for link in re.findall(r"\]\(([\w./-]+)\)", readme))


def test_the_readme_shows_a_mistake_as_it_is_printed(tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text("utf-8")
    (shown,) = re.findall(r"^(tesseral: mine\.toml: .*)…$", readme, re.M)
    (tmp_path / "mine.toml").write_text(water_study("mine").replace("epochs = ", "epoch = "))
    monkeypatch.chdir(tmp_path)
    assert tesseral("run", "mine.toml").stderr.startswith(shown)


def test_examples_of_the_readme_are_those_that_exist():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert all((EXAMPLES / name).is_file() for name in re.findall(r"study/examples/(\w+\.toml)", readme))
