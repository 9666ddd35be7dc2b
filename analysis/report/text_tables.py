"""The arms, trials and comparisons of a study as text for a page: Markdown, LaTeX, or a terminal."""

import re
from collections.abc import Callable, Sequence

import polars as pl

from tesseral.analysis.report.arm_table import arm_table
from tesseral.analysis.report.change_columns import change_columns
from tesseral.analysis.report.result_frames import Kind
from tesseral.analysis.statistics.results import Results
from tesseral.analysis.terms.estimate import Estimate, p_value
from tesseral.analysis.terms.metric_label import describe, error_cell
from tesseral.study.wording import duration

Rows = list[dict[str, str]]


def text_rows(results: Results, kind: Kind) -> Rows:
    """The results of a study as text: one dictionary (heading → cell) for each arm, trial or comparison.

    :param results: of the study.
    :param kind: which of its tables.
    """
    return _ROWS[kind](results)


def brackets(results: Results, rows: Rows) -> str:
    """What the intervals in a table of arms hold for, as a sentence; empty where no error has one.

    Headings of changes say it themselves, so tables of comparisons need no sentence.

    :param results: of the study.
    :param rows: as `text_rows` gives them.
    """
    told = any("[" in cell for row in rows for heading, cell in row.items() if heading.startswith("error"))
    return f"Brackets after errors: 95 % intervals {results.study.sampling.shown}." if told else ""


def _comparisons(results: Results) -> Rows:
    changes = change_columns([each.change for each in results.comparisons], results.study.sampling.here)
    return [
        {
            "arm": each.arm,
            "baseline": each.baseline,
            "pairs": str(each.pairs),
            **change,
            "Holm p": "–" if each.p_holm is None else p_value(each.p_holm),
        }
        for each, change in zip(results.comparisons, changes, strict=True)
    ]


def _trials(results: Results) -> Rows:
    study, trials = results.study, results.tables.trials
    metric = describe(study.metric, study.target)
    column = f"metric.{study.metric}"
    error = pl.col(column) if column in trials.columns else pl.lit(None, dtype=pl.Float64)
    shown = trials.select("trial", "arm", "stage", "block", "replicate", "state", error.alias("error"), "seconds")
    return [
        {
            "trial": row["trial"][:10],
            "arm": row["arm"],
            "stage": row["stage"],
            "block": "–" if row["block"] is None else str(row["block"]),
            "replicate": "–" if row["replicate"] is None else str(row["replicate"]),
            "state": row["state"],
            metric.heading: error_cell(
                study.metric,
                None if row["error"] is None else Estimate(row["error"]),
                study.target_of(row["arm"]),
                metric,
            ),
            "time": "–" if row["seconds"] is None else duration(row["seconds"]),
        }
        for row in shown.sort("arm", "block", "replicate").to_dicts()
    ]


_ROWS: dict[Kind, Callable[[Results], Rows]] = {
    "arms": arm_table,
    "trials": _trials,
    "comparisons": _comparisons,
}


def to_markdown(rows: Rows, words: Sequence[str], note: str = "") -> str:
    """A table in Markdown, as GitHub and most programs read it.

    :param rows: heading → cell, all with the same headings; at least one.
    :param words: headings of columns of words; the others hold numbers and are aligned right.
    :param note: a sentence for below the table; empty for none.
    """
    heads = list(rows[0])
    rule = [":--" if head in words else "--:" for head in heads]
    lines = [heads, rule, *(list(row.values()) for row in rows)]
    table = "".join(f"| {' | '.join(map(_markdown, line))} |\n" for line in lines)
    return f"{table}\n{note}\n" if note else table


def _markdown(cell: str) -> str:
    return re.sub(r"([|<>*_`\\])", r"\\\1", cell)


_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "×": "$\\times$",
    "·": "$\\cdot$",
    "ε": "$\\varepsilon$",
    "Å": "\\AA{}",
    "†": "$\\dagger$",
    "∞": "$\\infty$",
    "’": "'",
    "<": "$<$",
    ">": "$>$",
}
_RAISED = dict(zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789", strict=True))


def to_latex(rows: Rows, words: Sequence[str], note: str = "") -> str:
    """A `tabular` of LaTeX with the rules of the package booktabs, in ASCII.

    :param rows: heading → cell, all with the same headings; at least one.
    :param words: headings of columns of words; the others hold numbers and are aligned right.
    :param note: a sentence for the caption, which follows as a comment; empty for none.
    """
    heads = list(rows[0])
    columns = "".join("l" if head in words else "r" for head in heads)
    lines = [" & ".join(map(latex, row.values())) + r" \\" for row in rows]
    head = " & ".join(map(latex, heads)) + r" \\"
    parts = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *lines, r"\bottomrule"]
    comment = [f"% {note}"] if note else []
    return "\n".join([*parts, r"\end{tabular}", *comment, ""])


def latex(text: str) -> str:
    """Text as LaTeX sets it, without characters that a plain installation lacks.

    :param text: of a cell.
    """
    parts = re.split(f"([{''.join(_RAISED)}]+)", text)
    parts[::2] = ["".join(_LATEX.get(character, character) for character in part) for part in parts[::2]]
    parts[1::2] = [f"$^{{{''.join(_RAISED[character] for character in part)}}}$" for part in parts[1::2]]
    return "".join(parts)
