from .executor import Executor, Inline, Work
from .ray_tune import RayTune
from .worker import Job, run_trial

__all__ = ["Executor", "Inline", "Job", "RayTune", "Work", "run_trial"]
