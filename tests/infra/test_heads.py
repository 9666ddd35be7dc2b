"""Each file says at its head when to use it, and the commands that do."""

from pathlib import Path

import pytest

INFRA = Path(__file__).parents[2] / "infra"
FILES = sorted(
    path
    for path in INFRA.rglob("*")
    if path.is_file()
    and INFRA / "namespace" not in path.parents
    and path.suffix not in (".json", ".md", ".dockerignore")
)
PROVISIONED = ("datasource.yaml", "dashboards.yaml")
"""Files that Compose gives to Grafana: nobody begins with them."""


def head(path: Path) -> list[str]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#!")]
    return lines[: next(number for number, line in enumerate(lines) if not line.startswith("#") or "#SBATCH" in line)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(INFRA)))
def test_about_ten_lines_and_three_commands(path):
    lines = head(path)
    if path.name in PROVISIONED:
        assert "infra/compose.yaml" in lines[0]
        return
    assert 8 <= len(lines) <= 15
    commands = [line for line in lines if line.startswith("#     ")]
    assert 3 <= len(commands) <= 4
    assert all(len(line) <= 120 for line in path.read_text().splitlines())
