"""What the driver reports while a study runs: the protocol of a display, and a display that shows nothing."""

from typing import Protocol

from tesseral.study.records.lease import Holder


class Display(Protocol):
    """Receives the progress of a study from the driver."""

    def waiting(self, holder: Holder, seconds: float) -> None:
        """Another driver's lease may still be alive; it is taken over after `seconds` of silence."""

    def started(self, trials: int, finished: int, steps: int) -> None:
        """The study has `trials`, of which `finished` are done; the others need `steps` optimizer steps at most."""

    def added(self, trials: int, steps: int) -> None:
        """The study has grown by so many trials and steps, or shrunk where they are negative."""

    def progress(self, trial: str, step: int) -> None:
        """`step` optimizer steps of this trial are done."""

    def ended(self, trial: str, steps: int) -> None:
        """A trial has ended; `steps` is the most that it could have taken."""

    def said(self, sentence: str) -> None:
        """Something that whoever waits should know."""


class Silent:
    """A `Display` that shows nothing, for scripts and tests. It keeps what was said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        """What was said, in order."""

    def waiting(self, holder: Holder, seconds: float) -> None:
        """Show nothing."""

    def started(self, trials: int, finished: int, steps: int) -> None:
        """Show nothing."""

    def added(self, trials: int, steps: int) -> None:
        """Show nothing."""

    def progress(self, trial: str, step: int) -> None:
        """Show nothing."""

    def ended(self, trial: str, steps: int) -> None:
        """Show nothing."""

    def said(self, sentence: str) -> None:
        """Keep the sentence."""
        self.sentences.append(sentence)
