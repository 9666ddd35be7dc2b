"""Matching: scale the widths of arms so that their networks have equal size.

Size is what the caller's `CountSize` counts; nothing here builds a network.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.trial import canonical
from tesseral.study.design.arm import Arm
from tesseral.study.design.search_space import apply
from tesseral.study.design.study_file import Match, Search
from tesseral.study.design.widths import CountSize, fit
from tesseral.study.errors import StudyFileError, TesseralError

LOOSE = 0.01
"""Residual of a match above which plans and reports name it, as a share of the size that is asked for."""


@dataclass(frozen=True)
class MatchedArm:
    """An arm at the widths that it is trained with: with its own settings, or with those that its search proposes."""

    arm: Arm
    configuration: Configuration
    """Resolved, widths scaled."""
    natural: str
    """Hidden irreps before widths were scaled."""
    target: float | None = None
    """Size that the network is to have, in the unit of `arm.match`; None if the arm is not matched."""
    residual: float = 0.0
    """size / target − 1; 0 if the arm is not matched."""
    refusal: str | None = None
    """Why proposed settings cannot be given the target size. The widths are then the natural ones, and the network is
    not trained."""

    @property
    def label(self) -> str:
        """Label of the arm."""
        return self.arm.label

    @property
    def hidden(self) -> str:
        """Hidden irreps as they are trained; empty for a network of your own that is given none."""
        return self.configuration.network.hidden.irreps or ""

    @property
    def steps(self) -> int:
        """Optimizer steps of one trial."""
        return self.configuration.max_steps


def match_arms(
    arms: Sequence[Arm], match: Match, search: Search | None, within: Sequence[str], count: CountSize
) -> list[MatchedArm]:
    """Match every arm. Arms whose networks become the same are joined into one arm with all their labels.

    Two kinds of arms are not joined. Arms that are compared apart, within different levels, share their trials instead.
    If the search may change sizes, arms must also have the same target, so that they stay the same in the search.

    :param arms: at their natural widths.
    :param match: the table `[match]`.
    :param search: the study's search, if it has one.
    :param within: factors within whose levels arms are compared.
    :param count: size of a configuration in a unit of `match.by`.
    :raises StudyFileError: if `match.to` or `match.within` name nothing, or an arm cannot be given its size.
    """
    targets = target_sizes(arms, match, count)
    resized = search is not None and _changes_sizes(search)
    by_network: dict[str, MatchedArm] = {}
    for arm in arms:
        matched = _matched(arm, targets[arm.key], count)
        searched = [arm.match, matched.target] if resized else None
        apart = [arm.factors.get(path) for path in within]
        key = canonical([matched.configuration.to_dict(), searched, apart])
        same = by_network.get(key)
        by_network[key] = _joined(same, matched) if same else matched
    return list(by_network.values())


def with_settings(matched: MatchedArm, settings: Mapping[str, Any], count: CountSize) -> MatchedArm:
    """Set hyperparameters in an arm, and scale its widths anew so that it keeps its target size.

    :param matched: the arm at its matched widths.
    :param settings: dotted path → value.
    :param count: size of a configuration in a unit of `match.by`.
    :returns: the arm with these settings; with a `refusal` if no widths have its target size.
    """
    arm, target = matched.arm, matched.target
    natural = apply(arm.configuration, settings)
    irreps = natural.network.hidden.irreps or ""
    if target is None:
        return MatchedArm(arm, natural, irreps)
    configuration, refusal = natural, None
    try:
        configuration, _ = fit(natural, target, arm.match, count)
    except TesseralError as error:
        refusal = f"these settings cannot be given the size of their arm in {arm.match}: {error}"
    return MatchedArm(arm, configuration, irreps, target, count(configuration, arm.match) / target - 1, refusal)


def target_sizes(arms: Sequence[Arm], match: Match, count: CountSize) -> dict[str, float | None]:
    """The target size of each arm, by the arm's key; None for arms that are not matched.

    Arms are matched in groups: one for each combination of levels of the factors `match.within`, and for each level of
    `match.by` if that is a factor. The target of a group is its largest natural size, or the number `match.to`, or the
    size of the arm that `match.to` names; with `match.within`, of that arm's counterpart in the group.

    :param arms: at their natural widths.
    :param match: the table `[match]`.
    :param count: size of a configuration in a unit.
    :raises StudyFileError: if `match.to` or `match.within` name nothing, or components are to be equal between networks
        of tesseral and a user's own.
    """
    check_match(arms, match)
    groups: dict[str, list[Arm]] = {}
    for arm in arms:
        if arm.match != "none":
            groups.setdefault(json.dumps([arm.match, _levels(arm, match)], sort_keys=True), []).append(arm)
    targets: dict[str, float | None] = {arm.key: None for arm in arms}
    for members in groups.values():
        by = members[0].match
        named = [counterpart(arms, match, members[0])] if isinstance(match.to, str) else []
        if by == "components" and len({arm.configuration.network.define is None for arm in (*members, *named)}) > 1:
            raise StudyFileError(
                "match.by",
                "expected another size than 'components' between networks of tesseral and one of your own, whose live "
                "hidden features are not known",
            )
        if isinstance(match.to, int):
            target = float(match.to)
        elif named:
            target = count(named[0].configuration, by)
        else:
            target = max(count(arm.configuration, by) for arm in members)
        targets |= {arm.key: target for arm in members}
    return targets


def check_match(arms: Sequence[Arm], match: Match) -> None:
    """Check that `match.to` names an arm, if it is not a number, and `match.within` factors.

    :param arms: of the study.
    :param match: the table `[match]`.
    :raises StudyFileError: if they do not.
    """
    check_within("match.within", match.within, arms)
    labels = [label for arm in arms for label in (arm.label, *arm.labels)]
    if isinstance(match.to, str) and match.to not in labels:
        expected = f"expected a number or an arm's label, one of {list(dict.fromkeys(labels))}"
        raise StudyFileError("match.to", f"{expected}, got {match.to!r}")


def check_within(key: str, within: Sequence[str], arms: Sequence[Arm]) -> None:
    """Check that each of these is a factor.

    :param within: dotted paths of factors.
    :param arms: of the study.
    :param key: where the study file names them, for errors.
    :raises StudyFileError: if one is not.
    """
    paths = list(dict.fromkeys(path for arm in arms for path in arm.factors))
    for index, path in enumerate(within):
        if path not in paths:
            expected = (
                f"expected a factor, one of {', '.join(paths)}" if paths else "expected none: the study has no factor"
            )
            raise StudyFileError(f"{key}[{index}]", f"{expected}, got {path!r}")


def _matched(arm: Arm, target: float | None, count: CountSize) -> MatchedArm:
    natural = arm.configuration.network.hidden.irreps or ""
    if target is None:
        return MatchedArm(arm, arm.configuration, natural)
    try:
        configuration, _ = fit(arm.configuration, target, arm.match, count)
    except TesseralError as error:
        raise StudyFileError("match.to", f"arm {arm.label!r} in {arm.match}: {error}") from None
    residual = count(configuration, arm.match) / target - 1 if target else 0.0
    return MatchedArm(arm, configuration, natural, target, residual)


def _changes_sizes(search: Search) -> bool:
    """Whether its proposals may change the size of a network: all settings may, except of data, loss and training."""
    tables = {path.partition(".")[0] for path in search.space}
    return search.define is not None or not tables <= {"data", "loss", "training"}


def _joined(first: MatchedArm, second: MatchedArm) -> MatchedArm:
    """One arm with the labels of both, and the target of the one that was matched."""
    kept = second if first.target is None else first
    labels = first.arm.labels + second.arm.labels
    return replace(kept, arm=replace(kept.arm, labels=labels, factors=first.arm.factors))


def _levels(arm: Arm, match: Match) -> dict[str, Any]:
    return {path: arm.factors.get(path) for path in match.within if path != "match.by"}


def counterpart(arms: Sequence[Arm], match: Match, member: Arm) -> Arm:
    """The arm that another is matched to: its levels in the factors `match.within`, in all others those of `match.to`.

    :param arms: of the study.
    :param match: the table `[match]`, whose `to` is the label of an arm.
    :param member: the arm that is matched.
    :raises StudyFileError: if there is none.
    """
    named = next(arm for arm in arms if match.to in (arm.label, *arm.labels))
    free = _levels(member, match)
    if _levels(named, match) == free:
        return named
    wanted = _others(named.factors | free)
    counterpart = next((arm for arm in arms if _others(arm.factors) == wanted), None)
    if counterpart is None:
        levels = ", ".join(f"{path} = {level!r}" for path, level in free.items())
        expected = f"expected an arm like {match.to!r} but with {levels}, to match others within them"
        raise StudyFileError("match.to", f"{expected}; found none, so name a number")
    return counterpart


def _others(factors: Mapping[str, Any]) -> dict[str, Any]:
    return {path: level for path, level in factors.items() if path != "match.by"}
