"""Reference files: what is written comes back, content decides the hash, and a bad file is one clear sentence."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tesseral.models.data.reference_file import TARGETS, encode_reference, read_reference
from tesseral.models.data.target_columns import has_spread
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis, Shell
from tesseral.study.configuration.quantities import Label
from tesseral.study.configuration.target import Target
from tesseral.study.errors import DataError
from tesseral.study.parsing.irreps import parse_irreps
from tesseral.study.records.schemas import CURVES, REFERENCE, to_table

BASIS = AuxiliaryBasis(
    "two shells",
    {1: (Shell(0, (0.5,), (1.0,), 0.7),), 8: (Shell(0, (2.0,), (1.0,), 3.1), Shell(1, (1.1,), (1.0,)))},
)


def triangle(scale: "float | np.ndarray" = 1.0) -> np.ndarray:
    """The lower triangle of a made-up overlap of five functions of unit norm."""
    values = np.linspace(0, 0.5, 15) * scale
    values[[0, 2, 5, 9, 14]] = 1.0
    return values


def row(name: str, **changes: object) -> dict:
    """A hydroxyl of made-up numbers: 5 functions, so 15 elements of the overlap's triangle."""
    return {
        "id": name,
        "atomic_numbers": [8, 1],
        "positions": [[0.0, 0.0, 0.0], [0.0, 0.3, 0.9]],
        "charge": 0,
        "converged": True,
        "coefficients": [[1.0, 2.0, 3.0, 4.0], [5.0]],
        "overlap": triangle(),
        "energy": -75.5,
    } | changes


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "water.parquet"


def test_what_is_written_comes_back(path):
    path.write_bytes(encode_reference([row("a"), row("b", overlap=None, energy=None)], BASIS, recipe="a recipe"))
    read = read_reference(path)
    assert read.basis == BASIS
    assert len(read) == 2
    assert read.table.schema.equals(REFERENCE)
    assert read.table["coefficients"].to_pylist() == [row("a")["coefficients"]] * 2
    assert read.table["overlap"][0].as_py() == row("a")["overlap"].tolist()
    assert read.table["energy"].to_pylist() == [-75.5, None]
    assert read.table.schema.metadata[b"tesseral.recipe"] == b"a recipe"


def test_open_files_and_bytes_are_read_too(path):
    content = encode_reference([row("a")], BASIS)
    path.write_bytes(encode_reference([row("a")], BASIS))
    with path.open("rb") as file:
        assert read_reference(file).content_hash == read_reference(io.BytesIO(content)).content_hash
    with pytest.raises(DataError, match="s3://bucket/water cannot be read"):
        read_reference(io.BytesIO(content[:-10]), "s3://bucket/water")


@pytest.mark.parametrize(
    "change",
    [
        {"charge": 1},
        {"converged": False},
        {"atomic_numbers": [1, 8], "coefficients": [[5.0], [1.0, 2.0, 3.0, 4.0]]},
        {"positions": [[0.0, 0.0, 0.0], [0.0, 0.3, 0.9 + 1e-15]]},
        {"coefficients": [[1.0, 2.0, 4.0, 3.0], [5.0]]},
        {"overlap": triangle(1 + 1e-15)},
        {"overlap": None},
    ],
)
def test_the_hash_changes_with_what_training_sees(change):
    assert hash_of([row("a"), row("b")]) != hash_of([row("a"), row("b", **change)])


def hash_of(rows: list[dict], basis: AuxiliaryBasis = BASIS, **metadata: str) -> str:
    return read_reference(io.BytesIO(encode_reference(rows, basis, **metadata))).content_hash


def test_the_hash_does_not_change_with_what_training_does_not_see():
    plain = hash_of([row("a"), row("b")])
    renamed = [row("c", seconds=1.0, provenance="{}", method="HF", spin=2), row("d", fit_error=0.5)]
    assert hash_of(renamed, recipe="another") == plain
    assert len(plain) == 64


def test_the_hash_knows_order_basis_and_where_lists_end():
    turned = row("b", coefficients=[[1.5, 2.0, 3.0, 4.0], [5.0]])
    assert hash_of([row("a"), turned]) != hash_of([turned, row("a")])
    shells = BASIS.shells | {1: (Shell(0, (0.5,), (1.0,), 0.8),)}
    assert hash_of([row("a")], AuxiliaryBasis("two shells", shells)) != hash_of([row("a")])
    assert hash_of([row("a"), row("b", overlap=None)]) != hash_of([row("a", overlap=None), row("b")])


