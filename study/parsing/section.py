"""What every table of settings is: a frozen dataclass whose keys and bounds pydantic checks where it is installed."""

from dataclasses import dataclass
from typing import Any, ClassVar


class Range:
    """Bounds of a number or of a tuple's length, in pydantic's core-schema words (ge, gt, le, lt, min_length)."""

    def __init__(self, **bounds: float) -> None:
        self.bounds = bounds

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        schema: dict[str, Any] = handler(source)
        return schema | self.bounds


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the configuration: unknown keys and infinities are refused, and types are strict (no '3' for 3)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}
