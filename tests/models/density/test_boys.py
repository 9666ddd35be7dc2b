"""The Boys function against its integral, and its two implementations against each other."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from tesseral.models.density.boys import boys, boys_orders


@pytest.mark.parametrize("order", [0, 1, 4, 6])
@pytest.mark.parametrize("x", [0.0, 1e-14, 1e-6, 0.3, 4.0, 60.0, 1e5])
def test_boys(order, x):
    upper = min(1.0, 12 / max(x, 1e-300) ** 0.5)  # beyond it the integrand is below 1e-62
    expected = quad(lambda t: t ** (2 * order) * np.exp(-x * t * t), 0, upper, epsabs=0, epsrel=1e-12)[0]
    assert float(boys(order, torch.tensor([x], dtype=torch.float64))) == pytest.approx(expected, rel=1e-10)
    assert boys_orders(8, np.array([x]))[order, 0] == pytest.approx(expected, rel=1e-10)


def test_all_orders_are_those_of_one_order():
    x = np.concatenate([np.logspace(-9, 4, 200), [0.0]])
    for most in (0, 3, 10):
        for order, values in enumerate(boys_orders(most, x)):
            np.testing.assert_allclose(values, boys(order, torch.from_numpy(x)).numpy(), rtol=1e-10)