def test_the_hash_is_the_same_however_the_file_is_cut(tmp_path):
    rows = [row(str(i), positions=[[0.0, 0.0, 0.0], [0.0, 0.1 * i, 0.9]], converged=i != 3) for i in range(10)]
    table = read_reference(io.BytesIO(encode_reference(rows, BASIS))).table
    pq.write_table(table, tmp_path / "cut.parquet", row_group_size=3, compression="none")
    cut = read_reference(tmp_path / "cut.parquet")
    assert cut.content_hash == hash_of(rows)
    assert cut.converged.content_hash == hash_of([one for one in rows if one["converged"]])


def test_rows_that_did_not_converge_are_left_out():
    rows = [row("a"), row("b", converged=False), row("c")]
    converged = read_reference(io.BytesIO(encode_reference(rows, BASIS))).converged
    assert converged.table["id"].to_pylist() == ["a", "c"]
    assert converged.basis == BASIS


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "expected at least one structure, .* holds no rows"),
        ([row("a"), row("a")], "expected an id of its own for each structure, .* holds 'a' more than once"),
        ([row("a", id=None)], "expected id in every row, .* holds 1 without it"),
        ([row("a", converged=None)], "expected converged in every row"),
        ([row("a", atomic_numbers=[8, 2])], r"expected the elements \[1, 8\] .*'a' .* holds \[2\]"),
        ([row("a", positions=[[0.0, 0.0, 0.0]])], "each of 2 atoms, structure 'a' .* has 1 positions"),
        ([row("a", coefficients=[[1.0, 2.0], [5.0]])], r"\(\[4, 1\]\), structure 'a' .* coefficients \[2, 1\]"),
        ([row("a", coefficients=[[1.0] * 4])], r"coefficients \[4\]"),
        ([row("a", atomic_numbers=[], positions=[], coefficients=[])], "each of 0 atoms"),
        ([row("b"), row("a", overlap=np.ones(14))], "expected 15 elements .* structure 'a' .* has 14"),
        ([row("a", coefficients=[[1.0, 2.0, np.nan, 4.0], [5.0]])], "expected finite numbers, .* in coefficients"),
        ([row("a", positions=[[0.0, 0.0, np.inf], [0.0] * 3])], "expected finite numbers, .* in positions"),
        ([row("a", charge="none")], "expected the columns and types of"),
    ],
)
def test_rows_that_contradict_themselves_are_not_written(rows, sentence):
    with pytest.raises(DataError, match=sentence):
        encode_reference(rows, BASIS)


def test_rows_that_contradict_themselves_are_not_read(tmp_path):
    good = read_reference(io.BytesIO(encode_reference([row("a")], BASIS)))
    bad = to_table([row("a", coefficients=[[1.0, 2.0], [5.0]])], good.table.schema)
    pq.write_table(bad, tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=r"structure 'a' in .*bad\.parquet"):
        read_reference(tmp_path / "bad.parquet")


