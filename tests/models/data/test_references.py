"""Reference data are read once on a machine, whichever process comes first, and only if they are those expected."""

import pytest

from tesseral.models.data import references
from tesseral.models.data.reference_file import read_reference
from tesseral.models.data.references import open_on_node

WHERE = "reference/water_tiny.parquet"


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """What is read from the storage; every process is a new one."""
    done: list[str] = []
    real = references.read_stored

    def read(storage, reference):
        done.append(reference)
        return real(storage, reference)

    monkeypatch.setattr(references, "read_stored", read)
    references.open_reference.cache_clear()
    open_on_node.cache_clear()
    return done


def test_the_second_process_of_a_machine_reads_nothing(storage, reads, tmp_path):
    content = read_reference(storage / WHERE).content_hash
    for _ in range(2):
        reference = open_on_node(str(storage), WHERE, content, str(tmp_path / "node"))
        assert reference.content_hash == content
        open_on_node.cache_clear()  # as in another process
    assert reads == [WHERE]
    assert (tmp_path / "node").stat().st_mode & 0o777 == 0o700


def test_other_data_are_not_shared(storage, reads, tmp_path):
    reference = open_on_node(str(storage), WHERE, "0" * 64, str(tmp_path / "node"))
    assert reference.content_hash != "0" * 64
    assert not list((tmp_path / "node").glob("*.arrow"))


@pytest.mark.parametrize("folder", ["", "/proc/nowhere"], ids=["none", "cannot be made"])
def test_without_a_folder_each_process_reads_for_itself(storage, reads, folder):
    content = read_reference(storage / WHERE).content_hash
    assert open_on_node(str(storage), WHERE, content, folder).content_hash == content
    assert reads == [WHERE]
