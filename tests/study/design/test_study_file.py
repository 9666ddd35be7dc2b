"""The study file: what it makes of good input, and its one sentence about each kind of bad input."""

import hashlib
import tomllib

import pytest

from tesseral.study.changes import Changes, changes
from tesseral.study.errors import StudyFileError
from tesseral.study.study import Study
from tests.support.confirm_trials import confirm_trials
from tests.support.mistakes import STUDY as GOOD
from tests.support.mistakes import STUDY_MISTAKES


def confirm(study: Study) -> list:
    return confirm_trials(study, {"reference/water.parquet": "abc"}, numerics=1)


def test_factorial_arms():
    study = Study.parse(GOOD, "try.toml")
    assert [arm.label for arm in study.arms] == [
        "lmax=0, loss=raw",
        "lmax=0, loss=overlap",
        "lmax=1, loss=raw",
        "lmax=1, loss=overlap",
        "lmax=2, loss=raw",
        "lmax=2, loss=overlap",
    ]
    assert study.arms[2].configuration.network.hidden.irreps == "16x0e+16x0o+8x1e+8x1o"
    assert study.arms[2].configuration.max_steps == 4 * 3
    assert study.baseline is study.arms[0]


def test_arms_share_seeds_in_pairs():
    trials = confirm(Study.parse(GOOD, "try.toml"))
    assert len(trials) == 6 * 2 * 3
    assert len({planned.trial.id for planned in trials}) == len(trials)
    for planned in trials:
        pair = [other for other in trials if (other.block, other.replicate) == (planned.block, planned.replicate)]
        assert {other.trial.seeds for other in pair} == {planned.trial.seeds}
        assert len({other.arm.label for other in pair}) == 6
    assert len({p.trial.seeds.split for p in trials}) == 2
    assert len({p.trial.seeds.order for p in trials}) == 2
    assert len({p.trial.seeds.initialisation for p in trials}) == 6


def test_identity_is_content_and_nothing_else():
    study = Study.parse(GOOD, "try.toml")
    ids = [planned.trial.id for planned in confirm(study)]
    same = GOOD.replace('name = "try"', 'name = "other"') + "\n[resources]\ncpus = 2\n[traces]\ndense_epochs = 1\n"
    assert [planned.trial.id for planned in confirm(Study.parse(same, ""))] == ids
    for old, new in [("epochs = 4", "epochs = 5"), ("seed = 7", "seed = 8"), ("train = 10", "train = 9")]:
        assert not set(ids) & {planned.trial.id for planned in confirm(Study.parse(GOOD.replace(old, new), ""))}
    assert not set(ids) & {p.trial.id for p in confirm_trials(study, {"reference/water.parquet": "abd"}, numerics=1)}
    assert not set(ids) & {p.trial.id for p in confirm_trials(study, {"reference/water.parquet": "abc"}, numerics=2)}
    moved = Study.parse(GOOD.replace("reference/water", "elsewhere/water"), "")
    assert [p.trial.id for p in confirm_trials(moved, {"elsewhere/water.parquet": "abc"}, numerics=1)] == ids


def test_seeds_are_hashes_that_anyone_can_recompute():
    expected = int(hashlib.sha256(b'[7,"confirm","split",0]').hexdigest()[:16], 16) >> 1
    assert confirm(Study.parse(GOOD, ""))[0].trial.seeds.split == expected


def test_arms_that_resolve_to_one_configuration_are_merged():
    levels = "network.hidden = [{lmax = 1}, {orders = [1, 0]}, {lmax = 0}]"
    study = Study.parse(GOOD.replace('"network.hidden.lmax" = [0, 1, 2]', levels), "")
    assert study.arms[0].labels == ("hidden={lmax=1}, loss=raw", "hidden={orders=[1,0]}, loss=raw")
    assert len(study.arms) == 4


def test_an_embedding_or_none_is_a_factor():
    text = GOOD.replace('loss.name = ["raw", "overlap"]', 'network.embedding = ["none", 16]')
    study = Study.parse(text, "")
    assert [arm.label for arm in study.arms[:2]] == ["lmax=0, embedding=none", "lmax=0, embedding=16"]
    assert [arm.configuration.network.embedding for arm in study.arms[:2]] == [None, 16]
    plain = Study.parse(GOOD.replace('loss.name = ["raw", "overlap"]', ""), "")
    ids = [{planned.trial.id for planned in confirm(one)} for one in (study, plain)]
    assert ids[1] < ids[0]
    for level in ('"all"', "0"):
        with pytest.raises(StudyFileError, match=r"factors\.network\.embedding: expected .*'none'") as caught:
            Study.parse(text.replace('"none"', level), "")
        assert "\n" not in str(caught.value)


