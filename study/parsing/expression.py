"""Conditions in a study file, such as `network.layers < 3 or loss.name == "raw"`.

An expression is parsed to Python's syntax tree, checked node by node and evaluated here. It is never executed as code.
"""

import ast
import difflib
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tesseral.study.errors import TesseralError

LONGEST = 1000
"""Largest number of characters of an expression. With `DEEPEST`, it bounds the time that an expression can take."""
DEEPEST = 50
"""Largest depth of nested operations."""

_WORDS = {"true": True, "false": False, "none": None, "null": None}
_ARITHMETIC: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
}
_ORDER: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_EQUALITY: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {"len": len, "max": max, "min": min}
_VALID = (
    "valid are dotted names, numbers, text, true, false, none, lists, comparisons, in, and, or, not, + - * / // %, "
    "len, max and min"
)


class Expression:
    """An expression over dotted names.

    It may contain numbers, text, `true`, `false`, `none`, lists, comparisons (also chained, and `in`), `and`, `or`,
    `not`, arithmetic on numbers, and `len`, `max`, `min`. `and`, `or` and `not` only take conditions, so that
    `layers == 2 or 3` is refused instead of always true.

    :raises TesseralError: if `text` is not such an expression.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > LONGEST:
            raise TesseralError(f"expected an expression of at most {LONGEST} characters, got {len(text)}")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise TesseralError(f"expected an expression such as 'network.layers < 3', got {text!r}") from None
        self.names = tuple(dict.fromkeys(_names(self._tree)))
        """The dotted names in the expression."""

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """Return the value of the expression; lists become tuples.

        :param values: dotted name → value.
        :raises TesseralError: for a name that is not in `values`, or a value that an operation does not accept.
        """
        for name in self.names:
            if name not in values:
                ending = [valid for valid in values if valid.endswith(f".{name}")]
                close = ending or difflib.get_close_matches(name, values, n=1)
                hint = f"did you mean {close[0]!r}? " if close else ""
                raise TesseralError(f"unknown name {name!r} in {self.text!r}; {hint}valid names are {_listed(values)}")
        try:
            return _value(self._tree, values)
        except TesseralError as error:
            raise TesseralError(f"{error} in {self.text!r}") from None

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def _names(node: ast.expr, depth: int = 0) -> Iterator[str]:
    """Yield the dotted names under `node`, and refuse every kind of node that is not listed here."""
    if depth > DEEPEST:
        raise TesseralError(f"expected an expression at most {DEEPEST} operations deep, got a deeper one")
    inside: Sequence[ast.expr] = ()
    match node:
        case ast.Name() | ast.Attribute() if (name := _dotted(node)) is not None:
            if name not in _WORDS:
                yield name
        case ast.Constant(value=bool() | int() | float() | str() | None):
            pass
        case ast.List(elts=inside) | ast.Tuple(elts=inside):
            pass
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            inside = [operand]
        case ast.BoolOp(values=inside):
            for part in inside:
                if isinstance(part, ast.Constant) and not isinstance(part.value, bool):
                    raise TesseralError(f"expected a condition beside 'and' or 'or', got {part.value!r}")
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            inside = [left, right]
        case ast.Compare(left=left, ops=ops, comparators=comparators) if all(
            type(op) in _ORDER | _EQUALITY for op in ops
        ):
            inside = [left, *comparators]
        case ast.Call(func=ast.Name(id=name), args=inside, keywords=[]) if name in _FUNCTIONS and inside:
            pass
        case _:
            raise TesseralError(f"cannot read {ast.unparse(node)!r}; {_VALID}")
    for part in inside:
        yield from _names(part, depth + 1)


def _dotted(node: ast.expr) -> str | None:
    """Return `a.b.c` for an attribute of an attribute of a name; None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (parent := _dotted(node.value)) is not None:
        return f"{parent}.{node.attr}"
    return None


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            name = _dotted(node) or ""
            return _WORDS[name] if name in _WORDS else _plain(values[name])
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return tuple(_value(part, values) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _condition(_value(operand, values))
        case ast.UnaryOp(operand=operand):
            return -_number(_value(operand, values), "-")
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_condition(_value(part, values)) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_condition(_value(part, values)) for part in parts)
        case ast.BinOp(left=left, op=op, right=right):
            sign, compute = _ARITHMETIC[type(op)]
            return _computed(compute, sign, _number(_value(left, values), sign), _number(_value(right, values), sign))
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            first = _value(left, values)
            for comparison, comparator in zip(ops, comparators, strict=True):
                second = _value(comparator, values)
                if not _holds(comparison, first, second):
                    return False
                first = second
            return True
        case ast.Call(func=ast.Name(id=name), args=parts):
            return _called(name, [_value(part, values) for part in parts])
    raise TypeError(f"{node!r} was admitted and cannot be evaluated")


def _plain(value: Any) -> Any:
    return tuple(_plain(entry) for entry in value) if isinstance(value, list | tuple) else value


def _condition(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TesseralError(f"expected a condition, true or false, got {value!r}")
    return value


def _number(value: Any, sign: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TesseralError(f"expected a number beside {sign!r}, got {value!r}")
    return value


def _computed(compute: Callable[[Any, Any], Any], sign: str, left: float, right: float) -> Any:
    try:
        return compute(left, right)
    except ArithmeticError:
        raise TesseralError(f"expected numbers that can be computed, got {left!r} {sign} {right!r}") from None


def _holds(op: ast.cmpop, left: Any, right: Any) -> bool:
    if type(op) in _ORDER:
        sign, compare = _ORDER[type(op)]
        if not _ordered([left, right]):
            raise TesseralError(f"cannot compare {left!r} {sign} {right!r}: only numbers, or only text, have an order")
        return compare(left, right)
    text = isinstance(left, str) and isinstance(right, str)
    if isinstance(op, ast.In | ast.NotIn) and not (isinstance(right, tuple) or text):
        raise TesseralError(f"expected a list, or two texts, beside 'in', got {left!r} and {right!r}")
    return _EQUALITY[type(op)](left, right)


def _ordered(values: Sequence[Any]) -> bool:
    """Return whether any two of the values can be compared by <: all are numbers, or all are text."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return numbers or all(isinstance(value, str) for value in values)


def _called(name: str, arguments: list[Any]) -> Any:
    """Call `len` on one list or text, `max` or `min` on one list or on several values."""
    one = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], tuple | str) else None
    if name == "len":
        argument, valid, expected = one, one is not None, "one list or text"
    else:
        argument = one if isinstance(one, tuple) else tuple(arguments)
        valid, expected = bool(argument) and _ordered(argument), "numbers, or texts, at least one"
    if not valid:
        raise TesseralError(f"expected {expected} in {name}(…), got {', '.join(map(repr, arguments))}")
    return _FUNCTIONS[name](argument)


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(values) or "none here"
