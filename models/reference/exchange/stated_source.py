"""What `[source]` of a mapping states of each frame: the unit of its positions, and its total charge."""

from dataclasses import replace

from tesseral.models.reference.exchange.extended_xyz import Frame
from tesseral.study.constants import BOHR
from tesseral.study.recipe.mapping import Source


def in_angstrom(frame: Frame, source: Source) -> Frame:
    """The frame with its positions and its cell in Å.

    :param frame: as it was read, in the unit of the source.
    :param source: of a mapping.
    """
    if source.unit == "angstrom":
        return frame
    cell = None if frame.cell is None else frame.cell * BOHR
    return replace(frame, positions=frame.positions * BOHR, cell=cell)


def stated_charge(frame: Frame, source: Source, remedy: str) -> int | None:
    """Total charge of the frame, e: the source's, that under the key which the source names, or the frame's own.

    :param frame: of the source.
    :param source: of a mapping.
    :param remedy: end of the error message, which says what to do.
    :returns: None if nothing states it.
    :raises DataError: if it is no whole number; as `Frame.charge`.
    """
    if source.charge is None:
        return frame.charge(remedy)
    return frame.whole(source.charge, remedy) if isinstance(source.charge, str) else source.charge
