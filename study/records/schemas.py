"""Every table that tesseral writes, as an Arrow schema with a description and unit for each column."""

from typing import Any, NamedTuple

import pyarrow as pa

VERSION = 1
"""Version of the schemas. It is raised when a column is renamed, retyped or changes its meaning, not for new
columns."""


def _table(name: str, *columns: tuple[str, pa.DataType, str]) -> pa.Schema:
    described = [pa.field(key, kind, metadata={"description": text}) for key, kind, text in columns]
    return pa.schema(described, metadata={"tesseral.table": name, "tesseral.version": str(VERSION)})


CURVES = _table(
    "curves",
    ("trial", pa.string(), "trial id"),
    ("step", pa.int64(), "optimizer steps done when measured; 0 is before training"),
    ("epoch", pa.int64(), "epochs done when measured"),
    ("split", pa.string(), "train, validation or test"),
    # Descriptions are stored in every file, so they keep their bytes: this one names an old path of `metrics.py`.
    ("metric", pa.string(), "name of the metric, see tesseral.models.metrics"),
    ("l", pa.int8(), "order of the output irrep; null where the metric has none"),
    ("value", pa.float64(), "in the unit that the metric's name states"),
)

STATISTICS = {
    "rms": "root mean square per component of the features",
    "share": "part of the layer's squared norm",
    "effective_rank": "exp(-sum q ln q) of the squared singular values q, over their sum, of the features as a matrix "
    "of channels by atoms and components, invariants (0e) less each channel's mean over the atoms: from 1, all "
    "channels alike, to the number of channels, or of atoms times components if there are fewer; 0 of no features",
    "feature_gradient": "root mean square per component of the loss's gradient by the features; exactly 0 where "
    "nothing reads them",
    "weight_rms": "root mean square of the weights that make the features",
    "gradient_rms": "root mean square of the loss's gradient by them",
    "update": "norm of their change in the last optimizer step over their norm before it; at the end of a cosine "
    "schedule nearly zero by construction, for so is the last step's size",
    "edge_weight_rms": "root mean square of a product's weights that a network computes for each edge",
    "edge_gradient_rms": "root mean square of the loss's gradient by them",
    "edge_update": "as update, of the columns of the last matrix of the network that computes them",
    # Stored in files, so these texts keep their bytes; ABLATION_METRICS is `Quantity.ablation_metric` today.
    "ablation_none": "error of the trained network, see ABLATION_METRICS",
    "ablation_zero": "the same with the layer's features of order l, of both parities, set to zero",
    "ablation_shuffle": "the same with them exchanged among the atoms of one element, of several structures",
}
"""Statistic of a network's features or weights → its meaning.

Features and gradients are measured on the probe, a fixed batch of training structures, with the training loss.

Weights belong to the irrep (l, p) of a layer that they produce. They are those of e3nn's `o3.Linear` and
`o3.TensorProduct` and of our own products. A row with a path holds the weights of this path of this product only
(`messages`, `contraction`, `squares` or `diagram`; products of e3nn have no name, and several in one layer count
together). A row without a path holds all paths and linear maps together. If the weights of a path are computed for
each edge, the path has the statistics of edges, else the others. Weights of the output are in a layer after the last
hidden one.

Ablations are measured once, after training, on the first structures of the validation split
(`tesseral.models.traces.ablation`), if the test split is measured too.
"""

ABLATION_STRUCTURES = 16
"""Largest number of structures that ablations are measured on: the first ones of the validation split."""

TRACES = _table(
    "traces",
    ("trial", pa.string(), "trial id"),
    ("step", pa.int64(), "optimizer steps done when measured; 0 is before training"),
    ("epoch", pa.int64(), "epochs done when measured"),
    (
        "layer",
        pa.int16(),
        "hidden layer, from 1, by its first call; the one after the last: output; null of the whole",
    ),
    (
        "path",
        pa.string(),
        "product and its path: leaves and irreps, such as 'messages: 0e x 1o -> 1o', "
        "'contraction: (1o x 1o -> 2e) x 1o -> 1o' or 'squares: centre 1o x neighbours 1o -> 0e', and of e3nn's "
        "products '1o x 1o -> 0e'; null of all together, and where there is none, as of linear maps",
    ),
    ("l", pa.int8(), "order of the feature, or of what the weights make; null of the whole network"),
    ("p", pa.int8(), "its parity, +1 or -1; null of both together"),
    ("statistic", pa.string(), "; ".join(f"{name}: {meaning}" for name, meaning in STATISTICS.items())),
    ("value", pa.float64(), "dimensionless; gradients in the loss's unit, errors of ablations in the metric's"),
)