def test_torn_files_are_refused(path):
    path.write_bytes(
        encode_reference([row(str(i), overlap=triangle(np.random.default_rng(i).random(15))) for i in range(50)], BASIS)
    )
    whole = path.read_bytes()
    for length in (0, 4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"expected a whole Parquet file of reference data, .* cannot be read"):
            read_reference(path)
    middle = len(whole) // 4
    path.write_bytes(whole[:middle] + bytes(200) + whole[middle + 200 :])
    with pytest.raises(DataError, match="cannot be read"):
        read_reference(path)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.parquet, found no file there; make it or import it"):
        read_reference(tmp_path / "absent.parquet")
    with pytest.raises(DataError, match="found a folder there"):
        read_reference(tmp_path)
    path = tmp_path / "other.parquet"
    path.write_text("id,energy\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_reference(path)
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(DataError, match="is another program's Parquet file"):
        read_reference(path)
    pq.write_table(to_table([], CURVES), path)
    with pytest.raises(DataError, match=r"expected a table 'reference' of version 1, .* is 'curves' of version 1"):
        read_reference(path)


def test_other_versions_columns_and_types_are_refused(tmp_path):
    path = tmp_path / "changed.parquet"
    table = read_reference(io.BytesIO(encode_reference([row("a")], BASIS))).table
    metadata = table.schema.metadata

    def refused(changed: pa.Table, sentence: str) -> None:
        pq.write_table(changed, path)
        with pytest.raises(DataError, match=sentence):
            read_reference(path)

    refused(table.replace_schema_metadata(metadata | {b"tesseral.version": b"2"}), "is 'reference' of version 2")
    refused(table.drop_columns(["converged", "positions"]), "lacks positions, converged")
    without = {key: value for key, value in metadata.items() if key != b"tesseral.auxiliary"}
    refused(table.replace_schema_metadata(without), "expected the auxiliary basis in the file's metadata")
    for text in (b"{", b"[]", b'{"name": "x"}', b'{"name": "x", "shells": {"1": [{"l": 0}]}}'):
        broken = metadata | {b"tesseral.auxiliary": text}
        refused(table.replace_schema_metadata(broken), "expected the auxiliary basis in the file's metadata")
    index = table.schema.get_field_index("charge")
    text_charge = table.set_column(index, "charge", pa.array(["none"]))
    refused(text_charge.replace_schema_metadata(metadata), "expected the columns and types of")


def test_columns_that_a_training_can_do_without_may_be_missing_and_unknown_ones_are_left_out(tmp_path):
    path = tmp_path / "older.parquet"
    table = read_reference(io.BytesIO(encode_reference([row("a")], BASIS))).table
    older = table.drop_columns(["overlap", "octupole"])
    novel = table.append_column("novel", pa.array([1]))
    for changed, overlap in ((older, None), (novel, table["overlap"][0].as_py())):
        pq.write_table(changed, path)
        restored = read_reference(path).table
        assert restored.schema.equals(REFERENCE)
        assert restored["overlap"].to_pylist() == [overlap]


@pytest.mark.parametrize(
    ("column", "bit", "sentence"),
    [
        (b"overlap", 1, r"lacks overlap and has 'ovdrlap'; restore the file from a copy, or remove it"),
        (b"fit_error", 1, r"lacks fit_error and has 'fiu_error'; restore"),
        (b"centre", 128, r"cannot be read: 'utf-8' codec can't decode .*; restore it from a copy"),
    ],
)
def test_a_flipped_bit_in_the_name_of_a_column_is_seen(column, bit, sentence, path):
    """Else the column would be missing, which files of earlier versions may be."""
    content = encode_reference([row("a", fit_error=1.25)], BASIS)
    changed = bytearray(column)
    changed[2] ^= bit
    path.write_bytes(content.replace(column, bytes(changed)))
    with pytest.raises(DataError, match=sentence):
        read_reference(path)


LABELS = {
    "beta": Label(parse_irreps("1o+3o"), "au", "structure"),
    "shielding": Label(parse_irreps("0e"), "ppm", "atom"),
}


def labelled(name: str, **changes: object) -> dict:
    """A row without coefficients, with a label of either kind."""
    given = {"label.beta": np.arange(10.0), "label.shielding": [[30.0], [100.0]], "dipole": [0.0, 0.1, 0.2]}
    return {key: value for key, value in row(name).items() if key not in ("coefficients", "overlap")} | given | changes


def test_labels_without_a_density_come_back(path):
    rows = [labelled("a"), labelled("b", **{"label.beta": None})]
    path.write_bytes(encode_reference(rows, None, labels=LABELS))
    read = read_reference(path)
    assert read.basis is None
    assert read.labels == LABELS
    assert read.elements == (1, 8)
    assert read.filled == ("energy", "dipole", "label.beta", "label.shielding")
    assert read.table["label.beta"].to_pylist() == [list(range(10)), None]
    assert read.table["label.shielding"].to_pylist() == [[[30.0], [100.0]]] * 2
    assert read.table["coefficients"].null_count == 2
    assert read.converged.labels == LABELS
    assert LABELS["beta"].width == 10


def test_the_elements_are_those_of_the_basis_or_of_what_converged():
    with_basis = io.BytesIO(
        encode_reference([row("a", atomic_numbers=[1, 1], coefficients=[[1.0], [2.0]], overlap=None)], BASIS)
    )
    assert read_reference(with_basis).elements == (1, 8)
    rows = [labelled("a"), labelled("b", atomic_numbers=[7, 1], converged=False)]
    assert read_reference(io.BytesIO(encode_reference(rows, None, labels=LABELS))).elements == (1, 8)


@pytest.mark.parametrize(
    "change",
    [
        {"energy": None},
        {"dipole": [0.0, 0.1, 0.2 + 1e-15]},
        {"forces": [[0.0] * 3] * 2},
        {"polarizability": [1.0] * 6},
        {"gap": 0.5},
        {"label.beta": None},
        {"label.shielding": [[30.0], [100.5]]},
    ],
)
def test_the_hash_knows_every_column_that_can_be_a_target(change):
    plain, other = (
        read_reference(io.BytesIO(encode_reference([labelled("a"), second], None, labels=LABELS))).content_hash
        for second in (labelled("b"), labelled("b", **change))
    )
    assert plain != other


def test_the_hash_knows_what_labels_mean():
    rows = [labelled("a")]
    hashes = {
        read_reference(io.BytesIO(encode_reference(rows, None, labels=LABELS | {"beta": beta}))).content_hash
        for beta in (
            LABELS["beta"],
            Label(parse_irreps("10x0e"), "au", "structure"),
            Label(parse_irreps("1o+3o"), "bohr", "structure"),
        )
    }
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dipole": [0.0, 1.0]}, "expected 3 numbers in dipole, structure 'a' in the new file has 2"),
        ({"polarizability": [0.0] * 9}, "expected 6 numbers in polarizability, .* has 9"),
        ({"label.beta": [0.0] * 3}, r"expected 10 numbers in label\.beta, .* has 3"),
        ({"label.shielding": [[1.0]]}, r"expected an entry of label\.shielding for each of 2 atoms, .* has 1"),
        ({"label.shielding": [[1.0], [1.0, 2.0]]}, r"expected 1 numbers for each atom in label\.shielding, .* has 2"),
        ({"forces": [[0.0] * 3]}, "expected an entry of forces for each of 2 atoms"),
        ({"charges": [0.0] * 3}, "expected an entry of charges for each of 2 atoms, .* has 3"),
        ({"energy": float("nan")}, "expected finite numbers, structure 'a' .* in energy"),
        ({"label.beta": [0.0] * 9 + [np.inf]}, r"others in label\.beta"),
        ({"forces": [[0.0] * 3, [0.0, None, 0.0]]}, "others in forces"),
        ({"forces": [[0.0] * 3, None]}, "has none for one in forces"),
        ({"positions": [[0.0] * 3, None]}, "has none for one in positions"),
        ({"coefficients": [[1.0], [2.0]]}, "structure 'a' in the new file has coefficients and no basis"),
    ],
)
def test_labels_that_contradict_their_irreps_are_not_written(change, sentence):
    with pytest.raises(DataError, match=sentence):
        encode_reference([labelled("b"), labelled("a", **change)], None, labels=LABELS)


