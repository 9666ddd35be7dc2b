"""From the order and axes of quantum chemistry's real harmonics to those of e3nn.

Quantum chemistry's polar axis is z: Y_lm(x, y, z) with m = −l, …, l. e3nn's is y, and its harmonics are the same
polynomials in permuted coordinates: Y^e3nn_lm(x, y, z) = Y_lm(z, x, y). Positions stay as they are; each block of
2l+1 coefficients is multiplied by the orthogonal matrix Q_l of `to_e3nn`.
"""

from functools import cache

import numpy as np
import torch
from e3nn import o3
from numpy.typing import NDArray

_SAMPLES = 64  # random directions; more than 2l+1 of any basis, so that Q_l is determined


@cache
def to_e3nn(order: int) -> NDArray[np.float64]:
    """Q_l with Y^e3nn = Q_l Y, shape (2l+1, 2l+1), orthogonal; Y is in the order m = −l, …, l about the z axis.

    By the definition above, Y(r) = Y^e3nn(P r) with P (x, y, z) = (y, z, x), so that Q_l solves
    Y^e3nn(r) = Q_l Y^e3nn(P r) for every r. For l = 1, in the order (y, z, x), it is the permutation to (x, y, z).
    """
    directions = torch.randn(_SAMPLES, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cartesian = o3.spherical_harmonics(order, directions, normalize=True)
    polar_z = o3.spherical_harmonics(order, directions[:, [1, 2, 0]], normalize=True)
    solution = torch.linalg.lstsq(polar_z, cartesian).solution.T.numpy()
    # The squares of a quarter turn's elements are multiples of 4^-l: exact elements, the same on every machine.
    matrix: NDArray[np.float64] = np.sign(solution) * np.sqrt(np.round(solution**2 * 4**order) / 4**order) + 0.0
    matrix.flags.writeable = False
    return matrix