# One row a trial, or one for each arm that chose its network; `factor.<path>`, `setting.<path>` and `metric.<name>`
# columns are added by the study.
_IRREPS = pa.list_(pa.struct([("layer", pa.int16()), ("l", pa.int8()), ("p", pa.int8())]))

TRIALS = _table(
    "trials",
    ("study", pa.string(), "name of the study"),
    ("trial", pa.string(), "trial id"),
    (
        "arm",
        pa.string(),
        "label of the arm; several, joined by ' = ', where arms resolve to one configuration",
    ),
    ("stage", pa.string(), "search or confirm"),
    ("block", pa.int32(), "fixes the split and the order of the data"),
    ("replicate", pa.int32(), "fixes the initialisation"),
    ("state", pa.string(), "planned, running, complete, pruned or failed"),
    ("reason", pa.string(), "why it failed or was pruned, one line"),
    ("cause", pa.string(), "why it failed: training, memory, machine, code or refused; null if not known"),
    ("parameters", pa.int64(), "trainable numbers of the network"),
    ("parameters_live", pa.int64(), "those that a gradient can reach: what arms are matched by"),
    ("components", pa.int64(), "numbers that the hidden features of an atom hold, in the widest layer"),
    ("flops", pa.int64(), "floating-point operations of a training step's matrix products, analytic"),
    ("hidden_natural", pa.string(), "hidden irreps before arms were matched in size"),
    ("match", pa.string(), "how the arm is matched: none, parameters, components or flops"),
    ("residual", pa.float64(), "size over the size that it is matched to, less 1"),
    ("proposal", pa.int64(), "number of the proposal in its arm's search; null in the confirm stage"),
    ("reused", pa.string(), "study that had trained it before, from which it was copied; null if none"),
    ("target", pa.string(), "what is predicted"),
    ("unreachable", pa.string(), "target irreps this arm cannot reach, predicted zero; null if none"),
    ("dead", pa.string(), "hidden irreps that nothing feeds or nothing reads, in words; null if none"),
    ("dead_irreps", _IRREPS, "the same: hidden layer, from 1, order l, parity p"),
    ("steps", pa.int64(), "optimizer steps done; of a pruned trial, up to the rung where it was stopped"),
    ("max_steps", pa.int64(), "optimizer steps of the whole training"),
    ("seconds", pa.float64(), "wall time of training over all attempts, without ablations, s; null where not known"),
    ("device", pa.string(), "cpu or the accelerator's name"),
    ("peak_memory", pa.int64(), "largest resident memory (CPU) or allocated memory (CUDA), bytes"),
    ("attempts", pa.int32(), "executions, one unless a worker was lost"),
    ("started", pa.timestamp("us", tz="UTC"), "start of the first attempt"),
    ("ended", pa.timestamp("us", tz="UTC"), "when the outcome was sealed"),
    ("data_hash", pa.string(), "content of the reference data"),
    ("commit", pa.string(), "git commit of the code, null outside a checkout"),
    ("versions", pa.string(), "JSON: package versions"),
    ("held", pa.int64(), "structures that no search saw and test splits are drawn from; null without such a hold-out"),
)

_PER_ATOM = pa.list_(pa.float64())

