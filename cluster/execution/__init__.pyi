from .executor import Executor, InlineExecutor, Work
from .ray_tune import RayExecutor
from .worker import Job, run_trial

__all__ = ["Executor", "InlineExecutor", "Job", "RayExecutor", "Work", "run_trial"]
