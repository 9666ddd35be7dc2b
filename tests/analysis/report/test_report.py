"""The report: the numbers that it states, the words it dares, what it escapes, and that it fetches nothing."""

import base64
import html
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest

from tesseral.analysis.figures.axes import arm_scale, in_panels, order_scale
from tesseral.analysis.figures.curve_figures import feature_figures, learning_figures
from tesseral.analysis.figures.error_figures import error_figures
from tesseral.analysis.figures.figure import Figure
from tesseral.analysis.report import summary
from tesseral.analysis.report.arm_table import arm_table, flag_lines
from tesseral.analysis.report.findings import compared, findings, verdict
from tesseral.analysis.report.report import report
from tesseral.analysis.statistics.paired import Comparison, arm_errors, compare_arms
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.learning_curves import learning_curves
from tesseral.analysis.tables.load import load
from tesseral.analysis.tables.study_info import ReferenceInfo
from tesseral.analysis.terms.estimate import Estimate, interval, number
from tesseral.analysis.terms.metric_label import describe
from tesseral.study.errors import TesseralError
from tesseral.study.wording import duration
from tests.support.synthetic_study import info, study_tables, table, trial_row, trial_rows

METRIC = "test.epsilon"
PLANNED = [trial_row(arm, block, 0, state="planned", seconds=None) for arm in range(4) for block in (0, 1)]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return study_tables(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def page(tables):
    return report(tables)


def page_of(rows, **changes):
    return report(load(table(rows), [], [], info(**changes)))


def tooltips(figure):
    root = ElementTree.fromstring(figure.svg)
    return [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]


def cells(page):
    """The headline table's rows as text."""
    body = page.split("<tbody>")[1].split("</tbody>")[0]
    return [
        [html.unescape(cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)]
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.S)
    ]


def test_headline_numbers_are_those_of_the_statistics(tables, page):
    arms = list(tables.study.arms)
    errors, changes = arm_errors(tables.trials, METRIC, arms, 4), compare_arms(tables.trials, METRIC, arms, "lmax=0", 4)
    rows = cells(page)
    assert [row[0] for row in rows] == arms
    for row, error in zip(rows, errors, strict=True):
        assert row[1] == "8"
        value, low, high = (float(text) for text in re.findall(r"[\d.]+", row[2]))
        assert (value, low, high) == pytest.approx((error.error.value, error.error.low, error.error.high), abs=5e-4)
    assert rows[0][3] == "baseline"
    for row, comparison in zip(rows[1:], changes, strict=True):
        change = comparison.change
        found = [float(text) for text in re.findall(r"[-+]?[\d.]+", row[3].replace("−", "-"))]
        assert found == pytest.approx([change.value, change.low, change.high], abs=0.05)
    assert rows[1][5] == "163,000"
    assert "cannot reach 1x4e" in rows[0][7]


def test_opening_paragraph_states_the_change(tables, page):
    change = compare_arms(tables.trials, METRIC, list(tables.study.arms), "lmax=0", 4)[1].change
    bounds = f"{-change.value:.1f} % [{-change.high:.1f}, {-change.low:.1f}]"
    sentence = f"Against lmax=0, lmax=2 lowers the density error ε by {bounds} (8 pairs in 4 blocks)."
    assert sentence in findings(analyse(tables))
    assert html.escape(sentence) in page


def test_nothing_is_fetched(page):
    assert "<script" not in page
    assert "<link" not in page
    assert "@import" not in page
    for value in re.findall(r"(?:src|href|xlink:href)\s*=\s*[\"']([^\"']*)", page):
        assert value.startswith(("#", "data:image/svg+xml;base64,"))
    for value in re.findall(r"url\(([^)]*)\)", page):
        assert value.startswith("#")
    assert set(re.findall(r"https?://[^\"'<\s]*", page)) == {"http://www.w3.org/2000/svg"}  # a namespace, not a link


