"""A study that grows: what a later study file may ask for beside what was asked at the start, and what it may not.

More blocks or replicates and further arms add trials; another baseline, `within`, metric or description changes none,
unless a search or a sequential allocation followed the metric. All that is there already is kept. Anything else would
change trials.
"""

import json
from dataclasses import dataclass
from typing import Any

from tesseral.study.study import Study
from tesseral.study.wording import count, listed_labels

_MORE = {"replication.blocks": "block", "replication.replicates": "replicate"}
"""Setting that may become larger → what there is more of."""
_TOLD = {"study.baseline": "the baseline", "study.within": "study.within", "study.metric": "the metric"}
"""Setting that changes how arms are compared and no trial → its name in words."""


@dataclass(frozen=True)
class Changes:
    """How a study file differs from the study as it was, one phrase each."""

    grown: tuple[str, ...] = ()
    """What the study may grow by."""
    refused: tuple[str, ...] = ()
    """What would change its trials."""


def changes(now: Study, before: Study) -> Changes:
    """How a study file differs from the study as it was.

    :param now: the study file.
    :param before: as it was started, or has grown since.
    """
    ours, theirs = now.settings(), before.settings()
    labels, known = ([arm.label for arm in study.arms] for study in (now, before))
    added, missing = (
        [label for label in one if label not in other] for one, other in ((labels, known), (known, labels))
    )
    if missing:
        return Changes(refused=(_missing(now, added, missing),))
    sequential = now.file.replication.allocate == "sequential"
    grown = ["another description"] if now.file.study.description != before.file.study.description else []
    grown += [f"{'arm' if len(added) == 1 else 'arms'} {listed_labels(added)}"] if added else []
    refused = []
    for path in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(path), theirs.get(path)
        if mine == other or any(path.startswith(f"arm '{label}'.") for label in added):
            continue
        if path in _MORE and not sequential and isinstance(mine, int) and isinstance(other, int) and mine > other:
            grown.append(f"{count(mine, _MORE[path])} instead of {other}")
        elif path in _TOLD and not sequential:
            grown.append(f"{_TOLD[path]} {_text(mine)} instead of {_text(other)}")
        elif path == "search.objectives" and mine and other and now.file.search and not now.file.search.objectives:
            refused.append(
                f"its search followed another metric, which search.objectives = {json.dumps([*other])} keeps"
            )
        elif not (path == "design.where" and added):
            refused.append(f"{path} is {mine!r} and was {other!r}")
    return Changes(tuple(grown), tuple(refused))


def _missing(now: Study, added: list[str], missing: list[str]) -> str:
    """A phrase about arms that the study had and the file does not."""
    if added:
        return f"its arms are {', '.join(arm.label for arm in now.arms)}, without {listed_labels(missing)}"
    options = " ".join(f"--arm '{label}'" for label in missing)
    return f"it lacks {listed_labels(missing)}, which `tesseral drop {now.name} {options}` would drop"


def _text(value: Any) -> str:
    return ", ".join(value) or "none" if isinstance(value, tuple | list) else str(value)
