"""What a trial reserves on a node, and whether nodes can give it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil

from tesseral.study.wording import count

GB = 1e9
"""Bytes."""
_UNITS = {"CPU": "CPU", "GPU": "GPU"}
_SLACK = 1e-9
"""Relative rounding error of sums of fractions of a GPU."""


@dataclass(frozen=True)
class Needs:
    """What one trial reserves."""

    cpus: float = 1
    gpus: float = 0.0
    memory: int = 0
    """Bytes; 0 reserves none."""
    custom: Mapping[str, float] = field(default_factory=dict)
    """Name of a custom resource of Ray → amount."""

    @property
    def bundle(self) -> dict[str, float]:
        """By Ray's names of resources, without those that are not needed."""
        every = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory, **self.custom}
        return {name: amount for name, amount in every.items() if amount > 0}

    @property
    def shares(self) -> bool:
        """Whether trials beside it use the same GPU, or on the CPU the same memory."""
        return self.gpus < 1

    def alone(self, nodes: Iterable[Mapping[str, float]]) -> "Needs":
        """What a trial reserves to have a device to itself: whole GPUs, or every core of the largest node.

        :param nodes: what each node has, by Ray's names of resources.
        """
        if self.gpus:
            return replace(self, gpus=float(ceil(self.gpus)))
        fit = [node.get("CPU", 0) for node in nodes if self.fits(node)]
        return replace(self, cpus=max(fit, default=self.cpus))

    def fits(self, node: Mapping[str, float]) -> bool:
        """Whether a node that runs nothing else can give it.

        :param node: what it has, by Ray's names of resources.
        """
        return all(node.get(name, 0) * (1 + _SLACK) >= amount for name, amount in self.bundle.items())

    def many(self, node: Mapping[str, float]) -> int:
        """How many trials a node can run at the same time.

        :param node: what it has, by Ray's names of resources.
        """
        return min(int(node.get(name, 0) * (1 + _SLACK) / amount) for name, amount in self.bundle.items())

    def lacking(self, nodes: Iterable[Mapping[str, float]], types: Iterable[Mapping[str, float]] = ()) -> str:
        """Why no trial can ever run, in words; empty if one can.

        :param nodes: what each node of the cluster has, by Ray's names of resources.
        :param types: the same of the kinds of nodes that an autoscaler may add.
        """
        nodes, types = list(nodes), list(types)
        offers = [*nodes, *types]
        if any(self.fits(offer) for offer in offers):
            return ""
        where = f"the cluster's {count(len(nodes), 'node')}"
        have = "has" if len(nodes) == 1 and not types else "have"
        if types:
            where += f" and the {count(len(types), 'kind')} that its autoscaler may add"
        most = {name: max((offer.get(name, 0) for offer in offers), default=0) for name in self.bundle}
        short = {name: amount for name, amount in self.bundle.items() if most[name] * (1 + _SLACK) < amount}
        if not short:
            return f"a trial needs {describe(self.bundle)} on one node; {where} {have} it on different ones only"
        return f"a trial needs {describe(short)} on one node; {where} {have} at most {describe(most, short)}"


def describe(amounts: Mapping[str, float], names: Iterable[str] | None = None) -> str:
    """Amounts of resources in words, such as `2 CPUs, 0.25 GPUs and 1.5 GB of memory`.

    :param amounts: by Ray's names.
    :param names: those that are named; all if not given.
    """
    words = [_amount(name, amounts[name]) for name in (amounts if names is None else names)]
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1] if words else "nothing") if part)


def _amount(name: str, amount: float) -> str:
    if name == "memory":
        return f"{amount / GB:.1f} GB of memory"
    word = _UNITS.get(name, f"of {name!r}")
    return f"{amount:g} {word}{'s' if name in _UNITS and amount != 1 else ''}"
