from .display import Display, Silent
from .driver import Ended, run, run_study
from .mirror import Mirror

__all__ = ["Display", "Ended", "Mirror", "Silent", "run", "run_study"]
