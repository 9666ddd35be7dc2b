"""`tesseral retry`: failed trials become due again."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from tesseral.cluster.commands.display import console
from tesseral.cluster.commands.exit_codes import resumable
from tesseral.cluster.commands.options import AsJson, Preset, Storage, StudyName, records_name
from tesseral.cluster.commands.streams import printed
from tesseral.study.configuration.trial import Cause
from tesseral.study.records.ledger import frozen
from tesseral.study.records.started import not_started
from tesseral.study.records.store import Store
from tesseral.study.wording import count, failure, listed_labels

Trials = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TRIAL]…", help="Ids of failed trials, or their beginnings.", show_default=False),
]
ArmName = Annotated[
    str | None, typer.Option(metavar="ARM", help="Only trials of the arm with this label.", show_default=False)
]
Causes = Annotated[
    list[Cause] | None,
    typer.Option(
        "--cause",
        help="Only trials that failed for this cause; may be given several times. `memory`: out of memory; `machine`: "
        "a lost worker or an error of the system; `training`: diverged; `code`: any other exception.",
        show_default=False,
    ),
]


def retry(
    study: StudyName,
    trials: Trials = None,
    arm: ArmName = None,
    causes: Causes = None,
    preset: Preset = None,
    storage: Storage = "runs",
    as_json: AsJson = False,
) -> None:
    """Make failed trials due again: the next `tesseral run` trains them from their start. No driver may run the study.

    What failed is kept as `attempts/<n>.failed.json` of its trial, and counts no more.

    Example: `tesseral retry quickstart --cause memory`
    """
    from tesseral.study.records.retry import retry as retried_in

    name = records_name(study, preset)
    store = Store(storage).child(name)
    if frozen(store) is None:
        raise not_started(storage, name)
    with resumable():
        done = retried_in(store, trials or (), arm, causes or ())
    if as_json:
        print(json.dumps({"study": name, **asdict(done)}, indent=2))
        printed()
        return
    for each in done.trials:
        console.print(f"{each.trial[:10]} ({each.arm}) {failure(each.cause)}: {each.reason}", soft_wrap=True)
    for each in done.refused:
        console.print(f"{each.trial[:10]} ({each.arm}) stays refused: {each.reason}", soft_wrap=True)
    if done.chosen:
        console.print(
            f"The search has chosen its setting already, which stays: {listed_labels(done.chosen)}.", soft_wrap=True
        )
    if done.trials:
        file = study if study.endswith(".toml") else "with its study file"
        are = "is" if len(done.trials) == 1 else "are"
        them = "it" if len(done.trials) == 1 else "them"
        console.print(
            f"{name}: {count(len(done.trials), 'trial')} {are} due again; tesseral run {file} trains {them}.",
            soft_wrap=True,
        )
    else:
        some = " of these" if arm or causes else ""
        console.print(f"{name}: no trial{some} has failed that could be trained again.", soft_wrap=True)
    printed()
