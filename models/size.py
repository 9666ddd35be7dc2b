"""The size of the gated network in numbers, by arithmetic alone: nothing is built."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from tesseral.models.reach import SCALAR, Irrep, Orders, Stage, before_gate, hidden_irreps, stages
from tesseral.models.shape import Shape
from tesseral.study import configuration
from tesseral.study.configuration import Configuration
from tesseral.study.quantities import QUANTITIES

Muls = dict[Irrep, int]
"""Multiplicity of each irrep (l, p)."""
FORCES = 2.2
"""What the operations of a step on forces by gradient are to one on the energies alone."""


@dataclass(frozen=True)
class Size:
    """What arms are matched by."""

    parameters: int
    """Trainable numbers of the network as built."""
    parameters_live: int
    """Those that a gradient can reach."""
    components: int
    """Σ mul·(2l+1) over the live hidden features (made and read) of the widest layer."""
    flops: float
    """Floating-point operations of one training step's matrix products, forward and backward."""


class Count(NamedTuple):
    """What one part of the network adds: parameters, live ones, operations for each atom and each edge."""

    parameters: int = 0
    live: int = 0
    atom: int = 0
    edge: int = 0


def size(configuration: Configuration, shape: Shape) -> Size:
    """Count parameters, components and operations of `tesseral.models.network.Network`.

    A product of an (m, k) by a (k, n) matrix counts 2·m·k·n forward, and as much again for each operand that needs
    a gradient backward: a weight does, and so do features, but for the one-hot that enters the network; harmonics and
    radial functions do not. This is what `torch.utils.flop_counter` counts. The elementwise rest, the loss and the
    optimizer are left out.

    A target that is a gradient by the positions, `forces`, takes a pass back to the positions and, for the weights, one
    back through it. These are not counted product by product: operations are `FORCES` times those of the energies. The
    ratio of what torch counts lies between 2.0 (many scalars) and 2.6 (a few channels).

    Operations are those of a step of `training.batch_size` structures with `shape.atoms` atoms and `shape.edges` edges
    each. If no output can be reached there is nothing to go back from, and they are those of the forward pass.

    Networks of a user's own (`network.define`) are not counted so: build them.
    """
    settings = configuration.network
    found = stages(configuration, shape.layout)
    hidden: Muls = {(term.l, term.p): term.mul for term in hidden_irreps(configuration)}
    layout: Muls = {(term.l, term.p): term.mul for term in shape.layout}
    backward = bool(found[-1].outputs)
    counts = []
    for number, stage in enumerate(found):
        first, last = number == 0, number == settings.layers
        inputs = {SCALAR: shape.elements} if first else {ir: hidden[ir] for ir in stage.inputs}
        made = layout if last else _with_gates(hidden, stage.outputs)
        live = {ir: layout[ir] for ir in stage.live} if last else _with_gates(hidden, stage.live)
        counts.append(_convolution(settings, stage, inputs, made, live, shape.elements, first=first, backward=backward))
        if not last:
            counts.append(_gate({ir: hidden[ir] for ir in stage.outputs}, backward=backward))
    parameters, parameters_live, atom, edge = map(sum, zip(*counts, strict=True))
    return Size(
        parameters=parameters,
        parameters_live=parameters_live,
        components=max(_dimension({ir: hidden[ir] for ir in stage.live}) for stage in found[:-1]),
        flops=configuration.training.batch_size * (shape.atoms * atom + shape.edges * edge) * passes(configuration),
    )


def passes(configuration: Configuration) -> float:
    """`FORCES` for a target that is a gradient, else 1."""
    quantity = QUANTITIES.get(configuration.target.quantity)
    return FORCES if quantity is not None and quantity.readout == "gradient" else 1.0


