"""What a person sees in the terminal: progress bars and tables."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tesseral.study.records.lease import Holder
from tesseral.study.wording import duration, listed, printable


class Screen(Console):
    """A terminal on which text means nothing but itself: no markup, no emoji codes, and hidden characters as escapes.

    :param stderr: whether it is standard error.
    """

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render anything that is printed; rich calls this for its parts too."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


console = Screen()
"""Standard output: results."""

errors = Screen(stderr=True)
"""Standard error: mistakes and warnings."""

TEXT = ("arm", "hidden irreps", "unreachable outputs", "dead hidden irreps", "notes")
"""Columns of text: aligned left, and wrapped where they are long."""

_LABELS = ("trial", "arm", "baseline")
"""Headings of columns that are never left out."""

UNWRAPPED = 24
"""Longest arm label that is kept on one line, in characters."""

LINE_EVERY = 30.0
"""Seconds between two lines of progress where nobody sees a bar move, as in the log of a job."""

RATE_OVER = 600.0
"""Seconds over which a rate is averaged, and the remaining time estimated from it. A structure may take minutes."""


def bar(rate: bool = False) -> Progress:
    """A progress bar with elapsed and remaining time.

    :param rate: whether to show the rate too.
    """
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        *([_Rate()] if rate else []),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=RATE_OVER,
    )


class _Rate(ProgressColumn):
    """Items per second, or per minute if that is less than one."""

    def render(self, task: Task) -> Text:
        """Render the rate, which is known from the second item on."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{60 * speed:.1f}/min")


@contextmanager
def counted(what: str, rate: bool = False) -> Iterator["Counted"]:
    """A progress bar over countable things, called as `on_progress(done, total)`.

    :param what: the things, in the plural.
    :param rate: whether to show the rate too.
    """
    with bar(rate) as progress:
        yield Counted(progress, what)


class Counted:
    """An `on_progress(done, total)` that moves a bar. The bar appears at the first call."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress, self._what = progress, what
        self._task: TaskID | None = None

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        if self._task is None:  # what was done before the start must not count into the rate
            self._task = self._progress.add_task(self._what, total=total, completed=done)
        self._progress.update(self._task, total=total, completed=done)


class StudyProgress:
    """A `Display` as one bar. It moves with the optimizer steps of all trials that are left; its text counts trials.

    :param progress: shows the bar.
    :param name: the study's name.
    """

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name = progress, name
        self._task: TaskID | None = None
        self._steps: dict[str, int] = {}
        self._ended = self._trials = self._total = 0
        self._line = time.monotonic()

    def waiting(self, holder: Holder, seconds: float) -> None:
        """Count down while another driver may still be alive."""
        if self._task is None:
            self._task = self._progress.add_task("", total=None)
        text = f"the study may be held by {holder}; takeover in {seconds:.0f} s if it stays silent"
        self._progress.update(self._task, description=text)

    def doing(self, what: str) -> None:
        """Say what is done before the first trial starts, and that it goes on."""
        text = f"{self._name}: {what}"
        if not self._progress.console.is_terminal:
            self.said(text)
        elif self._task is None:
            self._task = self._progress.add_task(text, total=None)
        else:
            self._progress.update(self._task, description=text)

    def started(self, trials: int, finished: int, steps: int) -> None:
        """Show the bar over the steps of the trials that are left."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._trials, self._ended, self._total = trials, finished, steps
        self._task = self._progress.add_task(self._text(), total=steps) if steps else None

    def added(self, trials: int, steps: int) -> None:
        """Lengthen the bar, or shorten it where the numbers are negative."""
        self._trials += trials
        if self._task is not None:
            self._total += steps
            self._progress.update(self._task, total=self._total)
            self._show()

    def progress(self, trial: str, step: int) -> None:
        """Move the bar to `step` of this trial."""
        self._steps[trial] = step
        self._show()

    def ended(self, trial: str, steps: int) -> None:
        """Count a trial and complete its part of the bar."""
        self._steps[trial] = steps
        self._ended += 1
        self._show()

    def said(self, sentence: str) -> None:
        """Print a sentence above the bar."""
        self._progress.console.print(sentence, soft_wrap=True)

    def _show(self) -> None:
        if self._task is not None:
            self._progress.update(self._task, description=self._text(), completed=sum(self._steps.values()))
            if not self._progress.console.is_terminal and time.monotonic() - self._line >= LINE_EVERY:
                self._line = time.monotonic()
                self.said(self._as_line(self._progress.tasks[-1]))

    def _as_line(self, task: Task) -> str:
        words = [f"{self._name}: {self._ended} of {self._trials} trials", f"{task.percentage:.0f} % of the steps"]
        words += [f"about {duration(task.time_remaining)} left"] if task.time_remaining else []
        return ", ".join(words)

    def _text(self) -> str:
        starting = self._ended < self._trials and not any(self._steps.values())
        what = "processes start" if starting else "steps"
        return f"{self._name}: {self._ended} of {self._trials} trials, {what}"


def _whole(column: str, cells: Sequence[str]) -> bool:
    """Whether the cells of a column are never wrapped: numbers, and labels if all of them are short."""
    return column not in TEXT or (column == "arm" and all(len(cell) <= UNWRAPPED for cell in cells))


def drop_columns(rows: Sequence[dict[str, str]], spare: Sequence[str]) -> list[dict[str, str]]:
    """Drop the columns for which the terminal has no room.

    :param rows: column → cell, all with the same columns.
    :param spare: columns that may be dropped, the widest first.
    :returns: the rows with the columns that are kept.
    """

    def least(column: str) -> int:
        """The narrowest width of a column, in characters. Labels wrap between words; numbers never wrap."""
        cells = [row[column] for row in rows]
        if not _whole(column, cells):
            cells = [word for cell in cells for word in cell.split()]
        return max(map(len, [column, *cells]), default=0) + 1

    kept = [column for column in rows[0] if column not in spare]
    for column in sorted(spare, key=least):
        if sum(map(least, [*kept, column])) <= console.width:
            kept.append(column)
    return [{column: row[column] for column in row if column in kept} for row in rows]


def show_results(rows: Sequence[dict[str, str]], instead: str) -> None:
    """Print a table of results; columns for which the terminal has no room are left out, and named below it.

    Labels, the first error and the changes stay.

    :param rows: heading → cell, all with the same headings; at least one.
    :param instead: what shows all columns, such as `see the page`.
    """
    errors = [heading for heading in rows[0] if heading.startswith("error")]
    kept = {*_LABELS, *errors[:1]}
    shown = drop_columns(rows, [each for each in rows[0] if each not in kept and not each.startswith("change")])
    console.print(table("", list(shown[0]), [list(row.values()) for row in shown]))
    if dropped := [heading for heading in rows[0] if heading not in shown[0]]:
        room = f"{listed(dropped)} {'have' if len(dropped) > 1 else 'has'} no room here"
        console.print(f"{room}: widen the terminal, or {instead}.", soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A plain table without borders. The columns of `TEXT` hold text, the others numbers.

    :param title: printed above; may be empty.
    :param columns: the heads.
    :param rows: the cells, in the order of the columns.
    """
    shown = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    shown.padding = (0, 1, 0, 0)
    for number, column in enumerate(columns):
        whole = _whole(column, [row[number] for row in rows])
        shown.add_column(column, justify="left" if column in TEXT else "right", no_wrap=whole, overflow="fold")
    for row in rows:
        shown.add_row(*map(printable, row))  # before the width of the column is measured
    return shown
