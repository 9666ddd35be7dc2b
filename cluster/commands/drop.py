"""`tesseral drop`: an arm leaves a study, whose records keep its trials."""

import json
from typing import Annotated

import typer

from tesseral.cluster.commands.display import console
from tesseral.cluster.commands.exit_codes import resumable
from tesseral.cluster.commands.options import AsJson, Preset, Storage, StudyName, records_name
from tesseral.cluster.commands.streams import printed
from tesseral.study.errors import StudyFileError, TesseralError
from tesseral.study.records.growth import drop as drop_from
from tesseral.study.records.growth import droppable
from tesseral.study.records.lease import LENGTH, Lease
from tesseral.study.records.ledger import Ledger, frozen
from tesseral.study.records.store import Store
from tesseral.study.wording import count

Label = Annotated[str, typer.Option("--arm", metavar="ARM", help="Label of the arm.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", help="Drop it without asking.")]


def drop(
    study: StudyName,
    arm: Label,
    yes: Yes = False,
    preset: Preset = None,
    storage: Storage = "runs",
    as_json: AsJson = False,
) -> None:
    """Drop an arm from a study: it is run, compared and shown no more. Its trials stay in the records.

    It cannot be taken back. The report says which arms were dropped, when, and after how many trials. No driver may run
    the study.

    Example: `tesseral drop quickstart --arm lmax=3`
    """
    name = records_name(study, preset)
    store = Store(storage).child(name)
    current = frozen(store)
    if current is None:
        raise StudyFileError("", f"expected the name of a study started in {storage}, got {name!r}")
    label = (chosen := droppable(current, arm)).label
    entries = Ledger(store, strict=True).entries()
    own = [entry for entry in entries if label in [plan["arm"] for plan in entry.plans]]
    complete = [entry for entry in own if entry.outcome and entry.outcome["state"] == "complete"]
    trained = sum(entry.plan["stage"] == "confirm" for entry in complete)
    if not yes:
        question = f"Drop arm {label} of {name}, with {count(trained, 'complete trial')}? It cannot be taken back."
        if not typer.confirm(question, err=True):
            raise TesseralError(f"arm {label!r} of {name} was not dropped")
    above = max((begin["lease"] for entry in entries for begin in entry.begins), default=0)
    with resumable(), Lease.acquire(store, LENGTH, above=above) as held:
        held.check()
        drop_from(store, chosen, trained)
    if as_json:
        print(json.dumps({"study": name, "arm": label, "complete": trained}, indent=2))
    else:
        kept = f"its records keep {count(len(own), 'trial')}"
        console.print(f"{name}: arm {label} is dropped; {kept}.", soft_wrap=True)
    printed()
