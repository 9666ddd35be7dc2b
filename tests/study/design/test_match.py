"""Matching: arms of equal size, by counters simple enough to be done by hand."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.network import Hidden, Network
from tesseral.study.design.match import target_sizes
from tesseral.study.design.widths import fit
from tesseral.study.errors import StudyFileError, TesseralError
from tesseral.study.parsing.irreps import MulIrrep, format_irreps, parse_irreps
from tesseral.study.study import Study


def components(terms) -> int:
    return sum(mul * (2 * order + 1) for mul, order, _ in terms)


def weights(terms) -> int:
    """As of a linear map between each pair of irreps whose orders are at most 2 apart, and biases of the scalars."""
    pairs = sum(a.mul * b.mul for a in terms for b in terms if abs(a.l - b.l) <= 2)
    return pairs + sum(term.mul for term in terms if (term.l, term.p) == (0, 1)) + 40


def count(configuration: Configuration, by: str) -> float:
    terms = parse_irreps(configuration.network.hidden.irreps)
    layers = configuration.network.layers
    if by == "components":
        return components(terms)
    edges = 7.5 if by == "flops" else 1
    return edges * (layers * weights(terms) + configuration.network.radial_width * len(terms))


def configured(irreps: str, **network) -> Configuration:
    data = Data(reference="a.parquet", train=8, test=4)
    return Configuration(data=data, network=Network(hidden=Hidden(irreps=irreps), **network)).resolved()


def hidden(configuration: Configuration) -> str:
    return configuration.network.hidden.irreps


@pytest.mark.parametrize(
    ("natural", "expected", "scale"),
    [
        ("64x0e", "128x0e", 2.0),
        ("500x0e", "128x0e", 128 / 500),
        ("128x0e+42x1o", "65x0e+21x1o", 0.5),
        ("64x0e+21x1o", "65x0e+21x1o", 1.0),
        ("32x0e+11x1o", "62x0e+22x1o", 2.0),
        ("42x0e+14x1o+8x2e", "43x0e+15x1o+8x2e", 1.03),
        ("84x0e+28x1o+16x2e", "43x0e+15x1o+8x2e", 0.515),
        ("128x0e", "128x0e", 1.0),
    ],
)
def test_millers_widths_have_128_components(natural, expected, scale):
    """128x0e | 64x0e+21x1o | 42x0e+14x1o+8x2e have 128, 127 and 124 components; 0e closes the rest."""
    fitted, used = fit(configured(natural), 128, "components", count)
    assert components(parse_irreps(hidden(fitted))) == 128
    assert hidden(fitted) == expected
    assert used == pytest.approx(scale, rel=0.02)


def test_halves_are_rounded_upwards_and_no_irrep_is_lost():
    fitted, scale = fit(configured("40x0e+5x1o+1x2e"), 20 + 3 * 3 + 5, "components", count)
    assert hidden(fitted) == "20x0e+3x1o+1x2e"
    assert scale == 0.5


def test_without_scalars_the_nearest_scale_is_taken():
    fitted, _ = fit(configured("9x0o+5x1o"), 100, "components", count)
    assert hidden(fitted) == "37x0o+21x1o"
    assert components(parse_irreps(hidden(fitted))) == 100
    assert hidden(fit(configured("4x2e"), 42, "components", count)[0]) == "8x2e"
    assert hidden(fit(configured("4x2e"), 43, "components", count)[0]) == "9x2e"


IRREPS = st.lists(
    st.tuples(st.integers(1, 60), st.integers(0, 4), st.sampled_from([1, -1])), min_size=1, max_size=6
).map(lambda terms: parse_irreps(format_irreps(MulIrrep(*term) for term in terms)))


def scaled(terms, scale: float) -> list[int]:
    return [min(10_000, max(1, int(scale * term.mul + 0.5))) for term in terms]


@settings(deadline=None)  # never of the machine's speed
@given(IRREPS, st.floats(0.2, 6), st.sampled_from(["parameters", "components", "flops"]), st.integers(1, 4))
def test_the_residual_is_small_wherever_a_step_of_the_scalars_is(terms, ratio, by, layers):
    natural = configured(format_irreps(terms), layers=layers)
    target = round(ratio * count(natural, by))
    counted = []

    def counting(configuration: Configuration, unit: str) -> float:
        counted.append(unit)
        return count(configuration, unit)

    ones = configured(format_irreps(term._replace(mul=1) for term in terms), layers=layers)
    if count(ones, by) > target:
        with pytest.raises(TesseralError, match=f"multiplicities of 1 make {count(ones, by):.6g}"):
            fit(natural, target, by, counting)
        return
    fitted, scale = fit(natural, target, by, counting)
    assert set(counted) == {by}
    assert len(counted) <= 150
    after = parse_irreps(hidden(fitted))
    residual = abs(count(fitted, by) / target - 1)
    assert [(term.l, term.p) for term in after] == [(term.l, term.p) for term in terms]
    assert all(1 <= term.mul <= 10_000 for term in after)
    assert fitted.network == type(fitted.network)(hidden=Hidden(irreps=hidden(fitted)), layers=layers).resolve()

    def is_scalar(term: MulIrrep) -> bool:
        return (term.l, term.p) == (0, 1)

    # All but 0e have the widths of the one scale, and 0e makes it no worse.
    widths = scaled(terms, scale)
    assert all(term.mul == width for term, width in zip(after, widths, strict=True) if not is_scalar(term))
    unclosed = format_irreps(term._replace(mul=width) for term, width in zip(terms, widths, strict=True))
    assert residual <= abs(count(configured(unclosed, layers=layers), by) / target - 1)
    if any(map(is_scalar, terms)):
        wider = format_irreps(term._replace(mul=term.mul + is_scalar(term)) for term in after)
        step = count(configured(wider, layers=layers), by) - count(fitted, by)
        if step < 0.02 * target:
            assert residual <= 0.01


@settings(deadline=None)  # never of the machine's speed
@given(IRREPS, st.floats(0.3, 4), st.sampled_from(["parameters", "components"]))
def test_no_scale_alone_is_better(terms, ratio, by):
    """Against every scale of a fine grid, without the scalars' help."""
    natural = configured(format_irreps(terms))
    target = round(ratio * count(natural, by))
    ones = configured(format_irreps(term._replace(mul=1) for term in terms))
    assume(count(ones, by) <= target)
    fitted, _ = fit(natural, target, by, count)
    residual = abs(count(fitted, by) / target - 1)
    for number in range(1, 200):
        widths = scaled(terms, number / 40)
        other = format_irreps(term._replace(mul=width) for term, width in zip(terms, widths, strict=True))
        assert residual <= max(1e-3, abs(count(configured(other), by) / target - 1))


