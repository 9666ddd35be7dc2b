"""`tesseral table`: numbers for programs, text for papers, and one sentence for a mistake."""

import io

import polars as pl
import pytest
from typer.testing import CliRunner

from tesseral.cluster.commands import display
from tesseral.cluster.commands.app import app
from tesseral.study.errors import DataError
from tesseral.study.records.store import Store
from tests.support.synthetic_study import tuned_study


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    tuned_study(Store(folder))
    return folder


def table(storage, *words: object):
    return CliRunner().invoke(app, ["table", "tuned", *map(str, words), "--storage", str(storage)])


def test_csv_and_parquet_hold_the_same_numbers(storage, tmp_path):
    done = table(storage, "comparisons", "--csv")
    assert done.exit_code == 0, done.output
    assert table(storage, "comparisons", "--parquet", "-o", tmp_path / "c.parquet").exit_code == 0
    text, binary = pl.read_csv(io.StringIO(done.stdout)), pl.read_parquet(tmp_path / "c.parquet")
    assert text.columns == binary.columns
    assert text["change"].to_list() == pytest.approx(binary["change"].to_list())
    trials = pl.read_csv(io.StringIO(table(storage, "trials", "--csv").stdout))
    assert {"trial", "arm", "stage"} <= set(trials.columns)
    assert any(column.startswith("metric.test.") for column in trials.columns)


def test_a_narrow_terminal_shows_whole_columns_and_names_those_left_out(storage, monkeypatch):
    """Never halves of labels and numbers."""
    monkeypatch.setattr(display.console, "width", 60)
    wide, narrow = table(storage, "--markdown").stdout.splitlines(), table(storage).stdout
    for line in (line for line in wide[2:] if line.startswith("|")):
        label, error = (cell.strip() for cell in line.strip("|").split("|")[0:3:2])
        assert label.replace("\\", "") in narrow
        assert error.replace("\\", "") in narrow
    assert "change, %, settings found" in narrow
    (told,) = (line for line in narrow.splitlines() if "parameters" in line)
    assert told.endswith("have no room here: widen the terminal, or choose a format, such as --markdown.")


def test_text_is_printed_or_written(storage, tmp_path):
    assert table(storage).stdout.startswith("arm")
    assert table(storage, "--markdown").stdout.startswith("| arm |")
    done = table(storage, "--latex", "-o", tmp_path / "arms.tex")
    assert f"Written: {tmp_path / 'arms.tex'}" in done.stdout.replace("\n", "")
    assert (tmp_path / "arms.tex").read_text().startswith(r"\begin{tabular}")
    for way in ((), ("--markdown",), ("--latex",)):
        assert ": 95 % intervals for the settings found." in table(storage, *way).stdout
        assert "95 %" not in table(storage, "trials", *way).stdout


@pytest.mark.parametrize(
    ("name", "begins"),
    [("t.csv", b"arm,"), ("t.parquet", b"PAR1"), ("t.tex", rb"\begin{tabular}"), ("t.md", b"| arm |")],
)
def test_the_ending_of_the_file_decides_the_format(storage, tmp_path, name, begins):
    assert table(storage, "-o", tmp_path / name).exit_code == 0
    assert (tmp_path / name).read_bytes().startswith(begins)
    assert table(storage, "--markdown", "-o", tmp_path / name).exit_code == 0
    assert (tmp_path / name).read_bytes().startswith(b"| arm |"), "what is asked for comes first"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("arm",), "expected one of arms, trials, comparisons, got 'arm'"),
        (("--csv", "--latex"), "expected one format, got --csv and --latex"),
        (("--parquet",), "expected a file to write with --parquet"),
        (("-o", "arms.txt"), r"expected a file that ends in \.csv, \.parquet, \.tex, \.md, or a format, got arms\.txt"),
    ],
)
def test_a_mistake_is_one_sentence(storage, words, sentence):
    with pytest.raises(DataError, match=sentence):
        raise table(storage, *words).exception
