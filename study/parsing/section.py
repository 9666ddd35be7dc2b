"""The base of every table of settings: a frozen dataclass whose keys, types and bounds pydantic checks.

Nothing here imports pydantic, so that trials can be trained where it is not installed.
"""

from dataclasses import dataclass
from typing import Any, ClassVar


class Range:
    """Bounds of a field, for `Annotated`.

    :param bounds: names and values of pydantic's core schema: `ge`, `gt`, `le` and `lt` of a number, `min_length` and
        `max_length` of a tuple, `pattern` of a text.
    """

    def __init__(self, **bounds: float | str) -> None:
        self.bounds = bounds

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        schema: dict[str, Any] = handler(source)
        if schema["type"] == "nullable":  # pydantic ignores bounds beside it
            return schema | {"schema": schema["schema"] | self.bounds}
        return schema | self.bounds


class Later:
    """Mark of a setting, for `Annotated`, that trials had no word for at first: at its default no record names it."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table of settings. Unknown keys and infinities are refused, and types are strict: `"3"` is no number."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}