def test_other_settings_move_the_widths_and_not_the_size():
    """As in a search: the target stays while a hyperparameter changes."""
    natural = configured("64x0e+32x1o", layers=2)
    target = count(natural, "parameters")
    for width in (8, 64, 512, 2000):
        fitted, scale = fit(configured("64x0e+32x1o", layers=2, radial_width=width), target, "parameters", count)
        assert count(fitted, "parameters") == pytest.approx(target, rel=0.01)
        assert fitted.network.radial_width == width
        assert (scale < 1) == (width > 128)


def test_sizes_out_of_reach_are_refused():
    with pytest.raises(TesseralError, match="multiplicities of 1 make 9"):
        fit(configured("8x0e+4x1o+2x2e"), 8, "components", count)
    with pytest.raises(TesseralError, match="multiplicities of 10000 make 10000"):
        fit(configured("8x0e"), 20_000, "components", count)
    assert hidden(fit(configured("8x0e+4x1o+2x2e"), 9, "components", count)[0]) == "1x0e+1x1o+1x2e"
    assert hidden(fit(configured("3x0e"), 10_000, "components", count)[0]) == "10000x0e"


FILE = """
[study]
name = "try"
[data]
reference = "reference/water.parquet"
train = 16
test = 4
[network]
hidden.mul = [32, 16, 8, 4]
"""

