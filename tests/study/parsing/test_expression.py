"""Conditions of a study file: what they evaluate to, and that they can do nothing else."""

import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesseral.study.errors import TesseralError
from tesseral.study.parsing.expression import Expression

VALUES = {
    "network.layers": 3,
    "network.hidden.lmax": None,
    "network.hidden.orders": [0, 2],
    "network.radial_cutoff": 3.5,
    "loss.name": "raw",
    "target.shifted": True,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("network.layers < 4", True),
        ("1 < network.layers <= 3", True),
        ("1 < network.layers < 3", False),
        ("network.layers == 2 or network.layers == 3", True),
        ("not network.layers == 3", False),
        ("network.hidden.lmax == none", True),
        ("network.hidden.lmax == None or network.hidden.lmax < 2", True),
        ("network.hidden.orders == [0, 2]", True),
        ("network.hidden.orders == (0, 2)", True),
        ("2 in network.hidden.orders", True),
        ("1 not in network.hidden.orders and target.shifted", True),
        ("loss.name in ['raw', \"equal\"]", True),
        ("'a' in loss.name", True),
        ("loss.name < 'z'", True),
        ("target.shifted == true", True),
        ("target.shifted == False", False),
        ("network.layers * 2 - 1", 5),
        ("network.layers / 2 + -1", 0.5),
        ("network.layers // 2 + 7 % 4", 4),
        ("len(network.hidden.orders) + len(loss.name)", 5),
        ("max(network.hidden.orders) * min(network.layers, 2)", 4),
        ("max('a', loss.name)", "raw"),
        ("  network.layers\t", 3),
        ("[network.layers, [loss.name]]", (3, ("raw",))),
    ],
)
def test_values(text, expected):
    assert Expression(text).evaluate(VALUES) == expected
    assert type(Expression(text).evaluate(VALUES)) is type(expected)


def test_names_are_listed_once_and_in_order():
    names = Expression("network.layers < 2 or max(loss.name, a) == true or network.layers == none").names
    assert names == ("network.layers", "loss.name", "a")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("network.layer < 2", ["'network.layer'", "did you mean 'network.layers'?", "loss.name"]),
        ("lmax < 2", ["'lmax'", "did you mean 'network.hidden.lmax'?"]),
        ("true or nothing.known", ["'nothing.known'"]),
        ("network.hidden.lmax < 2", ["None < 2"]),
        ("loss.name < 2", ["'raw' < 2"]),
        ("target.shifted < 2", ["True < 2"]),
        ("network.layers == 2 or network.layers", ["condition", "got 3"]),
        ("not loss.name", ["condition", "'raw'"]),
        ("loss.name * 3 == 'rawrawraw'", ["number", "'*'", "'raw'"]),
        ("'%d' % 3", ["number", "'%'"]),
        ("[1] * 3", ["number"]),
        ("[1] + [2]", ["number"]),
        ("-loss.name", ["number", "'-'"]),
        ("network.layers / 0", ["3 / 0"]),
        ("network.layers % 0", ["3 % 0"]),
        ("2 in network.layers", ["'in'", "3"]),
        ("2 in loss.name", ["'in'", "2"]),
        ("len(network.layers)", ["len", "3"]),
        ("len('a', 'b')", ["len"]),
        ("max([])", ["max"]),
        ("min(1, 'a')", ["min"]),
    ],
)
def test_mistakes_found_in_values_are_one_sentence(text, words):
    expression = Expression(text)
    with pytest.raises(TesseralError) as caught:
        expression.evaluate(VALUES)
    for word in [*words, repr(text)]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "network.layers =",
        "network.layers = 2",
        "network.layers <",
        "a; b",
        "import os",
        "a\nb",
        "\0",
        "x if a else b",
        "lambda: 1",
        "(x := 2)",
        "[x for x in a]",
        "a[0]",
        "{1: 2}",
        "{1, 2}",
        "f'{a}'",
        "b'a'",
        "1j",
        "...",
        "a is none",
        "2 ** 10 ** 10",
        "1 << 100",
        "~a",
        "+a",
        "a @ b",
        "__import__('os').system('true')",
        "a.b()",
        "len()",
        "len(*a)",
        "len(x=1)",
        "max(a, key=len)",
        "len.__class__('a')",
        "(1).real",
        "''.join",
        "a == 2 or 3",
        "a == 'raw' or 'equal'",
        "(" * 400 + "1" + ")" * 400,
        "not " * 200 + "a",
        "-" * 900 + "1",
        "a + " * 500 + "a",
    ],
)
def test_anything_else_is_refused_at_once(text):
    start = time.monotonic()
    with pytest.raises(TesseralError) as caught:
        Expression(text)
    assert time.monotonic() - start < 1
    assert "\n" not in str(caught.value)


def test_numbers_stay_bounded():
    largest = Expression("*".join(["9" * 9] * 45)).evaluate({})
    assert largest == (10**9 - 1) ** 45
    with pytest.raises(TesseralError, match="can be computed"):
        Expression(f"1e-300 / {'9' * 400} + {'9' * 400} / 1").evaluate({})


NUMBERS = st.integers(-9, 9).map(lambda number: f"({number})") | st.sampled_from(["network.layers", "a"])
ARITHMETIC = st.recursive(
    NUMBERS,
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "%", "/"]), inner).map(
        lambda parts: f"({' '.join(parts)})"
    ),
    max_leaves=6,
)
COMPARISONS = st.tuples(ARITHMETIC, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), ARITHMETIC).map(" ".join)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: (
        inner.map(lambda part: f"not ({part})")
        | st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda parts: f"({' '.join(parts)})")
    ),
    max_leaves=5,
)


@given(CONDITIONS)
def test_it_agrees_with_python(text):
    names = {"network": SimpleNamespace(layers=3), "a": 2}
    values = {"network.layers": 3, "a": 2}
    try:
        expected = eval(text, {"__builtins__": {}}, names)
    except ZeroDivisionError:
        with pytest.raises(TesseralError):
            Expression(text).evaluate(values)
    else:
        assert Expression(text).evaluate(values) is expected