def test_saturation_is_a_factor():
    """A gated network without a diagram has no product, and so one arm."""
    levels = 'network.saturation = [true, false]\nnetwork.interaction = ["gated", "mace"]'
    study = Study.parse(
        GOOD.replace('"network.hidden.lmax" = [0, 1, 2]', levels).replace("[network]", "[network]\nhidden.lmax = 1"), ""
    )
    assert [arm.labels[0] for arm in study.arms[::2]] == [
        "saturation=true, interaction=gated, loss=raw",
        "saturation=true, interaction=mace, loss=raw",
        "saturation=false, interaction=mace, loss=raw",
    ]
    assert [arm.configuration.network.saturation for arm in study.arms[::2]] == [True, True, False]


def test_explicit_arms():
    text = GOOD[: GOOD.index("[factors]")] + GOOD[GOOD.index("[replication]") :]
    text += '\n[[arms]]\nnetwork.hidden.lmax = 0\n[[arms]]\nnetwork.hidden.irreps = "4x0e+2x2e"\nnetwork.layers = 2\n'
    study = Study.parse(text, "")
    assert [arm.label for arm in study.arms] == ["lmax=0", "irreps=4x0e+2x2e, layers=2"]
    assert study.arms[1].configuration.network.layers == 2


SEARCH = """
[search]
trials = 4
sampler = "random"
space.training.learning_rate = { low = 1e-4, high = 1e-2, log = true }
[search.asha]
min_epochs = 2
"""


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("", SEARCH, "search.trials is 4 and was None"),
        ("trials = 4", "trials = 5", "search.trials is 5 and was 4"),
        ('"random"', '"tpe"', "search.sampler is 'tpe' and was 'random'"),
        ("high = 1e-2", "high = 2e-2", "search.space.training.learning_rate.high is 0.02 and was 0.01"),
        ("min_epochs = 2", "min_epochs = 3", "search.asha.min_epochs is 3 and was 2"),
        ("[search.asha]\nmin_epochs = 2", "", "search.asha.min_epochs is None and was 2"),
        ("[network]", "[match]\nby = 'flops'\n[network]", "match.by is 'flops' and was 'none'"),
        ("[network]", "[match]\nwithin = ['loss.name']\n[network]", "match.within is ('loss.name',) and was ()"),
        ("[network]", "[design]\nwhere = ['true']\n[network]", "design.where is ('true',) and was ()"),
        ("[network]", "[traces]\nprobe = 2\n[network]", "traces.probe is 2 and was 8"),
    ],
)
def test_differences_are_dotted_paths(old, new, difference):
    before = Study.parse(GOOD + (SEARCH if old else ""), "")
    after = Study.parse((GOOD + SEARCH).replace(old, new, 1) if old else GOOD + new, "")
    refused = changes(after, before).refused
    assert difference in refused
    assert all(phrase.split(".")[0] == difference.split(".")[0] for phrase in refused)
    swapped = [phrase.partition(" is ")[0] for phrase in changes(before, after).refused]
    assert swapped == [phrase.partition(" is ")[0] for phrase in refused]


def test_where_data_comes_from_and_what_trials_are_given_may_change():
    study = Study.parse(GOOD + SEARCH, "")
    for old, new in [
        ("train = 10", 'train = 10\nrecipe = "water.toml"'),
        ("[network]", "[resources]\ncpus = 4\n[network]"),
    ]:
        assert changes(Study.parse((GOOD + SEARCH).replace(old, new), ""), study) == Changes()
    moved = changes(Study.parse((GOOD + SEARCH).replace("water.parquet", "ice.parquet"), ""), study).refused
    assert len(moved) == 6  # one for each arm
    assert "data.reference is 'reference/ice.parquet'" in moved[0]


@pytest.mark.parametrize(("old", "new", "path", "words"), STUDY_MISTAKES)
def test_bad_input_is_one_sentence(old, new, path, words):
    assert old in GOOD
    with pytest.raises(StudyFileError) as caught:
        Study.parse(GOOD.replace(old, new, 1), "try.toml")
    assert caught.value.path == path
    for word in words:
        assert word in str(caught.value)
    assert str(caught.value).startswith("try.toml")
    assert "\n" not in str(caught.value)


