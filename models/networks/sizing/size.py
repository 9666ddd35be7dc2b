"""The size of a network in numbers, by arithmetic alone: nothing is built."""

from dataclasses import dataclass

from tesseral.models.networks.sizing.architecture import blueprint
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.quantities import QUANTITIES
from tesseral.study.parsing.irreps import MulIrrep

FORCES = 2.2
"""What the operations of a step on forces by gradient are to one on the energies alone."""


@dataclass(frozen=True)
class Shape:
    """What a network's size and cost depend on besides its configuration."""

    elements: int
    """Length of the one-hot."""
    layout: tuple[MulIrrep, ...]
    """Outputs for each atom: of the density `AuxiliaryBasis.layout`, else `Quantity.outputs`."""
    atoms: float
    """Mean atoms of a structure."""
    edges: float
    """Mean directed edges of a structure: pairs of atoms nearer than the cutoff, each counted both ways."""


@dataclass(frozen=True)
class Size:
    """What arms are matched by."""

    parameters: int
    """Trainable numbers of the network as built."""
    parameters_live: int
    """Those that a gradient can reach."""
    components: int
    """Σ mul·(2l+1) over the live hidden features (made and read) of the widest layer; of a network of the user's own,
    of which these are not known, over all hidden irreps that it is asked for."""
    flops: float
    """Floating-point operations of one training step's matrix products, forward and backward."""


def size(configuration: Configuration, shape: Shape) -> Size:
    """Count parameters, components and operations of `tesseral.models.networks.network.Network`, part by part.

    A product of an (m, k) by a (k, n) matrix counts 2·m·k·n forward, and as much again for each operand that needs
    a gradient backward: a weight does, and so do features, but for the one-hot that enters the network; harmonics,
    radial functions and couplings do not. This is what `torch.utils.flop_counter` counts. The elementwise rest, the
    loss and the optimizer are left out.

    A target that is a gradient by the positions, `forces`, takes a pass back to the positions and, for the weights, one
    back through it. These are not counted product by product: operations are `FORCES` times those of the energies. The
    ratio of what torch counts lies between 2.1 and 2.3 for most networks; in batches of 24 atoms or more between 1.7
    (symmetric powers of many irreps, whose coefficients no position enters) and 2.9 (one or two channels). A single
    small molecule through symmetric powers may come to 1.4.

    Operations are those of a step of `training.batch_size` structures with `shape.atoms` atoms and `shape.edges` edges
    each. If no output can be reached there is nothing to go back from, and they are those of the forward pass.

    Networks of a user's own (`network.define`) are not counted so: build them.

    :raises TesseralError: if a fusion diagram has too many paths (`tesseral.models.networks.paths.fusion_paths`).
    """
    found, widths = blueprint(configuration, shape.layout, shape.elements)
    total = found.count(widths)
    structure = shape.atoms * total.atom + shape.edges * total.edge
    operations = configuration.training.batch_size * structure + total.step
    return Size(
        parameters=total.parameters,
        parameters_live=total.live,
        components=max(widths.components(live) for _, live in found.layers),
        flops=operations * passes(configuration),
    )


def passes(configuration: Configuration) -> float:
    """`FORCES` for a target that is a gradient, else 1."""
    quantity = QUANTITIES.get(configuration.target.quantity)
    return FORCES if quantity is not None and quantity.pooling == "gradient" else 1.0