def test_the_row_is_named_however_far_down_it_stands():
    rows = [labelled(str(i)) for i in range(700)]
    rows[600]["label.shielding"] = [[1.0], [float("nan")]]
    with pytest.raises(DataError, match=r"structure '600' .* in label\.shielding"):
        encode_reference(rows, None, labels=LABELS)


def test_a_row_that_did_not_converge_needs_no_coefficients():
    lost = row("b", converged=False, coefficients=None, overlap=None)
    assert len(read_reference(io.BytesIO(encode_reference([row("a"), lost], BASIS)))) == 2
    with pytest.raises(DataError, match="expected coefficients in every row that converged, structure 'b'"):
        encode_reference([row("a"), lost | {"converged": True}], BASIS)


def test_labels_that_are_not_declared_or_not_there_are_refused(path):
    table = read_reference(io.BytesIO(encode_reference([labelled("a")], None, labels=LABELS))).table
    metadata = table.schema.metadata
    for text in (b"[]", b"{", b'{"beta": {}}', b'{"beta": {"irreps": "x", "unit": "", "per": "atom"}}'):
        pq.write_table(table.replace_schema_metadata(metadata | {b"tesseral.labels": text}), path)
        with pytest.raises(DataError, match="expected labels declared in the file's metadata"):
            read_reference(path)
    pq.write_table(table.drop_columns(["label.beta"]), path)
    with pytest.raises(DataError, match=r"lacks label\.beta"):
        read_reference(path)


def test_the_order_of_target_columns_stays():
    """It is part of every file's content hash, and so of every trial's id: new columns come at the end."""
    first = ("coefficients", "energy", "forces", "dipole", "quadrupole", "octupole", "polarizability")
    assert (*first, "homo", "lumo", "gap", "r2") == TARGETS[:11]


