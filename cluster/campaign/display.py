"""What the driver reports while a study runs; whoever shows it implements this protocol."""

from typing import Protocol

from tesseral.study.records.lease import Holder


class Display(Protocol):
    """Shown by the driver how a study gets on."""

    def waiting(self, holder: Holder, seconds: float) -> None:
        """Another driver's lease may still be alive; decided in `seconds`."""

    def started(self, trials: int, finished: int, steps: int) -> None:
        """`steps` are those of the trials that are left."""

    def added(self, trials: int, steps: int) -> None:
        """The study has grown, or shrunk, by so many trials and steps."""

    def progress(self, trial: str, step: int) -> None:
        """`step` optimizer steps of this trial are done."""

    def ended(self, trial: str, steps: int) -> None:
        """A trial has ended; `steps` are those that it would have had at most."""

    def lost(self, trial: str, reason: str) -> None:
        """A trial's job was given up without an outcome."""

    def said(self, sentence: str) -> None:
        """Something that whoever waits should know."""
