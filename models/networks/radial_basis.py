"""What a distance is expanded in, and what takes an edge smoothly to zero at the cutoff."""

from math import pi

import torch
from torch import Tensor


def radial_functions(distances: Tensor, cutoff: float, number: int, basis: str = "gaussian") -> Tensor:
    """φ_k(r), k = 1..n, scaled to a second moment of about 1; c is the cutoff, δ = c/(n+1), c_k = kδ.

    - `gaussian`: √n (2/π)^¼ exp(−((r − c_k)/δ)²). The mean of φ_k² over k is 1 away from the ends.
    - `bessel`: √(c³/3) · √(2/c) sin(kπr/c)/r, as of arXiv 2003.03123 but for the first factor, which makes the mean of
      each φ_k² over the ball of radius c exactly 1. Nearer than c/√3 the mean over k is larger, c²/(3r²).
    - `cosine`: √(4n/3) · ½(1 + cos(π(r − c_k)/δ)) where |r − c_k| < δ, else 0: squares of e3nn's 'cosine', whose slope
      jumps where ours is continuous, so that forces are too. The mean of φ_k² over k and r is 1 away from the ends.

    :param distances: (edges,), Å.
    :param cutoff: Å.
    :param basis: one of those names.
    :returns: (edges, number).
    """
    orders = torch.arange(1, number + 1, dtype=distances.dtype, device=distances.device)
    if basis == "bessel":
        return (cutoff * (2 / 3) ** 0.5) * (orders * (pi / cutoff) * distances[:, None]).sin() / distances[:, None]
    spacing = cutoff / (number + 1)
    offsets = (distances[:, None] - spacing * orders) / spacing
    if basis == "cosine":
        lobes = torch.where(offsets.abs() < 1, (pi / 2 * offsets).cos().square(), 0.0)
        return (4 * number / 3) ** 0.5 * lobes
    return (number**0.5 * (2 / pi) ** 0.25) * offsets.square().neg().exp()


def smooth_cutoff(x: Tensor, envelope: str = "sine") -> Tensor:
    """u(x) of x = r/cutoff, 1 at 0 and 0 from x = 1 on.

    - `sine`: 1 up to x = ½, then sin²(πx); continuous with its first derivative.
    - `polynomial`: 1 − 28x⁶ + 48x⁷ − 21x⁸, that is p = 6 in arXiv 2003.03123; continuous with its first and second.
    """
    if envelope == "polynomial":
        # The same polynomial by its triple root, so that nothing cancels near the cutoff.
        rest = 1 + x * (3 + x * (6 + x * (10 + x * (15 + x * 21))))
        return torch.where(x < 1, (1 - x) ** 3 * rest, 0.0)
    return torch.where(x < 0.5, 1.0, torch.where(x < 1, (pi * x).sin().square(), 0.0))