FACTORS = """
[factors]
network.hidden.lmax = [0, 1, 2]
network.layers = [2, 3]
"""


def widest(configuration) -> int:
    return max(term.mul for term in parse_irreps(hidden(configuration)))


def parse(text: str) -> Study:
    return Study.parse(FILE + text, "try.toml")


def test_the_largest_arm_is_the_target():
    study = parse(FACTORS + '[match]\nby = "parameters"')
    matched = study.matched(count)
    largest = max(count(arm.configuration, "parameters") for arm in study.arms)
    assert [one.arm for one in matched] == list(study.arms)
    for one in matched:
        assert one.target == largest
        assert one.residual == count(one.configuration, "parameters") / largest - 1
        assert abs(one.residual) <= 0.01
        assert (one.natural, one.hidden) == (hidden(one.arm.configuration), hidden(one.configuration))
    last = matched[-1]
    assert (last.label, last.residual, last.natural) == ("lmax=2, layers=3", 0.0, last.hidden)
    assert all(widest(one.configuration) > widest(one.arm.configuration) for one in matched[:-1])


def test_arms_are_matched_within_each_level():
    study = parse(FACTORS + '[match]\nby = "components"\nwithin = ["network.layers"]')
    sizes = target_sizes(study.arms, study.file.match, count)
    assert set(sizes.values()) == {2 * (32 + 3 * 16 + 5 * 8)}
    by_parameters = parse(FACTORS + '[match]\nby = "parameters"\nwithin = ["network.layers"]')
    sizes = target_sizes(by_parameters.arms, by_parameters.file.match, count)
    for layers in (2, 3):
        arms = [arm for arm in by_parameters.arms if arm.configuration.network.layers == layers]
        assert {sizes[arm.key] for arm in arms} == {max(count(arm.configuration, "parameters") for arm in arms)}
    assert len(set(sizes.values())) == 2


def test_match_to_a_number_or_an_arm():
    number = parse(FACTORS + '[match]\nby = "components"\nto = 100')
    assert set(target_sizes(number.arms, number.file.match, count).values()) == {100.0}
    assert all(count(one.configuration, "components") == 100 for one in number.matched(count))
    named = parse(FACTORS + '[match]\nby = "parameters"\nto = "lmax=1, layers=2"')
    size = count(named.arms[2].configuration, "parameters")
    assert set(target_sizes(named.arms, named.file.match, count).values()) == {size}
    within = parse(FACTORS + '[match]\nby = "parameters"\nto = "lmax=1, layers=2"\nwithin = ["network.layers"]')
    sizes = target_sizes(within.arms, within.file.match, count)
    deep = next(arm for arm in within.arms if arm.label == "lmax=1, layers=3")
    assert {sizes[arm.key] for arm in within.arms if arm.configuration.network.layers == 2} == {size}
    assert {sizes[arm.key] for arm in within.arms if arm.configuration.network.layers == 3} == {
        count(deep.configuration, "parameters")
    }


BOTH = """
[factors]
network.hidden.lmax = [0, 1]
match.by = ["none", "parameters", "components"]
"""


def test_matching_as_a_factor():
    study = parse(BOTH)
    sizes = target_sizes(study.arms, study.file.match, count)
    largest = study.arms[3].configuration
    assert [sizes[arm.key] for arm in study.arms] == [
        None,
        count(largest, "parameters"),
        count(largest, "components"),
    ] * 2
    matched = study.matched(count)
    assert [one.arm.labels for one in matched] == [
        ("lmax=0, match=none",),
        ("lmax=0, match=parameters",),
        ("lmax=0, match=components",),
        ("lmax=1, match=none", "lmax=1, match=parameters", "lmax=1, match=components"),
    ]
    assert matched[0].target is None
    assert (matched[0].configuration, matched[0].residual) == (matched[0].arm.configuration, 0.0)
    assert count(matched[1].configuration, "parameters") == pytest.approx(count(largest, "parameters"), rel=0.01)
    assert count(matched[2].configuration, "components") == count(largest, "components")
    assert (matched[3].arm.match, matched[3].target) == ("parameters", count(largest, "parameters"))
    assert matched[3].configuration == largest


