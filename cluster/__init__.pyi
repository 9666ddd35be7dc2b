from .campaign.display import Display, Silent
from .campaign.driver import Ended, run, run_study
from .execution.executor import Executor, Inline, Work
from .execution.ray_tune import RayTune
from .execution.worker import Job, run_trial
from .planning.plan import StudyPlan, plan, prepare

__all__ = [
    "Display",
    "Ended",
    "Executor",
    "Inline",
    "Job",
    "RayTune",
    "Silent",
    "StudyPlan",
    "Work",
    "plan",
    "prepare",
    "run",
    "run_study",
    "run_trial",
]