def test_everything_it_knows_is_on_the_page(page):
    text = html.unescape(page)
    for stated in (
        "PBE0/def2-SVP, density fitted in def2-universal-jfit, 56 structures",
        "1.06 %",
        "torch 2.13.0",
        "c0ffee",
        "d" * 64,
        "2025-03-01 14:00 UTC",
        '[study]\nname = "hierarchy"',
        "4 blocks",
        "2 replicates",
        "seed 7",
        "factor <code>network.hidden.lmax</code>",
        '<code>training.epochs</code></td><td class="value">60',
        "<td>lmax=0</td><td><code>1x4e</code></td>",
        "32 of 32 trials complete",
    ):
        assert stated in text


def test_figures_hold_what_they_should(tables):
    figures = {figure.name: figure for figure in error_figures(tables, analyse(tables).arms)}
    assert list(figures) == ["error-by-arm", "change-by-arm", "error-by-order", "error-against-cost"]
    curves = [figure.name for figure in learning_figures(tables, learning_curves(tables))]
    assert curves == ["learning", "learning-by-order"]
    told = tooltips(figures["error-by-arm"])
    assert sum("replicate" in text for text in told) == 32
    mean = arm_errors(tables.trials, METRIC, ["lmax=3"], 4)[0].error
    assert told.count(f"lmax=3: {interval(mean, '%')}") == 2  # its diamond and its bar
    orders = tooltips(figures["error-by-order"])
    assert "lmax=0, l = 4: 100 % (out of reach, predicted as zero)" in orders
    assert len({text for text in orders if "out of reach" in text}) == 1


def test_dead_irreps_are_told_a_sentence_an_arm(page):
    assert "Dead hidden irreps" not in page
    dead = "0o in every layer is made by nothing; 1e in layer 3 is read by nothing"
    rows = [row | ({"dead": dead} if row["arm"] == "lmax=1" else {}) for row in trial_rows()]
    told = page_of(rows).split("<h2>Out of reach</h2>")[1].split("</section>")[0]
    shown = "lmax=1: 0o in every layer is never produced; 1e in layer 3 is never read.</p>"
    assert shown in told
    assert "by nothing" not in told
    assert "<code>1x4e</code>" in told
    reached = page_of([row | {"unreachable": None} for row in rows])
    assert shown in reached
    assert "predicted as zero, which counts" not in reached
    tables = load(table(rows), [], [], info())
    assert [arm["dead"] for arm in summary.to_dict(analyse(tables))["arms"]] == [None, dead, None, None]


def test_that_a_change_is_one_of_reach_is_said_once():
    sentence = "lmax=0 cannot reach 1x4e, which is predicted as zero. This accounts for part of each change."
    assert findings(analyse(load(table(trial_rows()), [], [], info()))).count(sentence) == 1
    alike = [row | {"unreachable": "1x4e"} for row in trial_rows()]
    assert not any("cannot reach" in told for told in findings(analyse(load(table(alike), [], [], info()))))
    some = [row | {"unreachable": None if row["arm"] == "lmax=3" else "1x4e"} for row in trial_rows()]
    told = findings(analyse(load(table(some), [], [], info())))
    assert sentence.replace("each change", "the change of each arm that reaches it") in told
    less = [row | {"unreachable": "1x4e" if row["arm"] == "lmax=2" else None} for row in trial_rows()]
    told = findings(analyse(load(table(less), [], [], info())))
    assert "lmax=2 cannot reach 1x4e, which is predicted as zero. This accounts for part of its change." in told
    assert sum("cannot reach" in one for one in told) == 1


def test_notes_stand_below_the_table_of_a_terminal():
    rows = [row for row in trial_rows(blocks=2, replicates=1) if row["arm"] != "lmax=3"]
    arms = ("lmax=0", "lmax=1", "lmax=2")
    assert flag_lines(analyse(load(table(rows), [], [], info(arms=arms, blocks=2, replicates=1)))) == [
        "lmax=0: cannot reach 1x4e",
        "every arm: too few trials for an interval",
    ]


