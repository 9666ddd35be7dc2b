from .campaign.display import Display, Silent
from .campaign.driver import Ended, run, run_study
from .execution.executor import Executor, InlineExecutor, Work
from .execution.make_reference import make_reference
from .execution.ray_tune import RayExecutor
from .execution.worker import Job, run_trial
from .planning.plan import StudyPlan, plan, prepare

__all__ = [
    "Display",
    "Ended",
    "Executor",
    "InlineExecutor",
    "Job",
    "RayExecutor",
    "Silent",
    "StudyPlan",
    "Work",
    "make_reference",
    "plan",
    "prepare",
    "run",
    "run_study",
    "run_trial",
]
