"""The check that finds vectors in other axes than the atoms'."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tesseral.models.reference.exchange.frame_check import check_frame
from tesseral.study.constants import BOHR

CHARGES = {1: 0.3, 6: -0.1, 8: -0.5}
NUMBER = 60


def molecules(seed: int) -> tuple[list[list[int]], list[np.ndarray], np.ndarray]:
    """Random atoms that carry their element's charge, made neutral by what each atom gives alike, and some noise."""
    generator = np.random.default_rng(seed)
    numbers = [generator.choice([1, 6, 8], size=6).tolist() for _ in range(NUMBER)]
    positions = [generator.normal(size=(6, 3)) * 1.5 + generator.normal(size=3) * 20 for _ in numbers]
    dipoles = []
    for one, places in zip(numbers, positions, strict=True):
        charges = np.array([CHARGES[z] for z in one])
        dipoles.append((charges - charges.mean()) @ places / BOHR + generator.normal(size=3) * 0.1)
    return numbers, positions, np.array(dipoles)


def test_dipoles_in_the_atoms_axes_are_not_doubted():
    numbers, positions, dipoles = molecules(0)
    check = check_frame(numbers, positions, [0] * NUMBER, dipoles)
    assert check.doubt is None
    assert check.r_squared > 0.98
    fitted = np.array([check.charges[symbol] for symbol in ("H", "C", "O")])
    np.testing.assert_allclose(fitted - fitted[0], [0, -0.4, -0.8], atol=0.02)
    assert "O -0." in str(check)


@pytest.mark.parametrize(("order", "signs"), [((1, 2, 0), (1, 1, 1)), ((1, 0, 2), (1, 1, 1)), ((0, 1, 2), (1, 1, -1))])
def test_axes_that_are_permuted_are_named(order, signs):
    numbers, positions, dipoles = molecules(1)
    check = check_frame(numbers, positions, [0] * NUMBER, dipoles[:, order] * np.array(signs))
    assert check.turned > 0.98
    assert check.r_squared < 0.5
    assert "fit the atoms better as" in check.doubt
    if order == (1, 2, 0):
        assert check.axes == "(z, x, y)"


def test_dipoles_each_in_axes_of_their_own_are_doubted():
    """As in programs that turn each molecule into a standard orientation and print dipoles there."""
    numbers, positions, dipoles = molecules(2)
    turned = Rotation.random(NUMBER, random_state=0).apply(dipoles)
    check = check_frame(numbers, positions, [0] * NUMBER, turned)
    assert check.r_squared < 0.2
    assert "axes may not be the atoms'" in check.doubt


def test_the_sign_of_all_dipoles_is_seen_in_the_charges_alone():
    numbers, positions, dipoles = molecules(3)
    given, other = (check_frame(numbers, positions, [0] * NUMBER, sign * dipoles) for sign in (1, -1))
    assert other.r_squared == pytest.approx(given.r_squared)
    assert other.charges["O"] == pytest.approx(-given.charges["O"])


def test_ions_are_left_out_and_few_molecules_say_nothing():
    numbers, positions, dipoles = molecules(4)
    charges = [0] * NUMBER
    charges[0] = 1
    spoiled = dipoles.copy()
    spoiled[0] = 1e6
    assert check_frame(numbers, positions, charges, spoiled).r_squared > 0.98
    assert check_frame(numbers[:20], positions[:20], [0] * 20, dipoles[:20]) is None
    assert check_frame(numbers, positions, [0] * NUMBER, 0 * dipoles) is None