REFERENCE = _table(
    "reference",
    ("id", pa.string(), "name of the structure, unique in the file"),
    ("atomic_numbers", pa.list_(pa.int8()), "Z of each atom"),
    ("positions", pa.list_(pa.list_(pa.float64(), 3)), "x, y, z of each atom, angstrom"),
    ("charge", pa.int16(), "total charge, e"),
    ("spin", pa.int16(), "unpaired electrons"),
    ("method", pa.string(), "such as PBE0, HF; null where unknown"),
    ("basis", pa.string(), "orbital basis"),
    ("auxiliary_basis", pa.string(), "basis of the density fit"),
    ("converged", pa.bool_(), "whether the self-consistent field converged; if not, never trained on"),
    ("energy", pa.float64(), "hartree"),
    ("forces", pa.list_(pa.list_(pa.float64(), 3)), "hartree/bohr"),
    ("centre", pa.list_(pa.float64(), 3), "centre of nuclear charge, angstrom"),
    (
        "dipole",
        pa.list_(pa.float64()),
        "Racah, e3nn's order (x, y, z), about the centre, nuclei included, e bohr",
    ),
    ("quadrupole", pa.list_(pa.float64()), "traceless Racah, e3nn's order and axes, e bohr^2"),
    ("octupole", pa.list_(pa.float64()), "traceless Racah, e3nn's order and axes, e bohr^3"),
    (
        "coefficients",
        pa.list_(_PER_ATOM),
        "per atom, shells in the order of the file's auxiliary table, e3nn's m",
    ),
    (
        "overlap",
        pa.list_(pa.float64()),
        "auxiliary overlap matrix in the coefficients' order, lower triangle by rows",
    ),
    ("homo", pa.float64(), "energy of the highest occupied orbital of either spin, hartree"),
    ("lumo", pa.float64(), "energy of the lowest empty orbital of either spin, hartree"),
    ("gap", pa.float64(), "lumo less homo, hartree"),
    ("r2", pa.float64(), "integral of the electron density times r^2 about the centre, bohr^2"),
    (
        "polarizability",
        pa.list_(pa.float64()),
        "static: 0e, then 2e in e3nn's order and axes, orthonormal (the first is trace/sqrt 3), bohr^3",
    ),
    ("charges", pa.list_(pa.float64()), "partial charge of each atom, by the method's scheme, e"),
    ("electrons", pa.float64(), "integral of the fitted density"),
    ("electron_error", pa.float64(), "integral of the fitted density less the number of electrons, e"),
    ("dipole_error", pa.float64(), "length of the fitted density's dipole less the field's, e bohr"),
    ("self_repulsion_error", pa.float64(), "100 (J_fit - J) / J, J = (rho|rho)/2, percent"),
    ("fit_error", pa.float64(), "100 sum|fit - scf| / sum scf on a Becke grid, percent; null where unknown"),
    ("cycles", pa.int32(), "cycles of the self-consistent field"),
    ("seconds", pa.float64(), "wall time of the calculation, s"),
    ("timings", pa.string(), "JSON: stage of the calculation to its wall time, s"),
    ("provenance", pa.string(), "JSON: source, package versions"),
    ("split", pa.string(), "published split: train, validation or test; null where none is known"),
    (
        "cell",
        pa.list_(pa.list_(pa.float64(), 3), 3),
        "lattice vectors as rows, zeros where the structure does not repeat, angstrom; null for a molecule",
    ),
    (
        "stress",
        pa.list_(pa.float64()),
        "0e, then 2e in e3nn's order and axes, orthonormal, positive under tension (ASE's sign), hartree/bohr^3",
    ),
)
"""Reference data, one row per structure. The file's metadata also hold the auxiliary basis, under `tesseral.auxiliary`
(see `tesseral.models.density.auxiliary_basis`)."""


class FitError(NamedTuple):
    """An error of the fitted density against that of the self-consistent field."""

    key: str
    """Its key in JSON."""
    name: str
    """Its name in print."""
    unit: str


FIT_ERRORS = {
    "fit_error": FitError("epsilon", "fit ε", "%"),
    "electron_error": FitError("electrons", "number of electrons", "e"),
    "dipole_error": FitError("dipole", "dipole", "e bohr"),
    "self_repulsion_error": FitError("self_repulsion", "self-repulsion energy", "%"),
}
"""Column of `REFERENCE` → the error that it holds. Networks learn the fitted density, so these errors bound how close
any prediction can come to the self-consistent density."""


def with_metadata(schema: pa.Schema, **extra: str) -> pa.Schema:
    """Return `schema` with further metadata of the file, under `tesseral.<key>`.

    :param schema: of a table.
    :param extra: key → text.
    """
    return schema.with_metadata((schema.metadata or {}) | {f"tesseral.{k}": v for k, v in extra.items()})


def table_name(schema: pa.Schema) -> tuple[str, int] | None:
    """Return which table a file holds, and its version; None for a file of another origin.

    :param schema: as read from a file.
    """
    metadata = schema.metadata or {}
    try:
        return metadata[b"tesseral.table"].decode(), int(metadata[b"tesseral.version"])
    except (KeyError, ValueError):
        return None


def to_table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return rows as a table of exactly this schema; missing keys become null.

    :param rows: column → value.
    :param schema: of the table.
    :raises pyarrow.ArrowInvalid: if a value does not fit its column.
    """
    return pa.Table.from_pylist(rows, schema=schema)
