"""The fused operator: gather, weighted tensor product and scatter in one pass over the edges, in C++.

Begin with `autograd.py`, what torch sees; `operator.py` calls the C++ that `kernels.py` writes, and `coupling.py` says
which coefficients it is given. `convolution.py` is a whole convolution in one operation.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
