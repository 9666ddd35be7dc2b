from .figures.figure import Figure
from .report.report import render
from .report.summary import to_dict
from .statistics.arms import ArmSummary
from .statistics.comparisons.best import Best, best
from .statistics.comparisons.factors import Effect, effects
from .statistics.comparisons.frontier import frontier
from .statistics.comparisons.outliers import FailingStarts, failing_starts
from .statistics.comparisons.paired import ArmError, Comparison, arm_errors, compare_arms
from .statistics.comparisons.steps import Step, steps
from .statistics.results import Results, analyse
from .statistics.searches.slices import slices
from .tables.load import StudyTables, load
from .tables.open import open_study, read_study
from .terms.estimate import Estimate

__all__ = [
    "ArmError",
    "ArmSummary",
    "Best",
    "Comparison",
    "Effect",
    "Estimate",
    "FailingStarts",
    "Figure",
    "Results",
    "Step",
    "StudyTables",
    "analyse",
    "arm_errors",
    "best",
    "compare_arms",
    "effects",
    "failing_starts",
    "frontier",
    "load",
    "open_study",
    "read_study",
    "render",
    "slices",
    "steps",
    "to_dict",
]
