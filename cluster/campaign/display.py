"""What the driver reports while a study runs: the protocol of a display, and a display that shows nothing."""

from typing import Protocol

from tesseral.study.records.lease import Holder


class Display(Protocol):
    """Receives the progress of a study from the driver."""

    def waiting(self, holder: Holder, seconds: float) -> None:
        """Another driver's lease may still be alive; it is taken over after `seconds` of silence.

        :param holder: the process that may hold the study.
        :param seconds: until the takeover, if it stays silent.
        """

    def doing(self, what: str) -> None:
        """What is being done before the first trial starts.

        :param what: such as "reading the reference data".
        """

    def started(self, trials: int, finished: int, steps: int) -> None:
        """The study has `trials`, of which `finished` are done; the others need `steps` optimizer steps at most.

        :param trials: of the whole study, as far as is known.
        :param finished: those with an outcome.
        :param steps: optimizer steps of the trials that are left.
        """

    def added(self, trials: int, steps: int) -> None:
        """The study has grown by so many trials and steps, or shrunk where they are negative.

        :param trials: number of trials, which may be negative.
        :param steps: their optimizer steps.
        """

    def progress(self, trial: str, step: int) -> None:
        """`step` optimizer steps of this trial are done.

        :param trial: the trial's id.
        :param step: optimizer steps done.
        """

    def ended(self, trial: str, steps: int) -> None:
        """A trial has ended; what it could have taken beyond `steps` was taken back by `added` before.

        :param trial: the trial's id.
        :param steps: optimizer steps that were done; 0 of a trial that was copied from another study.
        """

    def said(self, sentence: str) -> None:
        """Something that whoever waits should know.

        :param sentence: for the person who watches.
        """


class Silent:
    """A `Display` that shows nothing, for scripts and tests. It keeps what was said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        """What was said, in order."""

    def waiting(self, holder: Holder, seconds: float) -> None:
        """Show nothing."""

    def doing(self, what: str) -> None:
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
