"""Reference data as an uncompressed file that processes of a machine map: its pages are in memory once for all."""

import json
import os
from pathlib import Path

import pyarrow as pa

from tesseral.models.data.reference_file import Reference
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.study.configuration.quantities import Label


def write_mapped(reference: Reference, path: Path) -> None:
    """Write reference data for `map_reference`. What is there before is replaced in one act.

    :param reference: checked, as `read_reference` gives it.
    :param path: of the file.
    :raises OSError: if it cannot be written.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with pa.OSFile(str(new), "wb") as sink, pa.ipc.new_file(sink, reference.table.schema) as writer:
            writer.write_table(reference.table)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def map_reference(path: Path, content_hash: str) -> Reference:
    """Map reference data into this process. Nothing is decoded or copied.

    :param path: of a file that `write_mapped` has made.
    :param content_hash: of its content, by which the file is named: it is not computed again.
    :raises OSError: if there is no such file.
    """
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    metadata = table.schema.metadata or {}
    text = metadata.get(b"tesseral.auxiliary")
    basis = None if text is None else AuxiliaryBasis.from_json(text.decode())
    declared = json.loads(metadata.get(b"tesseral.labels", b"{}"))
    labels = {key: Label.from_dict(tree) for key, tree in declared.items()}
    reference = Reference(table, basis, labels, folder=path.parent)
    reference.__dict__["content_hash"] = content_hash
    return reference
