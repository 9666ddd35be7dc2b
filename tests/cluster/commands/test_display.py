"""Tables in a terminal: what fits whole is there, what does not is left out, and nothing is cut."""

import io

import pytest
from rich.console import Console

from tesseral.cluster.commands import display
from tesseral.cluster.commands.display import drop_columns, table

ROWS = [
    {"arm": "lmax=0, quantity=energy", "error, %": "48 [37, 58]", "error, hartree": "0.0064 [0.0051, 0.0076]"}
    | {"change, %": "baseline", "time": "66 s"},
    {"arm": "lmax=1, quantity=energy", "error, %": "41.4 [33.6, 49.2]", "error, hartree": "0.0057 [0.0044, 0.0070]"}
    | {"change, %": "−12 [−24, +1]", "time": "52 s"},
]


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (120, ["arm", "error, %", "error, hartree", "change, %", "time"]),
        (72, ["arm", "error, %", "change, %", "time"]),
        (60, ["arm", "error, %", "change, %"]),
    ],
)
def test_columns_are_whole_or_left_out(monkeypatch, width, columns):
    written = io.StringIO()
    monkeypatch.setattr(display, "console", Console(file=written, width=width))
    rows = drop_columns(ROWS, ["error, hartree", "time"])
    assert list(rows[0]) == columns
    display.console.print(table("", columns, [list(row.values()) for row in rows]))
    shown = " ".join(written.getvalue().split())
    assert all(row[column] in shown for row in ROWS for column in columns[1:])


def test_text_of_others_means_nothing_but_itself():
    """Markup, emoji codes and control characters, in a line and in a table; styles are still the terminal's."""
    screen = display.Screen()
    screen.file = io.StringIO()
    screen.print("runs:x:y [/x] [bold]a[/bold] \x1b[31mred\x9b \u202eright", soft_wrap=True, style="red")
    screen.print(table("[/t] \x1b[2J", ["arm"], [["[/a] :smile: \x1b]0;title"]]))
    lines = screen.file.getvalue().splitlines()
    assert lines[0] == r"runs:x:y [/x] [bold]a[/bold] \x1b[31mred\x9b \u202eright"
    assert lines[1].rstrip() == r"[/t] \x1b[2J"
    assert lines[3].startswith(r"[/a] :smile: \x1b]0;title")


def test_a_log_tells_the_progress_in_lines(monkeypatch):
    """Where no bar can move, such as in the log of a job, a line is written every half minute."""
    screen = display.Screen()
    screen.file = io.StringIO()
    monkeypatch.setattr(display, "console", screen)
    with display.bar() as progress:
        shown = display.StudyProgress(progress, "small")
        shown.doing("reading the records")
        shown.started(trials=4, finished=1, steps=300)
        shown.progress("a", 30)
        assert screen.file.getvalue() == "small: reading the records\n"
        monkeypatch.setattr(display, "LINE_EVERY", 0.0)
        shown.ended("a", 100)
        lines = screen.file.getvalue().splitlines()
        assert lines[1].startswith("small: 2 of 4 trials, 33 % of the steps")
        shown.progress("b", 200)
        last = screen.file.getvalue().splitlines()[-1]
    assert last == "small: 2 of 4 trials, 100 % of the steps", "no time is left, and the trial has not ended"


def test_copied_trials_do_not_make_the_rest_look_quick(monkeypatch):
    """They shorten the bar, so the time left follows from steps that were done."""
    screen = display.Screen()
    screen.file = io.StringIO()
    monkeypatch.setattr(display, "console", screen)
    with display.bar() as progress:
        shown = display.StudyProgress(progress, "small")
        shown.doing("reading the reference data")
        shown.started(trials=4, finished=0, steps=400)
        (task,) = progress.tasks
        assert task.description == "small: 0 of 4 trials, processes start"
        for trial in ("a", "b"):
            shown.added(0, -100)
            shown.ended(trial, 0)
        assert (task.completed, task.total) == (0, 200)
        shown.progress("c", 50)
        assert (task.completed, task.total) == (50, 200)
        assert task.description == "small: 2 of 4 trials, steps"
    with display.bar() as progress:
        shown = display.StudyProgress(progress, "small")
        shown.started(trials=1, finished=0, steps=100)
        shown.added(0, -100)
        shown.ended("a", 0)
        assert progress.tasks[0].description == "small: 1 of 1 trials, steps", "all copied: no process starts"
