from .analysis.report.report import report
from .analysis.tables.load import StudyTables
from .analysis.tables.open import open_study, read_study
from .cluster.campaign.driver import Ended, run
from .cluster.execution.make_reference import make_reference
from .cluster.planning.plan import StudyPlan, plan
from .study.errors import TesseralError
from .study.study import Study

__version__: str

__all__ = [
    "Ended",
    "Study",
    "StudyPlan",
    "StudyTables",
    "TesseralError",
    "__version__",
    "make_reference",
    "open_study",
    "plan",
    "read_study",
    "report",
    "run",
]
