"""Search spaces: what `[search.space]` means, how settings enter a configuration, and every mistake in a sentence."""

import tomllib

import pytest

from tesseral.study.design.parameter import Parameter, cardinality
from tesseral.study.design.search_space import apply, arm_values, is_active, read_space
from tesseral.study.design.stages import objectives
from tesseral.study.design.study_file import Search
from tesseral.study.errors import StudyFileError
from tesseral.study.study import Study
from tests.support.mistakes import SPACE_MISTAKES
from tests.support.search_arms import ARMS, FACTORS


def read(toml: str, matched: bool = False, factors: tuple[str, ...] = FACTORS, **search) -> tuple[Parameter, ...]:
    space = tomllib.loads(toml)
    return read_space(Search(trials=20, space=space, **search), factors, matched, ARMS)


def test_kinds_and_types():
    parameters = read(
        """
        training.learning_rate = { low = 1e-3, high = 3e-2, log = true }
        training.batch_size = [2, 4, 8]
        "network.radial_width" = { low = 16, high = 64, step = 16 }
        network.radial_cutoff = { low = 3, high = 4, step = 0.25 }
        network.num_neighbors = [8, 9.5]
        loss.name = { choices = ["raw", "overlap"] }
        network.radial_layers = { choices = [0, 1, 2], when = "network.layers >= 2" }
        """
    )
    by_path = {parameter.path: parameter for parameter in parameters}
    rate, width, cutoff = (by_path[path] for path in (RATE, "network.radial_width", "network.radial_cutoff"))
    assert (rate.kind, rate.low, rate.high, rate.log, rate.count) == ("float", 1e-3, 3e-2, True, None)
    assert (width.kind, width.low, width.high, width.step, width.count) == ("int", 16, 64, 16, 4)
    assert all(type(end) is int for end in width.ends)
    assert (cutoff.kind, cutoff.ends, cutoff.step, cutoff.count) == ("float", (3.0, 4.0), 0.25, 5)
    assert all(type(end) is float for end in cutoff.ends)
    assert by_path["training.batch_size"].choices == (2, 4, 8)
    assert [type(choice) for choice in by_path["network.num_neighbors"].choices] == [float, float]
    assert by_path["loss.name"].choices == ("raw", "overlap")
    assert by_path["network.radial_layers"].when is not None


RATE = "training.learning_rate"


def test_cardinality():
    assert cardinality(read('training.batch_size = [2, 4]\nnetwork.layers = {low=1,high=3}\nloss.name = ["raw"]')) == 6
    assert cardinality(read("network.radial_cutoff = {low=3.0,high=3.5,step=0.1}")) == 6
    assert cardinality(read("training.batch_size = [2]\ntraining.learning_rate = {low=0.1,high=0.2}")) is None
    assert cardinality(read('training.batch_size = {choices=[2,4],when="network.layers > 2"}')) is None
    assert cardinality(()) is None


def test_conditions_see_the_arm_and_earlier_parameters():
    """Whatever the order in the file: TOML's nested tables do not keep it."""
    first, second = read(
        """
        network.radial_layers = { choices = [1, 2], when = "network.layers >= 2 and network.hidden.lmax > 0" }
        network.layers = [1, 2]
        """
    )
    assert (first.path, second.path) == ("network.layers", "network.radial_layers")
    scalars, vectors = map(arm_values, ARMS)
    assert is_active(first, scalars, {})
    assert is_active(second, vectors, {"network.layers": 2})
    assert is_active(second, vectors, {})  # the arm's own 3 layers
    assert not is_active(second, vectors, {"network.layers": 1})
    assert not is_active(second, scalars, {"network.layers": 2})


def test_apply_makes_settings():
    base = ARMS[1].configuration
    made = apply(base, {"training.learning_rate": 0.5, "network.radial_width": 8})
    assert (made.training.learning_rate, made.network.radial_width) == (0.5, 8)
    assert made.network.hidden == base.network.hidden
    assert apply(base, {}) == base
    correlated = apply(base, {"training": {"batch_size": 2, "learning_rate": 0.1}})
    assert (correlated.training.batch_size, correlated.training.epochs) == (2, base.training.epochs)
    wider = apply(base, {"network.hidden": {"lmax": 1, "mul": [3, 1], "parity": "natural"}})
    assert wider.network.hidden.irreps == "3x0e+1x1o"
    with pytest.raises(StudyFileError, match="did you mean 'learning_rate'"):
        apply(base, {"training.learnin_rate": 0.5})
    with pytest.raises(StudyFileError, match="'epochs' holds a value"):
        apply(base, {"training.epochs.warm": 1})


@pytest.mark.parametrize(("toml", "path", "sentence"), SPACE_MISTAKES)
def test_mistakes(toml, path, sentence):
    with pytest.raises(StudyFileError) as caught:
        read(toml)
    assert caught.value.path == f"search.space.{path}"
    assert sentence in caught.value.message


def test_conditions_in_a_circle():
    with pytest.raises(StudyFileError, match="depend on each other"):
        read(
            """
            network.layers = { choices = [1, 2], when = "network.radial_layers > 1" }
            network.radial_layers = { choices = [1, 2], when = "network.layers > 1" }
            """
        )


def test_every_arm_has_something_to_validate_on():
    text = """
        [study]
        name = "s"
        metric = "l2_error"
        [factors]
        data.validation = LEVELS
        [search]
        trials = 2
        space.training.batch_size = [2, 4]
        [data]
        reference = "r.parquet"
        train = 4
        validation = BASE
        test = 4
        [network]
        hidden.lmax = 1
        """
    fine = Study.parse(text.replace("LEVELS", "[2, 4]").replace("BASE", "0"), "s")
    assert objectives(fine.file, fine.arms) == ("validation.l2_error",)
    bad = Study.parse(text.replace("LEVELS", "[2, 0]").replace("BASE", "2"), "s")
    with pytest.raises(StudyFileError, match=r"data\.validation: .*got 0 in arm 'validation=0'"):
        objectives(bad.file, bad.arms)


def test_hidden_widths():
    assert read("network.hidden = [{ lmax = 1 }, { lmax = 2 }]", factors=()) != ()
    with pytest.raises(StudyFileError, match="scaled to match"):
        read("network.hidden = [{ lmax = 1 }, { lmax = 2 }]", factors=(), matched=True)
    with pytest.raises(StudyFileError, match=r"expected network\.hidden\.irreps, or whole tables"):
        read("network.hidden.mul = [[4, 2], [8, 4]]", factors=())


def test_either_space_or_define():
    with pytest.raises(StudyFileError, match="got neither"):
        read("")
    with pytest.raises(StudyFileError, match="got both"):
        read("network.layers = [1, 2]", define="a:b")
    assert read("", define="a:b") == ()


def test_cmaes_takes_one_objective():
    with pytest.raises(StudyFileError, match="with several objectives; cmaes takes one only"):
        read("training.learning_rate = {low=0.1,high=0.2}", sampler="cmaes", objectives=("l2_error", "seconds"))


def test_a_step_that_is_too_small_is_refused():
    with pytest.raises(StudyFileError, match="at most 1,000,000 steps from low to high, got a step of 1e-300"):
        read("training.learning_rate = { low = 1e-4, high = 1e-2, step = 1e-300 }")
