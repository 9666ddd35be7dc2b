"""Making reference data: killed and resumed, on Ray and inline, the file is the same; a failure costs one structure."""

import json
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tesseral.cluster.commands.cli import main
from tesseral.cluster.data import reference_parts
from tesseral.cluster.data.data_set_summary import summarise
from tesseral.cluster.data.recipe_run import BASIS, inline, run_recipe
from tesseral.models.data.reference_file import read_reference
from tesseral.models.data.references import open_reference
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.reference.calculation import calculation, normal_modes
from tesseral.study.errors import DataError, IncompleteError, StudyFileError
from tesseral.study.recipe.recipe import Recipe, read_recipe
from tesseral.study.records.document import seal
from tests.support.recipes import HEADER, HELIUM, HYDROGEN, TRIPLET, WATERS, inline_table, make, recipe


def sealed(storage: Path) -> dict[str, Path]:
    """Ids of the structures of which there is a row, and no file yet, each with where it lies."""
    return {pq.read_table(path)["id"][0].as_py(): path for path in storage.glob("reference/.parts/*/*.parquet")}


def timeless(path: Path) -> tuple[pa.Table, bytes]:
    """The file without what the clock wrote into it, and its bytes when it is written so."""
    file = pq.ParquetFile(path)
    groups = [file.read_row_group(index) for index in range(file.num_row_groups)]
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, file.schema_arrow, compression="zstd") as writer:
        for group in groups:
            for column, value in (("seconds", 0.0), ("timings", "{}")):
                place = group.column_names.index(column)
                group = group.set_column(place, group.field(column), pa.array([value] * len(group)))
            writer.write_table(group)
    return file.read().drop_columns(["seconds", "timings"]), sink.getvalue().to_pybytes()


DRIVER = """
import os, signal, sys, time
from tesseral.cluster.nodes.ray_session import as_completed
from tesseral.cluster.data.recipe_run import inline, run_recipe
from tesseral.study.recipe.recipe import read_recipe

def spread(function, *arguments):
    driver = os.getpid()

    def held(structure):
        while structure.id == {hold!r}:  # never computed, however fast the machine is
            try:
                os.kill(driver, 0)
            except ProcessLookupError:
                os._exit(1)
            time.sleep(0.05)
        return function(structure)

    for number, result in enumerate({spread}(held, *arguments), start=1):
        if number == {kill}:
            os.kill(os.getpid(), signal.SIGKILL)  # it was sealed before we are told of it
        yield result

def progress(done, total):
    print(done, total, flush=True)

run_recipe(read_recipe(sys.argv[1]), sys.argv[2], spread, progress)
"""