def test_an_arm_written_twice_is_refused():
    text = GOOD[: GOOD.index("[factors]")] + GOOD[GOOD.index("[replication]") :]
    text += '\n[[arms]]\nnetwork.hidden.lmax = 0\n[[arms]]\n"network.hidden.lmax" = 0\n'
    with pytest.raises(StudyFileError, match=r"arms \(entry 2\).*twice"):
        Study.parse(text, "")


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(StudyFileError, match="cannot be read"):
        Study.load(tmp_path / "none.toml")


def test_examples_are_valid():
    from importlib.resources import files

    names = [entry for entry in files("tesseral.study.examples").iterdir() if entry.name.endswith(".toml")]
    studies = [entry for entry in names if "study" in tomllib.loads(entry.read_text())]
    assert len(studies) >= 2
    for entry in studies:
        Study.parse(entry.read_text(), entry.name)


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        ('allocate = "sequential"\nmax_blocks = 5', "replication.precision"),
        ('allocate = "sequential"\nprecision = 1.0', "replication.max_blocks"),
        ('allocate = "sequential"\nprecision = 1.0\nmax_blocks = 2\nblocks = 1', "replication.max_blocks"),
        ("precision = 1.0", "replication.precision"),
    ],
)
def test_a_sequential_allocation_says_when_it_ends(lines, path):
    text = f'[study]\nname = "s"\n[factors]\nnetwork.hidden.lmax = [0, 1]\n[replication]\n{lines}\n'
    data = '[data]\nreference = "r.parquet"\ntrain = 4\ntest = 2\n'
    with pytest.raises(StudyFileError) as caught:
        Study.parse(text + data, "s.toml")
    assert caught.value.path == path


def test_a_study_prints_as_one_line(study_file):
    assert repr(Study.load(study_file)) == "Study('small': 2 arms × 3 blocks × 1 replicate)"


TESTS = '[data.tests]\nmd = "reference/md.parquet"\n'


def with_tests(metric: str) -> str:
    return GOOD.replace("seed = 7", f"seed = 7\nmetric = {metric!r}") + TESTS


def test_a_study_may_be_judged_by_a_test_set_that_all_arms_have():
    study = Study.parse(with_tests("md.l2_error"), "")
    assert study.file.study.metric == "md.l2_error"
    assert study.arms[0].configuration.data.tests == {"md": "reference/md.parquet"}
    for metric, message in {
        "other.l2_error": "expected a test set that all arms have, one of md, got 'other'",
        "md.l2_eror": "md.l2_error, .* got 'md.l2_eror'; did you mean 'md.l2_error'",
        "test.l2_error": "expected a test set that all arms have, one of md, got 'test'",
    }.items():
        with pytest.raises(StudyFileError, match=message):
            Study.parse(with_tests(metric), "")
    without = with_tests("md.l2_error").replace(TESTS, "")
    with pytest.raises(StudyFileError, match=r"the name of one in data\.tests, which names none, got 'md'"):
        Study.parse(without, "")


@pytest.mark.parametrize("name", ["test", "train", "a b", "a.b", "-a"])
def test_a_test_set_has_a_name_that_a_metric_can_begin_with(name):
    with pytest.raises(StudyFileError, match="expected a name of letters, digits, '_' and '-'"):
        Study.parse(GOOD + f'[data.tests]\n"{name}" = "reference/md.parquet"\n', "")


def test_the_content_of_a_test_set_is_in_the_identity_and_its_place_is_not():
    def ids(text: str, hashes: dict[str, str]) -> set[str]:
        known = {"reference/water.parquet": "abc"} | hashes
        return {planned.trial.id for planned in confirm_trials(Study.parse(text, ""), known, numerics=1)}

    asked = ids(GOOD + TESTS, {"reference/md.parquet": "m"})
    assert not asked & ids(GOOD, {})
    assert not asked & ids(GOOD + TESTS, {"reference/md.parquet": "n"})
    assert asked == ids(GOOD + TESTS.replace("reference/md", "else/md"), {"else/md.parquet": "m"})


def test_folds_of_a_published_split_are_refused():
    text = GOOD.replace("[data]", '[data]\nsplit = "column"').replace("[replication]", '[replication]\nsplit = "folds"')
    with pytest.raises(
        StudyFileError, match=r'expected "random" with a published split, data\.split = .column., got "fo'
    ):
        Study.parse(text, "")
