"""Summaries of reference data: what they count and name, and that they read only what they need."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tesseral.cluster.data.data_set_summary import describe, summarise
from tesseral.models.data.reference_file import read_reference
from tesseral.study.errors import DataError
from tests.support.recipes import HEADER, HELIUM, HYDROGEN, WATERS, make


def test_a_field_that_does_not_converge_is_a_row_that_says_so(tmp_path):
    location, made = make(tmp_path, HYDROGEN, WATERS.format(1, 1), header=HEADER + "max_cycle = 1\n")
    assert made
    summary = summarise(location)
    assert (summary["structures"], summary["converged"]) == (2, 1)  # the orbitals of H2 follow from its symmetry
    assert "; 1 not converged and never trained on\n" in describe(summary)


def test_what_the_file_holds_is_told(tmp_path):
    location, _ = make(tmp_path, HYDROGEN, HELIUM)
    table = read_reference(location).table
    summary = summarise(location)
    for column, size in summary["floor"].items():
        errors = np.abs(table[column].to_numpy())
        assert size == {"mean": pytest.approx(errors.mean()), "max": errors.max()}
    assert set(summary["floor"]) == {"fit_error", "electron_error", "dipole_error", "self_repulsion_error"}
    assert {"coefficients", "energy", "dipole", "quadrupole", "octupole", "homo", "lumo", "gap", "r2"} >= {
        *summary["quantities"]
    }
    assert summary["quantities"] == list(read_reference(location).filled)
    first, second, third = describe(summary).splitlines()
    assert first == "2 structures of H, He; HF/STO-3G, density fitted in def2-universal-jfit, decontracted"
    assert second.startswith("Fit floor, the mean error of the fitted density against the SCF density: ")
    assert f"ε {summary['floor']['fit_error']['mean']:.2g} %" in second
    assert third == f"File: {location}"


def test_the_line_reads_only_what_it_needs(tmp_path, monkeypatch):
    """A file whose large columns cannot be read is described all the same."""
    location, _ = make(tmp_path, HYDROGEN, HELIUM)
    wanted = describe(summarise(location))
    metadata = pq.ParquetFile(location).metadata.row_group(0)
    spoiled = bytearray(Path(location).read_bytes())
    for leaf in map(metadata.column, range(metadata.num_columns)):
        if leaf.path_in_schema.split(".")[0] in ("overlap", "coefficients", "positions", "provenance"):
            start = leaf.dictionary_page_offset or leaf.data_page_offset
            spoiled[start : start + leaf.total_compressed_size] = bytes(leaf.total_compressed_size)
    Path(location).write_bytes(spoiled)
    with pytest.raises(DataError, match="cannot be read"):
        read_reference(location)
    assert describe(summarise(location)) == wanted
