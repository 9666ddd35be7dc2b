"""The image: linted, small, and without root."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "infra" / "Dockerfile"
STAGE = re.compile(r"^FROM (\S+) AS (\w+)$", re.M)


def stages() -> dict[str, str]:
    """Stage → its text."""
    parts = STAGE.split(DOCKERFILE.read_text())
    return dict(zip(parts[2::3], parts[3::3], strict=True))


def test_hadolint_finds_nothing():
    program = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([program, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_both_targets_run_without_root_and_with_the_pinned_versions():
    for target in ("cpu", "cuda"):
        text = stages()[target]
        assert "USER 1000:1000" in text
        installs = re.findall(r"pip install", text)
        assert len(installs) == text.count("--constraint /opt/constraints.txt") == text.count("--no-cache-dir") == 2


def test_ray_up_finds_its_programs():
    """Its head starts machines by boto3 and reaches them by ssh and rsync, all from the container, and each command
    runs in a login shell, which sets PATH anew."""
    assert "openssh-client rsync" in stages()["base"]
    assert all(" boto3 " in stages()[target] for target in ("cpu", "cuda"))
    (line,) = re.findall(r"(echo .*) >/etc/profile.d/tesseral.sh", stages()["base"])
    script = f'PATH=/usr/bin:/bin; eval "$({line})"; printf %s "$PATH"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "/opt/tesseral/bin:/usr/bin:/bin"


def test_the_context_holds_what_the_wheel_is_built_from_and_nothing_else():
    lines = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    assert {rule for rule in rules[1:] if not rule.startswith("!")} == {"**/__pycache__", "**/*.pyc"}
    assert all((ROOT / name).exists() for name in kept)
    rooms = {link.readlink().name for link in (ROOT / "infra/namespace/tesseral").iterdir() if link.is_symlink()}
    assert kept == rooms | {"LICENSE", "README.md", "constraints.txt", "infra/namespace", "pyproject.toml"}


def test_a_wheel_is_built_from_the_context_alone(tmp_path):
    lines = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    for name in (line[1:] for line in lines if line.startswith("!")):
        source, target = ROOT / name, tmp_path / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    size = sum(path.stat().st_size for path in (tmp_path / "source").rglob("*") if path.is_file())
    assert size < 10 * 2**20
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", tmp_path, tmp_path / "source"], check=True)
    assert len(list(tmp_path.glob("tesseral-*.whl"))) == 1