def drive(
    file: Path, storage: Path, spread: str, kill: int = 0, hold: str | None = None
) -> tuple[int, list[tuple[int, int]]]:
    """Exit code and the progress that was told, of another process; it kills itself at the `kill`-th result.

    :param hold: the structure of this id is not finished before the process ends.
    """
    command = [sys.executable, "-c", DRIVER.format(spread=spread, kill=kill, hold=hold), str(file), str(storage)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, [tuple(map(int, line.split())) for line in done.stdout.splitlines()]


@pytest.mark.long
def test_killed_twice_and_resumed_is_the_same_file_as_unbroken(tmp_path):
    """Killed on Ray, then inline, and ended on Ray; the unbroken one is made inline. So either makes the same rows."""
    file = recipe(tmp_path, WATERS.format(1, 6), HYDROGEN, WATERS.format(2, 2))
    killed, unbroken = tmp_path / "killed", tmp_path / "unbroken"
    assert drive(file, unbroken, "inline") == (0, [(done, 9) for done in range(10)])

    assert drive(file, killed, "as_completed", kill=3, hold="dimer-0001")[0] == -9
    first = len(sealed(killed))
    assert 3 <= first <= 8
    # What Ray's workers had all but finished may be sealed after the driver's end, at any time.
    code, told = drive(file, killed, "inline", kill=1)
    assert code == -9
    ((begun, total),) = told
    assert first <= begun <= 8
    assert total == 9
    second = len(sealed(killed))
    assert begun < second <= 9
    assert not (killed / "reference" / "small.parquet").exists()
    code, told = drive(file, killed, "as_completed")
    assert code == 0
    assert told == [(done, 9) for done in range(told[0][0], 10)]
    assert second <= told[0][0] <= 9
    assert sealed(killed) == {}

    paths = [folder / "reference" / "small.parquet" for folder in (killed, unbroken)]
    (rows, data), (expected, expected_data) = map(timeless, paths)
    assert rows.equals(expected)
    assert data == expected_data
    one, other = map(read_reference, paths)
    assert one.content_hash == other.content_hash
    names = [*(f"monomer-000{n}" for n in range(6)), "h2", *(f"dimer-000{n}" for n in range(2))]
    assert one.table["id"].to_pylist() == names


def test_killed_between_the_file_and_its_end_it_is_tidied(tmp_path, monkeypatch):
    monkeypatch.setattr("tesseral.study.records.store.Store.delete", lambda store, paths: None)
    location, made = make(tmp_path, HYDROGEN, HELIUM)
    assert made
    assert {*sealed(tmp_path)} == {"h2", "he"}
    monkeypatch.undo()
    assert make(tmp_path, HYDROGEN, HELIUM) == (location, False)
    assert not list(tmp_path.glob("reference/.parts/*/*"))


def test_parts_are_kept_until_the_file_was_read_back_whole(tmp_path, monkeypatch):
    """Of a file with one bit altered the footer is whole, which proves nothing."""
    file = tmp_path / "reference" / "small.parquet"

    def altered(*arguments, **metadata):
        made = reference_parts.assemble(*arguments, **metadata)
        data, column = bytearray(file.read_bytes()), pq.read_metadata(file).row_group(0).column(0)
        data[column.data_page_offset + column.total_compressed_size - 1] ^= 1
        file.unlink()
        file.write_bytes(data)
        return made

    monkeypatch.setattr("tesseral.cluster.data.recipe_run.assemble", altered)
    for when in ("as it is made", "at the next start"):
        with pytest.raises(DataError, match=r"small\.parquet cannot be read"):
            make(tmp_path, HYDROGEN, HELIUM)
        assert {*sealed(tmp_path)} == {"h2", "he"}, when
    monkeypatch.undo()
    file.unlink()
    told: list[tuple[int, int]] = []
    _, made = make(tmp_path, HYDROGEN, HELIUM, on_progress=lambda *done: told.append(done))
    assert (made, told) == (True, [(2, 2)]), "nothing is computed again"
    assert not list(tmp_path.glob("reference/.parts/*/*"))


def test_the_file_is_the_recipes_and_no_other_ones(tmp_path):
    location, _ = make(tmp_path, HYDROGEN)
    # What changes no number makes no other file.
    assert make(tmp_path, HYDROGEN, header=HEADER + "max_memory = 500\n") == (location, False)
    for other in ({"header": HEADER.replace("STO-3G", "6-31G")}, {"header": HEADER + 'metric = "overlap"\n'}):
        with pytest.raises(DataError, match=r"small.parquet was made by another recipe; give this one another"):
            make(tmp_path, HYDROGEN, **other)
    with pytest.raises(DataError, match="made by another recipe"):
        make(tmp_path, HYDROGEN.replace("0.74", "0.75"))


def test_a_torn_file_is_a_sentence(tmp_path):
    location, _ = make(tmp_path, HYDROGEN)
    path = Path(location)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"expected a whole Parquet file, .* cannot be read: .*remove it"):
        make(tmp_path, HYDROGEN)


def test_a_calculation_that_raises_costs_one_structure(tmp_path, monkeypatch):
    calculate = calculation.calculate
    said, told = [], []

    def failing(structure, method):
        if structure.id == "he":
            raise ZeroDivisionError("by\nzero")
        return calculate(structure, method)

    monkeypatch.setattr(calculation, "calculate", failing)
    listeners = {"on_progress": lambda *done: told.append(done), "on_failure": said.append}
    with pytest.raises(IncompleteError, match=r"1 of 3 structures could not be computed, .* the other 2 are kept"):
        make(tmp_path, HELIUM, HYDROGEN, WATERS.format(1, 1), **listeners)
    assert said == ["he could not be computed: ZeroDivisionError: by"]
    assert told == [(0, 3), (1, 3), (2, 3)]
    assert {*sealed(tmp_path)} == {"h2", "monomer-0000"}
    monkeypatch.setattr("tesseral.cluster.data.recipe_run.NAMED", 0)
    with pytest.raises(IncompleteError, match=r"says without = \[…\], with the ids printed above$"):
        make(tmp_path, HELIUM, HYDROGEN, WATERS.format(1, 1))
    monkeypatch.setattr("tesseral.cluster.data.recipe_run.NAMED", 2)
    less = HEADER.replace("[method]", 'without = ["h2"]\n[method]')
    with pytest.raises(IncompleteError, match=r"""says without = \["h2", "he"\]$"""):
        make(tmp_path, HELIUM, HYDROGEN, WATERS.format(1, 1), header=less)
    (trace,) = tmp_path.glob("reference/.parts/*/he.txt")
    assert "in failing" in trace.read_text()

    monkeypatch.undo()
    told.clear()
    location, made = make(tmp_path, HELIUM, HYDROGEN, WATERS.format(1, 1), **listeners)
    assert made
    assert told == [(2, 3), (3, 3)]
    assert read_reference(location).table["id"].to_pylist() == ["he", "h2", "monomer-0000"]
    assert not list(tmp_path.glob("reference/.parts/*/*"))