def test_ids_are_unique_in_the_page_and_point_to_something(page):
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert {name.removeprefix("#") for name in re.findall(r"url\((#[^)]*)\)", page)} <= set(ids)


def test_a_saved_figure_is_the_shown_one(tables):
    figure = next(error_figures(tables, analyse(tables).arms))
    saved = base64.b64decode(figure.data_url.partition(",")[2]).decode()
    assert saved == str(figure.svg)
    assert saved.startswith("<svg xmlns=")


def test_arms_keep_their_colours():
    labels = [f"a{k}" for k in range(9)]
    assert arm_scale(labels[:4]).to_dict()["range"] == arm_scale(labels[:6]).to_dict()["range"][:4]
    assert len(set(arm_scale(labels).to_dict()["range"])) == 9
    assert order_scale([0]).to_dict()["range"] == ["#46327E"]
    assert order_scale([0, 1, 2, 3, 4, 5]).to_dict()["range"][-1] == "#A0DA39"


def test_hostile_names_are_text(tmp_path):
    evil = '"><script>alert(1)</script><img src="http://x.example/a.png">'
    rows = [row | {"arm": f"{evil}{row['arm']}"} for row in trial_rows(arms=2)]
    rows[0] |= {"state": "failed", "reason": evil}
    arms = tuple(dict.fromkeys(row["arm"] for row in rows))
    tables = study_tables(
        tmp_path,
        rows,
        arms=arms,
        baseline=arms[0],
        factors={f"a.{evil}[0]": (evil, "2")},
        description=evil,
        study_file=evil,
        reference=ReferenceInfo(method=evil),
    )
    page = report(tables)
    assert "<script" not in page
    assert "<img" not in page
    assert html.unescape(page).count(evil) > 20


def test_an_unfinished_study_says_so(tmp_path):
    rows = trial_rows()
    for row in rows:
        if row["block"] == 3:
            row["state"] = "running"
            del row["metric.test.epsilon"]
    page = report(study_tables(tmp_path, rows))
    assert "Preliminary: 24 of 32 trials are complete." in page
    assert "24 of 32 trials complete, 8 running" in page
    assert "(6 pairs in 3 blocks, 2 missing)" in page


@pytest.mark.parametrize(
    "rows", [[], [trial_row(a, b, 0, state="planned", seconds=None) for a in range(4) for b in (0, 1)]]
)
def test_a_study_without_a_complete_trial_has_a_report(rows):
    page = page_of(rows)
    assert "There is nothing to compare yet, because no trial is complete." in page
    assert "<svg" not in page
    assert [row[2] for row in cells(page)] == ["–"] * 4


def test_one_arm_has_no_comparison():
    page = page_of(trial_rows(arms=1), arms=("lmax=0",))
    assert "The mean of the density error ε is 0." in page
    assert "Against" not in page
    assert "lowest observed" not in page
    assert "change-by-arm" not in page


def test_failures_are_listed_with_their_reason():
    rows = trial_rows()
    rows[9] |= {"state": "failed", "reason": "the loss became NaN & more", "steps": 310}
    page = page_of(rows)
    assert "the loss became NaN &amp; more" in page
    assert f"<code>{rows[9]['trial'][:10]}</code>" in page
    assert "31 of 32 trials complete, 1 failed" in page
    assert "Preliminary" not in page
    assert "1 trial failed" in cells(page)[1][7]


def test_merged_arms_and_files_left_out_are_told(tmp_path):
    merged = "lmax=0 = irreps=8x0e"
    rows = [row | {"arm": merged} if row["arm"] == "lmax=0" else row for row in trial_rows()]
    tables = study_tables(tmp_path, rows, arms=(merged, "lmax=1", "lmax=2", "lmax=3"), baseline=merged)
    page = report(tables)
    assert re.search(r"lmax=0 and irreps=8x0e resolve\s+to the same configuration, which was trained\s+once", page)
    assert "merged arms</td>" not in report(load(table(trial_rows()), [], [], info()))
    next(Path(tmp_path).glob("curves/*/*.parquet")).write_bytes(b"PAR1")
    with pytest.warns(UserWarning, match="is left out"):
        torn = study_tables_from_disk(tmp_path, rows, tables.study)
    assert "1-all.parquet is left out" in report(torn)


