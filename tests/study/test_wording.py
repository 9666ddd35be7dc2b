"""Numbers, durations and lists in words."""

import pytest

from tesseral.study.wording import amount, count, dead_text, duration, listed, listed_labels, printable, scaled


def test_numbers_are_short():
    assert [scaled(n) for n in (7.0, 999.4, 1234.0, 12_345_678.0, 3e9, 9.996e11, 2e15)] == [
        "7", "999", "1.23 k", "12.3 M", "3.00 G", "1.00 T", "2.00 P"
    ]  # fmt: skip
    assert [duration(s) for s in (0.00836, 1.5, 75, 119, 120, 3600, 7200, 40_000, 864_000)] == [
        "8.4 ms", "1.5 s", "75 s", "119 s", "2.0 min", "60 min", "2.0 h", "11 h", "10 days"
    ]  # fmt: skip
    assert [amount(v) for v in (0.0015, 0.5, 42.123, 12_345.6)] == ["0.0015", "0.50", "42.12", "12,346"]


def test_lists_are_short():
    assert (listed("ab"), listed("a"), listed("abcd", most=2)) == ("a and b", "a", "a, b and 2 more")
    assert listed_labels(["a, b", "c"]) == "a, b; c"
    assert listed_labels(["a, b", "c"], most=1) == "a, b; and 1 more"
    assert (count(1, "arm"), count(1200, "arm")) == ("1 arm", "1,200 arms")


def test_dead_irreps_have_todays_words():
    """Earlier records keep other ones."""
    assert dead_text("0o in layer 3 is read by nothing") == "0o in layer 3 is never read"
    assert dead_text("1e in every layer is made or read by nothing").startswith("1e in every layer is dead: never ")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é λ 水\tand\nnewline", "plain é λ 水\tand\nnewline"),
        ("a\x1b[31mb\x07\x00\x7f\x9b", "a\\x1b[31mb\\x07\\x00\\x7f\\x9b"),
        ("a\u202eb\u2066c\ud800", "a\\u202eb\\u2066c\\ud800"),
    ],
)
def test_hidden_characters_are_shown_as_escapes(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
