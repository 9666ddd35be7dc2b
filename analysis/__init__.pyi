from .figures.figure import Figure
from .report.report import render
from .report.summary import to_dict
from .statistics.arms import ArmSummary
from .statistics.paired import ArmError, Comparison, arm_errors, compare_arms
from .statistics.results import Results, analyse
from .statistics.steps import Step, steps
from .tables.load import StudyTables, load
from .tables.open import open_study, read_study
from .terms.estimate import Estimate

__all__ = [
    "ArmError",
    "ArmSummary",
    "Comparison",
    "Estimate",
    "Figure",
    "Results",
    "Step",
    "StudyTables",
    "analyse",
    "arm_errors",
    "compare_arms",
    "load",
    "open_study",
    "read_study",
    "render",
    "steps",
    "to_dict",
]