def test_with_a_search_arms_are_one_only_if_their_sizes_stay_the_same():
    study = parse(BOTH + "[search]\ntrials = 4\nspace.network.radial_width = [8, 16]")
    assert [one.arm.labels for one in study.matched(count)] == [arm.labels for arm in study.arms]
    # What changes no size leaves the same network one arm, as without a search.
    one = parse(BOTH + "[search]\ntrials = 4\nspace.training.batch_size = [2, 4]")
    (joined,) = [matched for matched in one.matched(count) if len(matched.arm.labels) > 1]
    assert joined.arm.labels == ("lmax=1, match=none", "lmax=1, match=parameters", "lmax=1, match=components")
    by_function = parse(BOTH + '[search]\ntrials = 4\ndefine = "a:b"')
    assert [matched.arm.labels for matched in by_function.matched(count)] == [arm.labels for arm in by_function.arms]
    same = parse(FACTORS + '[match]\nby = "components"\nto = 100\n[search]\ntrials = 4\nspace.loss.name = ["raw"]')
    assert len(same.matched(count)) == 6


TWO_KINDS = """
[[arms]]
network.hidden.lmax = 1
[[arms]]
network.hidden.lmax = 2
network.define = "own:Network"
"""
NAMED = TWO_KINDS.replace("= 1", '= 1\nmatch.by = "none"').replace("= 2", '= 2\nmatch.by = "components"') + (
    '[match]\nto = "lmax=1, match=none"'
)


def test_components_of_networks_of_ones_own_are_matched_among_themselves():
    """What a user's network makes and reads is not known: its components are those that it is asked for."""
    study = parse(TWO_KINDS + '[match]\nby = "components"\nwithin = ["network.define"]')
    assert list(target_sizes(study.arms, study.file.match, count).values()) == [2 * (32 + 48), 2 * (32 + 48 + 40)]
    both = parse(TWO_KINDS + '[match]\nby = "parameters"')
    assert len(set(target_sizes(both.arms, both.file.match, count).values())) == 1


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (FACTORS + '[match]\nby = "parameters"\nto = "lmax=7"', "match.to", ["'lmax=7'", "lmax=0, layers=2"]),
        (
            FACTORS + '[match]\nby = "parameters"\nwithin = ["network.depth"]',
            "match.within[0]",
            ["'network.depth'", "network.hidden.lmax, network.layers"],
        ),
        (
            FACTORS + '[match]\nby = "components"\nto = 10',
            "match.to",
            ["'lmax=2, layers=2' in components", "got 10", "multiplicities of 1 make 18"],
        ),
        (
            "[[arms]]\nnetwork.hidden.lmax = 0\nnetwork.layers = 2\n[[arms]]\nnetwork.hidden.lmax = 1\n"
            'network.layers = 3\n[match]\nby = "parameters"\nto = "lmax=0, layers=2"\nwithin = ["network.layers"]',
            "match.to",
            ["'lmax=0, layers=2'", "network.layers = 3", "a number"],
        ),
        (TWO_KINDS + '[match]\nby = "components"', "match.by", ["another size than 'components'", "of your own"]),
        (NAMED, "match.by", ["another size than 'components'", "of your own"]),
    ],
)
def test_mistakes_are_one_sentence_each(text, path, words):
    with pytest.raises(StudyFileError) as caught:
        parse(text).matched(count)
    assert caught.value.path == path
    for word in words:
        assert word in caught.value.message
    assert "\n" not in caught.value.message
