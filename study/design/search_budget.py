"""The budget of an arm's search, shared out among independent searches.

The setting that a search chooses varies with its proposals, its split and its seeds, as an error varies with the split
and the initialisation. Two arms that differ in nothing, tuned once each, therefore end with different settings, and the
same difference between these settings returns in every block. Only independent searches show how much of a difference
comes from them: Bouthillier et al., Accounting for variance in machine learning benchmarks, arXiv 2103.03098.

Block b of an arm is confirmed with the setting that search b mod R chose, where R is the number of its searches.
"""

FEWEST = 4
"""Proposals that each search has at least, if the number of searches is not given: fewer tune hardly anything."""


def default_repeats(trials: int, blocks: int) -> int:
    """Number of independent searches in each arm, where `search.repeats` is not set: as many as the budget allows.

    A search that is confirmed in several blocks is still one search, so there are as many as there are blocks, if each
    then has at least `FEWEST` proposals.

    :param trials: `search.trials`, the proposals of an arm.
    :param blocks: `replication.blocks`.
    :returns: at least 1.
    """
    return min(blocks, max(1, trials // FEWEST))


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