def study_tables_from_disk(folder, rows, study):
    """The tables of sealed files as they lie in a folder."""
    from tesseral.study.records.segments import Source

    sources = [Source(str(path), "", None) for path in sorted(Path(folder).glob("curves/*/*.parquet"))]
    return load(table(rows), sources, [], study)


def change(value, low=None, high=None, p=None, p_holm=None, **changes):
    given = {"arm": "b", "baseline": "a", "pairs": 6, "missing": 0, "unit": "pair", "units": 6}
    return Comparison(
        difference=Estimate(value), change=Estimate(value, low, high, p), p_holm=p_holm, **(given | changes)
    )


@pytest.mark.parametrize(
    ("comparison", "decided", "sentence"),
    [
        (
            change(-47, -52, -41, 0.001, 0.002),
            "lower",
            "Against a, b lowers the density error ε by 47.0 % [41.0, 52.0] (6 pairs).",
        ),
        (
            change(12, 2, 23, 0.01, 0.02, unit="block", units=3, missing=1),
            "higher",
            "Against a, b raises the density error ε by 12 % [2, 23] (6 pairs in 3 blocks, 1 missing).",
        ),
        (
            change(-8, -21, 8, 0.3, 0.3),
            "undecided",
            "b against a is undecided: the density error ε changes by −8 % [−21, +8] (6 pairs).",
        ),
        (
            change(-20, -35, -3, 0.03, 0.09),
            "undecided",
            "b against a is undecided after Holm’s correction (p = 0.09): "
            "the density error ε changes by −20 % [−35, −3] (6 pairs).",
        ),
        (
            change(-45, pairs=2, units=2),
            "without an interval",
            "Against a, b changes the density error ε by −45.0 % (2 pairs, too few for an interval).",
        ),
    ],
)
def test_words_say_no_more_than_the_interval(comparison, decided, sentence):
    assert verdict(comparison) == decided
    assert compared(comparison, METRIC) == sentence


def test_words_without_a_ratio_or_a_pair():
    none = Comparison("b", "a, x", 0, 4, "pair", 0, None, None)
    assert compared(none, METRIC) == "b cannot be compared with “a, x” yet: no pair of trials is complete."
    zero = Comparison("b", "a", 3, 0, "block", 3, Estimate(-1.0), None)
    assert "the relative change of b is undefined: an error is zero or negative" in compared(zero, METRIC)


def test_few_blocks_make_intervals_conditional():
    few = load(table(trial_rows(blocks=1, replicates=3)), [], [], info(blocks=1, replicates=3))
    assert any(
        "its intervals are conditional: they hold for its data splits only" in sentence
        for sentence in findings(analyse(few))
    )
    many = load(table(trial_rows()), [], [], info())
    assert not any("conditional" in sentence for sentence in findings(analyse(many)))


def test_two_finished_blocks_of_six_have_points_and_no_interval():
    early = load(table(trial_rows(blocks=2)), [], [], info(blocks=6))
    told = " ".join(findings(analyse(early)))
    assert "Preliminary: 16 of 48 trials are complete." in told
    assert told.count("(4 pairs in 2 blocks, too few for an interval)") == 3
    assert "conditional" not in told
    assert "[" not in told
    assert {row["notes"].partition("too few ")[2] for row in arm_table(analyse(early))} == {"blocks for an interval"}