def test_the_command_says_what_failed_and_ends_with_1(tmp_path, monkeypatch, capsys):
    file = recipe(tmp_path, TRIPLET, HYDROGEN)
    command = ["tesseral", "reference", "make", str(file), "--storage", str(tmp_path), "--executor", "inline"]
    monkeypatch.setattr("warnings.showwarning", warnings.showwarning)  # the command sets its own
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit, match=r"^1$"):
        main()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("tesseral: triplet could not be computed: method.basis: expected a basis with orbitals for")
    assert second.startswith("tesseral: 1 of 2 structures could not be computed")
    assert second.endswith("""leaves them out if the recipe's [reference] says without = ["triplet"]""")
    assert {*sealed(tmp_path)} == {"h2"}

    recipe(tmp_path, TRIPLET, HYDROGEN, header=HEADER.replace("[method]", 'without = ["triplet"]\n[method]'))
    with pytest.raises(SystemExit, match=r"^0$"):
        main()
    assert "1/1" in (shown := capsys.readouterr().out)
    assert "Made: 1 structure of H; HF/STO-3G, density fitted in " in shown
    monkeypatch.setattr("sys.argv", [*command, "--json"])
    with pytest.raises(SystemExit, match=r"^0$"):
        main()
    printed = json.loads(capsys.readouterr().out)
    assert (printed["made"], printed["structures"], printed["elements"]) == (False, 1, ["H"])
    assert printed["content_hash"] == read_reference(printed["reference"]).content_hash


