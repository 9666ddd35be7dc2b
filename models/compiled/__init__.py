"""C++ that the system's compiler builds when it is first needed; `blas.py` gives it PyTorch's matrix products."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
