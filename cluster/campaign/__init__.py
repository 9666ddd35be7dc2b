"""What runs next: the driver, a study's campaign of trials, its search and confirm stages, and Optuna.

Begin with `driver.py`, which runs a study; `campaign.py` decides which trial is next.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