def test_a_file_proves_its_content(path):
    """A value that was altered, with the Parquet file still whole; and a file of an earlier version, which is read."""
    content = encode_reference([row("a"), row("b")], BASIS)
    table = pq.read_table(io.BytesIO(content))
    assert table.schema.metadata[b"tesseral.content"].decode() == read_reference(io.BytesIO(content)).content_hash
    changed = table.set_column(table.column_names.index("energy"), "energy", pa.array([-75.5, -75.25]))
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(DataError, match=r"water\.parquet is damaged: its rows do not match"):
        read_reference(path)
    old = {key: value for key, value in table.schema.metadata.items() if key != b"tesseral.content"}
    pq.write_table(changed.replace_schema_metadata(old), path)
    assert read_reference(path).table["energy"].to_pylist() == [-75.5, -75.25]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Expecting value"),
        ("[]", "expected a name and shells"),
        ("[" * 100_000, "expected a name and shells, got lists in lists"),
        ('{"name": "x", "shells": {}}', "expected a name and shells"),
        ('{"name": "x", "shells": [1]}', "expected a name and shells by element"),
        ('{"name": "x", "shells": {"-1": []}}', "expected an atomic number from 1 to 118, got '-1'"),
        ('{"name": "x", "shells": {"1": []}}', "expected a list of 1 to 1000 shells"),
        ('{"name": "x", "shells": {"1": [3]}}', "expected l, exponents, coefficients and isolated"),
        (BASIS.to_json().replace("0.5", "0.0"), "expected a number from 1e-12 to 1e.12 as exponent of H, got 0.0"),
        (BASIS.to_json().replace("0.5", "1e999"), ".*exponent of H, got inf"),
        (BASIS.to_json().replace("0.5", "NaN"), ".*exponent of H, got nan"),
        (BASIS.to_json().replace("[0.5]", "[0.5, 0.25]"), "expected as many coefficients as exponents .* H"),
        (BASIS.to_json().replace('"l": 0', '"l": 40'), "expected l from 0 to 12 of each shell of H, got 40"),
        (BASIS.to_json().replace('"l": 0', '"l": "s"'), "expected l from 0 to 12 of each shell of H, got s"),
        (BASIS.to_json().replace('"l": 0, "exponents": [2.0]', '"l": 4, "exponents": [2.0]'), ".*in the order of l"),
    ],
)
def test_a_foreign_basis_is_a_sentence(text, sentence, path):
    table = pq.read_table(io.BytesIO(encode_reference([row("a")], BASIS)))
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"tesseral.auxiliary": text}), path)
    with pytest.raises(DataError, match=f"holds none that can be read: {sentence}") as error:
        read_reference(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"overlap": -triangle()}, "whose diagonal is 1, structure 'a' .* has -1 there"),
        ({"atomic_numbers": [8, -1]}, "expected atomic numbers from 1 to 118, structure 'a' .* has -1"),
        ({"charge": 100}, "expected a charge of at most the 9 of the nuclei, structure 'a' .* has 100"),
        ({"positions": [[0, 0, 0], [0, 0, 1e308]]}, r"coordinates of at most 1e\+06 Å, structure 'a' .* has 1e\+308"),
    ],
)
def test_what_no_molecule_is_is_refused(change, sentence):
    with pytest.raises(DataError, match=sentence):
        encode_reference([row("a", **change)], BASIS)


def test_a_flipped_bit_in_a_page_is_seen(path):
    """Also in a column that no trial sees, such as the error of the fit that a report shows."""
    path.write_bytes(encode_reference([row("a", fit_error=1.25)], BASIS))
    content = bytearray(path.read_bytes())
    columns = pq.ParquetFile(path).metadata.row_group(0)
    (chunk,) = [c for i in range(columns.num_columns) if (c := columns.column(i)).path_in_schema == "fit_error"]
    content[chunk.dictionary_page_offset + chunk.total_compressed_size - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read: .*; restore it from a copy, or make it again"):
        read_reference(path)


@pytest.mark.parametrize(("energies", "differs"), [([-75.5, -75.5], False), ([-75.5, -75.4], True), ([-75.5], True)])
def test_a_target_without_spread_is_seen(energies, differs):
    rows = [row(str(index), energy=energy) for index, energy in enumerate(energies)]
    reference = read_reference(io.BytesIO(encode_reference(rows, BASIS)))
    assert has_spread(Target(quantity="energy"), reference) == differs
    assert has_spread(Target(quantity="density"), reference) == (len(rows) < 2)