def test_many_arms_are_counted_not_listed():
    rows = [
        row | {"arm": f"{row['arm']}, k={k}", "metric.test.epsilon": row["metric.test.epsilon"] * (1 + 0.01 * k)}
        for row in trial_rows()
        for k in range(3)
    ]
    arms = tuple(dict.fromkeys(row["arm"] for row in rows))
    told = findings(analyse(load(table(rows), [], [], info(arms=arms, baseline=arms[0]))))
    assert len(told) == 6
    assert told[3] == (
        "“lmax=0, k=0” cannot reach 1x4e, which is predicted as zero. This accounts for part of the change of each arm "
        "that reaches it."
    )
    assert "ε = 1.06 %, the fit floor" in told[4]
    assert "not matched in size (91,000 to 281,000 parameters)" in told[5]
    assert told[1].startswith("11 arms are compared with “lmax=0, k=0” in the density error ε: 9 lower")


def test_figures_of_features_show_a_few_arms_each(tmp_path):
    rows = trial_rows(blocks=1, replicates=1)
    five = [*rows, rows[3] | {"arm": "again", "trial": "e" * 64}]
    tables = study_tables(tmp_path, five, arms=("lmax=0", "lmax=1", "lmax=2", "lmax=3", "again"))
    found = list(feature_figures(analyse(tables)))
    assert [figure.name for figure in found] == ["features-1", "features-2"]
    assert all(isinstance(figure, Figure) for figure in found)
    lines = tooltips(found[0])
    assert "lmax=3, layer 3, l = 3" in lines
    assert len(set(lines)) == 3 * (1 + 2 + 3 + 4)


def test_summary_is_json_and_text(tables):
    tree = json.loads(json.dumps(summary.to_dict(analyse(tables)), allow_nan=False))
    assert tree["progress"] == {"planned": 32, "complete": 32, "pruned": 0, "failed": 0, "running": 0}
    assert [arm["arm"] for arm in tree["arms"]] == ["lmax=0", "lmax=1", "lmax=2", "lmax=3"]
    assert tree["arms"][0]["comparison"] is None
    change_ = tree["arms"][2]["comparison"]["change"]
    assert change_["low"] < change_["value"] < change_["high"] < 0
    seconds = tables.trials.filter(pl.col("arm") == "lmax=1")["seconds"].median()
    assert tree["arms"][1]["seconds"] == pytest.approx(seconds)
    rows = arm_table(analyse(tables))
    assert list(rows[0]) == ["arm", "trials", "error, %", "change, %", "Holm p", "parameters", "time", "notes"]
    assert rows[1]["time"] == "77 s"


def test_a_metric_that_is_not_recorded_is_a_mistake():
    with pytest.raises(TesseralError, match=r"got 'test\.nonsense'; valid are"):
        page_of(trial_rows(), metric="test.nonsense")


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.30213, 0.28341, 0.32096), "0.302 % [0.283, 0.321]"),
        (Estimate(12.3456), "12.3 %"),
        (Estimate(-9.99999, -10.00001, -9.99998), "−10.00 % [−10.00, −10.00]"),
        (Estimate(123456.0, 120000.0, 127000.0), "123,456 % [120,000, 127,000]"),
        (Estimate(2.1e-8, 1.9e-8, 2.3e-8), "2.10 [1.90, 2.30]·10⁻⁸ %"),
        (Estimate(0.0, 0.0, 0.0), "0 % [0, 0]"),
    ],
)
def test_digits_follow_the_interval(estimate, text):
    assert interval(estimate, "%") == text


def test_small_wording():
    assert number(-0.0001, 2) == "0.00"
    assert number(3.0, 1, signed=True) == "+3.0"
    assert [duration(s) for s in (4.21, 75.2, 1000, 9000)] == ["4.2 s", "75 s", "17 min", "2.5 h"]
    assert describe("test.epsilon").axis == "density error ε, %"
    assert describe("validation.own_metric").title == "Own_metric (validation)"


def test_panels_have_room_for_their_labels():
    assert [len(part) for part in in_panels([f"lmax={k}" for k in range(6)])] == [4, 2]
    long = [f"interaction=mace, diagram=((neighbours centre) edges {k})" for k in range(3)]
    assert [len(part) for part in in_panels(long)] == [2, 1]
    assert [len(part) for part in in_panels(["x" * 200, "y" * 200])] == [1, 1]
    assert in_panels([]) == []