def _convolution(
    settings: configuration.Network,
    stage: Stage,
    inputs: Muls,
    made: Muls,
    live: Muls,
    elements: int,
    *,
    first: bool,
    backward: bool,
) -> Count:
    """Of `tesseral.models.convolution.Convolution`.

    :param made: its outputs, those that gate included.
    :param live: those that an output of the network depends on.
    """
    if not stage.paths:
        return Count()
    constant, feature = 2 * (1 + backward), 2 * (1 + 2 * backward)  # a weight times a constant, or times a feature
    entering = constant if first else feature
    parameters = alive = atom = edge = 0

    for ir, mul in inputs.items():  # the self-connection, and A
        dim = 2 * ir[0] + 1
        # The first layer's features are the one-hot: weights of two different elements always meet a zero.
        alive += (1 if first else mul) * elements * live.get(ir, 0)
        parameters += mul * elements * made.get(ir, 0) + mul**2
        atom += entering * mul**2 * dim
        if ir in made:
            atom += _self_connection(mul, elements, made[ir], dim, constant, entering)

    columns = dict.fromkeys(inputs, 0)  # components of all that an irrep makes
    fanout = dict.fromkeys(inputs, 0)  # its paths
    read: set[Irrep] = set()
    live_weights = 0
    for source, target in stage.paths:  # the tensor product, and B
        mul, dim = inputs[source], 2 * target[0] + 1
        columns[source] += dim
        fanout[source] += 1
        parameters += mul * made.get(target, 0)
        atom += feature * mul * made.get(target, 0) * dim
        if target in live:
            read.add(source)
            live_weights += mul
            alive += mul * live[target]
    alive += sum(inputs[source] ** 2 for source in read)
    for ir, mul in inputs.items():
        dim = 2 * ir[0] + 1
        edge += 2 * (settings.harmonics_lmax + 1) ** 2 * dim * columns[ir]
        edge += constant * mul * columns[ir] * (dim + fanout[ir])

    weights = sum(mul * fanout[ir] for ir, mul in inputs.items())
    sizes = [settings.radial_functions, *settings.radial_layers * [settings.radial_width]]
    for number, (rows, width) in enumerate(pairwise([*sizes, weights])):
        parameters += rows * width
        edge += (feature if number else constant) * rows * width
    if read:
        alive += sum(rows * width for rows, width in pairwise([*sizes, live_weights]))
    return Count(parameters, alive, atom, edge)


def _self_connection(u: int, v: int, w: int, i: int, constant: int, entering: int) -> int:
    """Σ_uv W_uvw x_ui z_v for each w and i: operations by the order of the products that e3nn lets opt_einsum choose.

    It counts outer products, too, which are no matrix products and so not counted here; nor is a second product that
    sums over one term alone.
    """
    features_first = (2 * u * v * w * i + 2 * v * w * i, entering * u * v * w * i + (v > 1) * constant * v * w * i)
    elements_first = (2 * u * v * w + 2 * u * w * i, constant * u * v * w + (u > 1) * entering * u * w * i)
    outer_first = (u * v * i + 2 * u * v * w * i, entering * u * v * w * i)
    return min(features_first, elements_first, outer_first, key=lambda order: order[0])[1]


def _gate(outputs: Muls, *, backward: bool) -> Count:
    """Of `tesseral.models.gate.Gate`: each gate is spread over the components that it multiplies."""
    gated = {ir: mul for ir, mul in outputs.items() if ir[0]}
    return Count(atom=2 * (1 + backward) * sum(gated.values()) * _dimension(gated))


def _with_gates(hidden: Muls, outputs: Orders) -> Muls:
    """What a layer's convolution makes, for `outputs` after the gate: a 0e more for each copy of l > 0."""
    gates = sum(hidden[ir] for ir in outputs if ir[0])
    return {ir: hidden.get(ir, 0) * (ir in outputs) + gates * (ir == SCALAR) for ir in before_gate(outputs)}


def _dimension(muls: Muls) -> int:
    return sum(mul * (2 * order + 1) for (order, _), mul in muls.items())
