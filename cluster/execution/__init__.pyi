from .executor import Executor, InlineExecutor, Work
from .ray_tune import RayExecutor
from .reference import make_reference
from .worker import Job, run_trial

__all__ = ["Executor", "InlineExecutor", "Job", "RayExecutor", "Work", "make_reference", "run_trial"]
