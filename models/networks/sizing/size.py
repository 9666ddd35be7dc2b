"""The size of a network, computed from its blueprint: parameters, components and FLOPs."""

from dataclasses import dataclass

from tesseral.models.networks.sizing.architecture import blueprint
from tesseral.models.networks.sizing.blueprint import Blueprint, Widths
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.quantities import quantity_of
from tesseral.study.parsing.irreps import MulIrrep

FORCES = 2.2
"""Operations of a training step on forces, the gradient of an energy, relative to a step on energies alone."""


@dataclass(frozen=True)
class Shape:
    """What a network's size depends on besides its configuration: the data's elements, outputs and mean structure."""

    elements: int
    """Number of elements, the length of the one-hot."""
    layout: tuple[MulIrrep, ...]
    """Irreps of the outputs for each atom: `AuxiliaryBasis.layout` for densities, else `Quantity.outputs`."""
    atoms: float
    """Mean number of atoms of a structure."""
    edges: float
    """Mean number of directed edges of a structure: pairs of atoms closer than the cutoff, counted both ways."""


@dataclass(frozen=True)
class Size:
    """The numbers that arms are matched by."""

    parameters: int
    """Number of trainable weights."""
    parameters_live: int
    """Number of trainable weights that a gradient can reach."""
    components: int
    """Σ mul·(2l+1) over the live hidden features of the widest layer, those that an output depends on. For a user's own
    network, where they are not known, over all hidden irreps of the configuration."""
    flops: float
    """Floating-point operations of one training step's matrix products, forward and backward."""


def size(configuration: Configuration, shape: Shape) -> Size:
    """Count the parameters, components and operations of `tesseral.models.networks.network.Network`, part by part.

    A product of an (m, k) by a (k, n) matrix takes 2·m·k·n operations forward, and as many again backward for each
    operand that requires a gradient. Weights do, and features except the one-hot that enters the network; harmonics,
    radial functions and coupling coefficients do not. `torch.utils.flop_counter` counts the same. Elementwise
    operations, the loss and the optimizer are left out.

    A step on forces, a gradient with respect to positions, takes a backward pass to the positions and one through it to
    the weights. Its operations are estimated as `FORCES` times those of the energies. The ratio that torch counts is
    between 2.1 and 2.3 for most networks. In batches of 24 atoms or more it is between 1.7 (symmetric powers of many
    irreps, whose coefficients do not depend on positions) and 2.9 (one or two channels); for a single small molecule
    through symmetric powers it can be 1.4.

    Operations are those of one step, a batch of `training.batch_size` structures with `shape.atoms` atoms and
    `shape.edges` edges each. If no output can be reached they are those of the forward pass.

    A user's own network (`network.define`) has no blueprint: see `tesseral.models.networks.sizing.probe.measure_size`.

    :param configuration: of a network without `network.define`.
    :param shape: elements, outputs and mean structure of the data.
    :raises TesseralError: if a fusion diagram has too many paths.
    """
    return count_size(*blueprint(configuration, shape.layout, shape.elements), configuration, shape)


def count_size(network: Blueprint, widths: Widths, configuration: Configuration, shape: Shape) -> Size:
    """Count the size of a network whose blueprint is drawn already, see `size`.

    :param network: the blueprint.
    :param widths: numbers of channels.
    :param configuration: of which target and batch size count.
    :param shape: mean structure of the data.
    """
    total = network.count(widths)
    structure = shape.atoms * total.atom + shape.edges * total.edge
    operations = configuration.training.batch_size * structure + total.step
    return Size(
        parameters=total.parameters,
        parameters_live=total.live,
        components=max(widths.components(live) for _, live in network.layers),
        flops=operations * (FORCES if quantity_of(configuration.target.quantity).differentiated else 1.0),
    )
