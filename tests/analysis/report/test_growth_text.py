"""What is told of a study that grew."""

from tesseral.analysis.report.growth_text import growth_line, growth_sentences
from tests.support.synthetic_study import info


def grown(**changes) -> dict:
    arms = [f"lmax={k}" for k in range(4)]
    given = {"when": "2026-11-30T01:02:03+00:00", "changes": ["6 blocks instead of 3"], "complete": 24, "blocks": 3}
    return given | {"arms": arms, "study": ""} | changes


def test_more_blocks_make_p_values_too_small():
    sentences = growth_sentences(info(blocks=6, grown=(grown(),)))
    assert sentences == [
        "The study grew on 2026-11-30, after 24 complete trials: 6 blocks instead of 3.",
        "If blocks were added because of the results that were known, p-values are too small: of a comparison of equal "
        "arms, p < 0.05 at one of 2 looks, at 3 and 6 blocks, has a chance of 8 % in place of 5 %.",
    ]


def test_a_look_at_fewer_blocks_than_a_claim_takes_is_none():
    """A study of one block, then of three, then of six could claim something twice."""
    twice = growth_sentences(info(blocks=6, grown=(grown(blocks=1, changes=["3 blocks instead of 1"]), grown())))
    assert twice[2:] == growth_sentences(info(blocks=6, grown=(grown(),)))[1:]
    assert len(growth_sentences(info(blocks=6, grown=(grown(blocks=2, changes=["6 blocks instead of 2"]),)))) == 1


def test_more_replicates_are_further_looks_too():
    more = grown(changes=["another description", "2 replicates instead of 1"])
    told = "were added because of the results that were known, p-values are too small."
    assert growth_sentences(info(blocks=3, grown=(more,)))[1:] == [f"If replicates {told}"]
    assert growth_sentences(info(blocks=6, grown=(grown(), more)))[2:] == [f"If blocks or replicates {told}"]


def test_a_terminal_points_to_the_page():
    assert growth_line(info(grown=(grown(),))) == (
        "The study grew after results were known: the page says what that does to p-values."
    )
    assert growth_line(info(grown=(grown(complete=0),))) is None


def test_a_study_that_grew_before_it_had_results_is_as_good_as_a_larger_one():
    assert growth_sentences(info(blocks=6, grown=(grown(complete=0),))) == [
        "The study grew on 2026-11-30, after 0 complete trials: 6 blocks instead of 3."
    ]
    assert growth_sentences(info()) == []


def test_further_arms_and_other_comparisons_are_told():
    some = grown(changes=["arm lmax=3", "the baseline lmax=1 instead of lmax=0"], arms=["lmax=0", "lmax=1", "lmax=2"])
    sentences = growth_sentences(info(blocks=3, grown=(some,)))
    assert sentences[1:] == [
        "p-values are corrected for the comparisons of 4 arms; before the study grew, for those of 3: a change that "
        "was significant then may not be now.",
        "Comparisons were chosen after results were known; p-values are corrected for those shown here only.",
    ]


def test_arms_that_were_added_before_there_were_results_count_as_there_from_the_start():
    early = grown(complete=0, changes=["arm lmax=1", "arm lmax=2", "arm lmax=3"], arms=["lmax=0"])
    late = grown(changes=["another description"])
    assert growth_sentences(info(blocks=3, grown=(early, late)))[2:] == []


def test_a_dropped_arm_is_told():
    dropped = {"when": "2026-11-30T01:02:03+00:00", "arm": "lmax=4", "complete": 6}
    (sentence,) = growth_sentences(info(dropped=(dropped,)))
    assert sentence.startswith("Arm lmax=4 was dropped on 2026-11-30, after 6 complete trials: its trials are kept")
