"""Arms of equal size: what size each is to have, and the network that has it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.trial import canonical
from tesseral.study.design.arm import Arm
from tesseral.study.design.study_file import Match, Search
from tesseral.study.design.widths import Count as Count
from tesseral.study.design.widths import fit as fit
from tesseral.study.errors import StudyFileError, TesseralError


@dataclass(frozen=True)
class Matched:
    """An arm at the widths that it is trained with."""

    arm: Arm
    configuration: Configuration
    """Resolved, widths scaled."""
    natural: str
    """Hidden irreps as the study file gives them."""
    matched: str
    """Hidden irreps as they are trained."""
    scale: float
    """s; 1 where nothing was matched."""
    size: float
    """In the unit of `arm.match`; in parameters where it is none."""
    target: float | None
    residual: float
    """size / target − 1; 0 where nothing was matched."""


def match_arms(
    arms: Sequence[Arm], match: Match, search: Search | None, within: Sequence[str], count: Count
) -> list[Matched]:
    """Every arm at its matched widths; arms that became the same network are joined into one that has all their labels.

    Arms that are compared apart are not joined: they share their trials instead. Where a search may change sizes, arms
    are joined only if they are given the same size in it too.

    :param search: the study's search, if it has one.
    :param within: factors within whose levels arms are compared.
    :param count: size of a configuration in a unit of `match.by`.
    :raises StudyFileError: if `match.to` or `match.within` name nothing, or an arm cannot be given its size.
    """
    targets = target_sizes(arms, match, count)
    resized = search is not None and _changes_sizes(search)
    found: dict[str, Matched] = {}
    for arm in arms:
        made = _matched(arm, targets[arm.key], count)
        searched = [arm.match, made.target] if resized else None
        apart = [arm.factors.get(path) for path in within]
        key = canonical([made.configuration.to_dict(), searched, apart])
        same = found.get(key)
        found[key] = _joined(same, made) if same else made
    return list(found.values())


def target_sizes(arms: Sequence[Arm], match: Match, count: Count) -> dict[str, float | None]:
    """Arm's key → the size that it is to have; None for arms that are not matched.

    Arms are matched apart for each combination of levels of the factors `match.within`, and of `match.by` where that
    is a factor. The target is the largest natural size among them, or the number `match.to`, or the size of the arm
    that `match.to` names: with `match.within`, of the arm that has its levels in all other factors.

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
        named = [_counterpart(arms, match, members[0])] if isinstance(match.to, str) else []
        if by == "components" and len({arm.configuration.network.define is None for arm in (*members, *named)}) > 1:
            raise StudyFileError(
                "match.by",
                "expected another size than 'components' between networks of tesseral and one of your own, of which it "
                "is not known which hidden features are made and read",
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
    """Whether `match.to` names an arm and `match.within` factors.

    :raises StudyFileError: if they do not.
    """
    check_within("match.within", match.within, arms)
    labels = [label for arm in arms for label in (arm.label, *arm.labels)]
    if isinstance(match.to, str) and match.to not in labels:
        expected = f"expected a number or an arm's label, one of {list(dict.fromkeys(labels))}"
        raise StudyFileError("match.to", f"{expected}, got {match.to!r}")


def check_within(key: str, within: Sequence[str], arms: Sequence[Arm]) -> None:
    """Whether each of these is a factor.

    :param key: of the study file, for errors.
    :raises StudyFileError: if one is not.
    """
    paths = list(dict.fromkeys(path for arm in arms for path in arm.factors))
    for index, path in enumerate(within):
        if path not in paths:
            expected = (
                f"expected a factor, one of {', '.join(paths)}" if paths else "expected none, for there is no factor"
            )
            raise StudyFileError(f"{key}[{index}]", f"{expected}, got {path!r}")


def _matched(arm: Arm, target: float | None, count: Count) -> Matched:
    natural = str(arm.configuration.network.hidden.irreps)
    if target is None:
        size = count(arm.configuration, "parameters")
        return Matched(arm, arm.configuration, natural, natural, 1.0, size, None, 0.0)
    try:
        configuration, scale = fit(arm.configuration, target, arm.match, count)
    except TesseralError as error:
        raise StudyFileError("match.to", f"arm {arm.label!r} in {arm.match}: {error}") from None
    size = count(configuration, arm.match)
    matched = str(configuration.network.hidden.irreps)
    return Matched(arm, configuration, natural, matched, scale, size, target, size / target - 1 if target else 0.0)


def _changes_sizes(search: Search) -> bool:
    """Whether what it proposes may change the size of a network: anything but how it is trained, and on how much."""
    tables = {path.partition(".")[0] for path in search.space}
    return search.define is not None or not tables <= {"data", "loss", "training"}


def _joined(first: Matched, second: Matched) -> Matched:
    """One network with the labels of both, and the target of the one that was matched."""
    kept = second if first.target is None else first
    labels = first.arm.labels + second.arm.labels
    return replace(kept, arm=replace(kept.arm, labels=labels, factors=first.arm.factors))


def _levels(arm: Arm, match: Match) -> dict[str, Any]:
    return {path: arm.factors.get(path) for path in match.within if path != "match.by"}


def _counterpart(arms: Sequence[Arm], match: Match, member: Arm) -> Arm:
    """The arm that `match.to` names, but with the levels that `member` has in the factors `match.within`."""
    named = next(arm for arm in arms if match.to in (arm.label, *arm.labels))
    free = _levels(member, match)
    if _levels(named, match) == free:
        return named
    wanted = _others(named.factors | free)
    found = next((arm for arm in arms if _others(arm.factors) == wanted), None)
    if found is None:
        levels = ", ".join(f"{path} = {level!r}" for path, level in free.items())
        expected = f"expected an arm like {match.to!r} but with {levels}, to match others within them"
        raise StudyFileError("match.to", f"{expected}; found none, so name a number")
    return found


def _others(factors: Mapping[str, Any]) -> dict[str, Any]:
    return {path: level for path, level in factors.items() if path != "match.by"}
