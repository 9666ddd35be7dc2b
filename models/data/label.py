"""What an imported label is: a column of reference data that tesseral does not know by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import pyarrow as pa

from tesseral.study.parsing.irreps import MulIrrep, parse_irreps


@dataclass(frozen=True)
class Label:
    """What an imported column `label.<name>` holds; it stands in the file's metadata."""

    irreps: tuple[MulIrrep, ...]
    """In the order of the numbers; e3nn's order and axes."""
    unit: str
    """Such as bohr^3."""
    per: Literal["structure", "atom"]
    """Whether there is one for each structure, or one for each atom."""

    @property
    def width(self) -> int:
        """Numbers of one label: Σ mul·(2l+1)."""
        return sum(mul * (2 * order + 1) for mul, order, _ in self.irreps)

    @property
    def type(self) -> pa.DataType:
        """Of the column: a list for each structure, or a list of lists, one for each atom."""
        numbers = pa.list_(pa.float64())
        return numbers if self.per == "structure" else pa.list_(numbers)

    def to_dict(self) -> dict[str, str]:
        """For the `tesseral.labels` metadata of a reference file."""
        return {"irreps": "+".join(map(str, self.irreps)), "unit": self.unit, "per": self.per}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        if tree["per"] not in ("structure", "atom"):
            raise ValueError(f"expected 'structure' or 'atom', got {tree['per']!r}")
        return cls(parse_irreps(tree["irreps"]), tree["unit"], tree["per"])
