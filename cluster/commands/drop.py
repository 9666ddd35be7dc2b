"""`tesseral drop`: arms leave a study, whose records keep their trials."""

import json
from typing import Annotated

import typer

from tesseral.cluster.commands.display import console
from tesseral.cluster.commands.exit_codes import resumable
from tesseral.cluster.commands.options import AsJson, Preset, Storage, StudyName, records_name
from tesseral.cluster.commands.streams import printed
from tesseral.study.configuration.trial import State
from tesseral.study.design.arm import Arm
from tesseral.study.errors import TesseralError
from tesseral.study.records.growth import drop as drop_from
from tesseral.study.records.growth import droppable
from tesseral.study.records.lease import LENGTH, Lease
from tesseral.study.records.ledger import Entry, Ledger, frozen
from tesseral.study.records.started import not_started
from tesseral.study.records.store import Store
from tesseral.study.wording import count, listed_labels

Labels = Annotated[
    list[str],
    typer.Option("--arm", metavar="ARM", help="Label of an arm; may be given several times.", show_default=False),
]
Yes = Annotated[bool, typer.Option("--yes", help="Drop without asking.")]


def drop(
    study: StudyName,
    arm: Labels,
    yes: Yes = False,
    preset: Preset = None,
    storage: Storage = "runs",
    as_json: AsJson = False,
) -> None:
    """Drop arms from a study: they are run, compared and shown no more. Their trials stay in the records.

    It cannot be taken back. The report says which arms were dropped, when, and after how many trials. No driver may run
    the study.

    Example: `tesseral drop quickstart --arm lmax=3`
    """
    name = records_name(study, preset)
    store = Store(storage).child(name)
    current = frozen(store)
    if current is None:
        raise not_started(storage, name)
    chosen: list[Arm] = []
    for wanted in dict.fromkeys(arm):
        chosen.append(droppable(current.without([each.label for each in chosen]), wanted))
    entries = Ledger(store, strict=True).entries()
    own = {each.label: _of_arm(entries, each.label) for each in chosen}
    trained = {label: sum(_trained(entry) for entry in of_arm) for label, of_arm in own.items()}
    arms = "arm" if len(chosen) == 1 else "arms"
    labels = listed_labels(list(own), most=len(own))
    if not yes:
        question = f"Drop {arms} {labels} of {name}, with {count(sum(trained.values()), 'complete trial')}? "
        if not typer.confirm(f"{question}It cannot be taken back.", err=True):
            raise TesseralError(f"{arms} {labels} of {name} {'was' if len(chosen) == 1 else 'were'} not dropped")
    above = max((begin["lease"] for entry in entries for begin in entry.begins), default=0)
    with resumable(), Lease.acquire(store, LENGTH, above=above) as held:
        for each in chosen:
            held.check()
            drop_from(store, each, trained[each.label])
    if as_json:
        dropped = [{"arm": label, "complete": complete} for label, complete in trained.items()]
        print(json.dumps({"study": name, "dropped": dropped}, indent=2))
    else:
        kept = f"the records keep {count(len({entry.id for of_arm in own.values() for entry in of_arm}), 'trial')}"
        console.print(f"{name}: {arms} {labels} {'is' if len(chosen) == 1 else 'are'} dropped; {kept}.", soft_wrap=True)
    printed()


def _of_arm(entries: list[Entry], label: str) -> list[Entry]:
    """The trials of an arm."""
    return [entry for entry in entries if label in [plan["arm"] for plan in entry.plans]]


def _trained(entry: Entry) -> bool:
    """Whether it is a complete trial of the confirm stage."""
    return entry.state is State.COMPLETE and entry.plan["stage"] == "confirm"