@pytest.mark.parametrize(
    ("table", "header", "sentence"),
    [
        (inline_table("x", "H H", [[0, 0, 0], [0, 0, 0]]), HEADER, "atoms 0 and 1 of x are 0 Å apart"),
        (inline_table("x", "O H", [[0, 0, 0], [0, 0, 0.97]]), HEADER, "9 electrons allow, x has 0"),
        (inline_table("x", "H", [[0, 0, 0]], "charge = 1\nspin = 0\n"), HEADER, "0 electrons allow, x has 0"),
        (inline_table("x", "H", [[0, 0, float("nan")]]), HEADER, "expected a finite number, got NaN"),
        (inline_table("x", "Og", [[0, 0, 0]]), HEADER, "basis: expected .* Og"),
        (HYDROGEN, HEADER.replace("HF", "HFX9"), "method.method: expected 'HF' or a functional"),
        ('[[structures]]\nkind = "xyz"\nfile = "nan.xyz"\n', HEADER, "finite coordinates, atom 1 in frame 0 of"),
        ('[[structures]]\nkind = "xyz"\nfile = "none.xyz"\n', HEADER, "extended XYZ file at .*none.xyz, cannot"),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_refused_before_anything_is(table, header, sentence, tmp_path):
    (tmp_path / "nan.xyz").write_text("2\n\nH 0 0 0\nH 0 nan 0.74\n")
    with pytest.raises((DataError, StudyFileError), match=sentence) as error:
        make(tmp_path, HELIUM, table, header=header)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "reference").exists()


def test_rows_are_written_in_groups_that_fit_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(reference_parts, "ROW_GROUP", 130_000)  # a water is 45 kB
    tables = (WATERS.format(1, 10), HYDROGEN)
    location, _ = make(tmp_path, *tables)
    file = pq.ParquetFile(location)
    sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
    assert sum(sizes) == 11
    assert 3 <= len(sizes) <= 6  # two or three waters each
    assert read_reference(location).table["id"][-1].as_py() == "h2"


@pytest.mark.parametrize("spoil", ["torn", "altered", "gone"])
def test_a_part_that_is_not_what_was_sealed_is_named_and_computed_again(spoil, tmp_path, monkeypatch):
    spoilt = []

    def spoiled(store, path, parts, rows, basis, **metadata):
        if not spoilt:
            spoilt.append(sealed(tmp_path)["h2"])
            data = spoilt[0].read_bytes()
            spoilt[0].unlink()
            if spoil != "gone":
                spoilt[0].write_bytes(data[:-9] if spoil == "torn" else data.replace(b"HF", b"KF", 1))
        return reference_parts.assemble(store, path, parts, rows, basis, **metadata)

    monkeypatch.setattr("tesseral.cluster.data.recipe_run.assemble", spoiled)
    told: list[tuple[int, int]] = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        location, made = make(tmp_path, HYDROGEN, HELIUM, on_progress=lambda *done: told.append(done))
    assert made
    assert told[-2:] == [(1, 2), (2, 2)]
    assert read_reference(location).table["id"].to_pylist() == ["h2", "he"]
    named = [str(one.message) for one in said if "the row of h2, is damaged and is computed again" in str(one.message)]
    assert len(named) == (spoil != "gone")


def test_a_damaged_basis_is_computed_again(tmp_path, monkeypatch):
    killed_before_the_end(tmp_path, monkeypatch, HYDROGEN)
    (basis,) = tmp_path.glob(f"reference/.parts/*/{BASIS}-*.json")
    whole = basis.read_bytes()
    basis.write_bytes(whole.replace(b"1", b"2", 1))
    with pytest.warns(UserWarning, match=r"basis-.*\.json is damaged and is computed again"):
        location, _ = make(tmp_path, HYDROGEN)
    assert read_reference(location).basis == AuxiliaryBasis.from_json(whole.decode())


def test_a_density_that_its_basis_cannot_fit_is_a_failed_row(tmp_path, monkeypatch):
    """As with an auxiliary basis that was made for a core potential: ε is 41 % of HI in def2-universal-jfit."""
    monkeypatch.setattr(reference_parts, "WORST_FIT", 1e-3)
    said: list[str] = []
    with pytest.raises(IncompleteError):
        make(tmp_path, HYDROGEN, on_failure=said.append)
    (sentence,) = said
    assert sentence.startswith("h2 could not be computed: method.auxiliary_basis: expected a basis that fits")
    assert "more than 0.001 %" in sentence


class Killed(BaseException):
    """The process ends."""


def killed_before_the_end(storage: Path, monkeypatch, *tables: str, **listeners) -> None:
    """Every structure is sealed, and no file made."""

    def end(*_, **__):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("tesseral.cluster.data.recipe_run.assemble", end)
        with pytest.raises(Killed):
            make(storage, *tables, **listeners)


def test_isolated_atoms_are_sealed_with_the_first_structure(tmp_path, monkeypatch):
    killed_before_the_end(tmp_path, monkeypatch, HYDROGEN)
    (basis,) = tmp_path.glob(f"reference/.parts/*/{BASIS}-*.json")
    tree = json.loads(basis.read_text())
    del tree["sha256"]
    basis.write_bytes(seal(tree | {"name": f"marked {tree['name']}"}))
    sealed(tmp_path)["h2"].unlink()
    location, _ = make(tmp_path, HYDROGEN)
    assert read_reference(location).basis.name.startswith("marked ")


def test_a_changed_recipe_takes_over_what_it_has_in_common(tmp_path, monkeypatch):
    """A raised count, a table less, one more, and another name of one: only what is new is computed."""
    killed_before_the_end(tmp_path, monkeypatch, WATERS.format(1, 3), HYDROGEN, HELIUM)
    told: list[tuple[int, int]] = []
    changed = (HYDROGEN.replace('"h2"', '"hydrogen"'), WATERS.format(1, 5))
    location, made = make(tmp_path, *changed, on_progress=lambda *done: told.append(done))
    assert made
    assert told == [(4, 6), (5, 6), (6, 6)]
    reference = read_reference(location)
    assert reference.table["id"].to_pylist() == ["hydrogen", *(f"monomer-000{number}" for number in range(5))]
    assert reference.elements == (1, 8)

    anew = tmp_path / "anew"
    anew.mkdir()
    (rows, data), (expected, expected_data) = (timeless(Path(place)) for place in (location, make(anew, *changed)[0]))
    assert rows.equals(expected)
    assert data == expected_data


def test_a_row_is_another_ones_by_every_key_that_decides_it(tmp_path, monkeypatch):
    def computed(*tables: str, header: str = HEADER) -> int:
        told: list[tuple[int, int]] = []
        killed_before_the_end(
            tmp_path, monkeypatch, *tables, header=header, on_progress=lambda *done: told.append(done)
        )
        return len(told) - 1

    assert computed(HYDROGEN) == 1
    assert computed(HYDROGEN) == 0
    assert computed(HYDROGEN, header=HEADER + "max_memory = 500\n") == 0
    assert computed(HYDROGEN.replace("0.74", "0.75")) == 1
    assert computed(HYDROGEN + "charge = -2\n") == 1
    assert computed(HYDROGEN + "spin = 2\n") == 1
    assert computed(HYDROGEN, header=HEADER.replace("STO-3G", "6-31G")) == 1
    for program in ("pyscf", "tesseral", "basis_set_exchange"):
        with monkeypatch.context() as patched:
            patched.setattr(reference_parts, "version", lambda name, new=program: version(name) + ".1" * (name == new))
            assert computed(HYDROGEN) == 1
            assert computed(HYDROGEN) == 0
    assert computed(HYDROGEN) == 0


def test_a_minimum_and_its_vibrations_are_computed_once_and_sealed(tmp_path, monkeypatch):
    displaced = HYDROGEN.replace('"inline"', '"displacements"') + 'count = 2\nmethod = "HF"\nbasis = "STO-3G"\n'
    monkeypatch.setattr(normal_modes, "_KNOWN", {})
    killed_before_the_end(tmp_path, monkeypatch, displaced)
    first = {name: pq.read_table(path)["positions"] for name, path in sealed(tmp_path).items()}
    normal_modes._KNOWN.clear()  # as another process begins

    def again(*_):
        raise AssertionError("it was sealed")

    monkeypatch.setattr(normal_modes, "_compute", again)
    location, _ = make(tmp_path, displaced)
    table = read_reference(location).table
    assert dict(zip(table["id"].to_pylist(), table["positions"].to_pylist(), strict=True)) == {
        name: positions[0].as_py() for name, positions in first.items()
    }


@pytest.mark.parametrize("moment", ["begun", "computing", "failing", "making"])
@pytest.mark.parametrize("place", ["local", "s3"])
def test_of_two_runs_at_once_the_slower_finds_it_made(moment, place, tmp_path, monkeypatch, request):
    """The other run makes the whole file, and removes the rows, at one moment or another of this one."""
    url = str(tmp_path) if place == "local" else f"{request.getfixturevalue('bucket')}/{moment}"
    loaded = read_recipe(recipe(tmp_path, HYDROGEN, HELIUM))
    others: list[tuple[str, bool]] = []

    def other() -> None:
        if not others:
            others.append(("", False))  # it is not its own other
            others[0] = run_recipe(loaded, url, inline)

    def spread(function, items, lost, memory):
        for item in items:
            result = function(item)
            if moment != "making":
                other()
            yield item, "he could not be computed" if moment == "failing" else result

    reference_basis = calculation.reference_basis

    def basis(*arguments):
        computed = reference_basis(*arguments)
        if moment == "begun":
            other()
        return computed

    monkeypatch.setattr(calculation, "reference_basis", basis)
    assemble = reference_parts.assemble

    def late(*arguments, **metadata):
        if moment == "making":
            other()
        return assemble(*arguments, **metadata)

    monkeypatch.setattr("tesseral.cluster.data.recipe_run.assemble", late)
    location, made = run_recipe(loaded, url, spread)
    assert others == [(location, True)]
    assert not made
    assert len(open_reference("", location)) == 2
    assert run_recipe(loaded, url, inline) == (location, False)


def test_a_file_that_another_recipe_made_meanwhile_is_refused(tmp_path):
    def spread(*arguments):
        make(tmp_path, HELIUM)
        return inline(*arguments)

    loaded = read_recipe(recipe(tmp_path, HYDROGEN))
    with pytest.raises(DataError, match="made by another recipe"):
        run_recipe(loaded, str(tmp_path), spread)


def test_an_object_store_holds_the_same(tmp_path, bucket):
    local, _ = make(tmp_path, HYDROGEN, HELIUM)
    loaded: Recipe = read_recipe(recipe(tmp_path, HYDROGEN, HELIUM))
    remote, made = run_recipe(loaded, f"{bucket}/made", inline)
    assert made
    assert run_recipe(loaded, f"{bucket}/made", inline) == (remote, False)
    told = [summarise(location) | {"reference": "", "seconds": 0.0} for location in (remote, local)]
    assert told[0] == told[1]
    assert open_reference("", remote).content_hash == open_reference("", local).content_hash
    with pytest.raises(DataError, match="made by another recipe"):
        run_recipe(read_recipe(recipe(tmp_path, HELIUM)), f"{bucket}/made", inline)
