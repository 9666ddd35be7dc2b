"""The budget of an arm's search, shared out among independent searches.

The setting that a search chooses varies with its proposals, its split and its seeds, as an error varies with the split
and the initialisation. Two arms that differ in nothing, tuned once each, therefore end with different settings, and the
same difference between these settings returns in every block. Only independent searches show how much of a difference
comes from them: Bouthillier et al., Accounting for variance in machine learning benchmarks, arXiv 2103.03098.

Block b of an arm is confirmed with the setting that search b mod R chose, where R is the number of its searches.
"""

FEWEST_SEARCHES = 3
"""Searches that give an interval. Two decide nothing and cost half of the tuning."""

FEWEST = 4
"""Proposals that each of three searches has at least, if their number is not given: fewer tune hardly anything."""

ENOUGH = 6
"""Proposals that each of more than three searches has at least."""


def default_repeats(trials: int, blocks: int) -> int:
    """Number of independent searches in each arm, where `search.repeats` is not set.

    More searches decide more than longer ones, as long as each is a search: with `ENOUGH` proposals the setting that
    random proposals find costs 0.2 in the logarithm of the error, with twice as many 0.12, with a third 0.85. So there
    are as many as blocks, if each then has `ENOUGH` proposals, but three if each has `FEWEST`. Found by simulation
    (`make calibrate`; `tests/calibration/simulation/tuning.py` has the model).

    :param trials: `search.trials`, the proposals of an arm.
    :param blocks: `replication.blocks`.
    :returns: 1, or at least `FEWEST_SEARCHES`.
    """
    if blocks < FEWEST_SEARCHES or trials < FEWEST_SEARCHES * FEWEST:
        return 1
    return min(blocks, max(FEWEST_SEARCHES, trials // ENOUGH))


def share_out(trials: int, repeats: int) -> tuple[int, ...]:
    """The budget of each of an arm's searches: equal shares, and one proposal more in the first ones for the rest.

    :param trials: `search.trials`, the proposals of an arm.
    :param repeats: number of its independent searches.
    :returns: distinct proposals of each search; they sum to `trials`.
    """
    share, rest = divmod(trials, repeats)
    return tuple(share + (repeat < rest) for repeat in range(repeats))


def shares_text(trials: int, repeats: int) -> str:
    """The budget of a single search in words: `4`, or `3 or 4` where shares differ.

    :param trials: `search.trials`, the proposals of an arm.
    :param repeats: number of its independent searches.
    """
    return " or ".join(f"{share:,}" for share in sorted(set(share_out(trials, repeats))))
