"""Which nodes of a cluster trials are kept from: they are lost again and again, lack something, or are about to end."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from tesseral.cluster.nodes.needs import Needs
from tesseral.study.wording import listed

FLAPS = 3
"""A node is left out that died so often, or on which so many trials were lost, one after the other."""
NOTICED_WITHIN = 30.0
"""Seconds within which Ray notices that a node is dead."""
NODE = "ray.io/node-id"
"""Label that Ray gives each node: its id."""

Node = dict[str, Any]
"""What Ray says about a node."""


class Nodes:
    """The nodes of a cluster, as trials fare on them.

    A node that joins again at the same address has a new id, so nodes are told apart by their addresses. The last
    address on which trials can run is never left out.

    :param look: what Ray says about every node that is or was there.
    :param needs: of a trial.
    :param say: called with a sentence about a node.
    :param kept: step of a trial's last checkpoint; 0 without one.
    :param clock: seconds from any moment on.
    """

    def __init__(
        self,
        look: Callable[[], list[Node]],
        needs: Needs,
        say: Callable[[str], None],
        kept: Callable[[str], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look, self._needs, self._say, self._kept, self._clock = look, needs, say, kept, clock
        self._unsettled: list[tuple[float, str, str]] = []
        """When a trial was lost, its id and that of its node, of which is not known yet whether it is lost too."""
        self._deaths: Counter[str] = Counter()
        self._dead: set[str] = set()
        self._lost: dict[str, set[str]] = defaultdict(set)
        """Address → trials that were lost there since the last one that ended there."""
        self.left_out: dict[str, str] = {}
        """Address → why no trial runs there."""
        self._avoided: dict[str, set[str]] = defaultdict(set)
        """Trial → addresses on which it could not run."""
        self.ending: set[str] = set()
        """Ids of the nodes that are about to end, or have."""

    def lost(self, trial: str, node: str) -> None:
        """A trial was lost with its worker, or with the whole node, which `settle` finds out.

        :param trial: its id.
        :param node: id of the node; empty if it is not known.
        """
        self._unsettled.append((self._clock(), trial, node))

    def settle(self, last: bool = False) -> None:
        """Say what was lost, once it is known whether a node is: Ray notices its death after its workers'.

        :param last: whether no later call will say it.
        """
        if not self._unsettled:
            return
        nodes, now = {node["NodeID"]: node for node in self._look()}, self._clock()
        waiting = []
        for since, trial, name in self._unsettled:
            node = nodes.get(name)
            if node is None:
                self._say(f"a worker was lost; trial {trial[:10]} goes on from {self._from([trial])}")
            elif not node["Alive"]:
                self._died(node, [each for _, each, other in self._unsettled if other == name])
            elif now - since < NOTICED_WITHIN and not last:
                waiting.append((since, trial, name))
            else:
                self._lost_alone(trial, node["NodeManagerAddress"])
        self._unsettled = waiting

    def _lost_alone(self, trial: str, address: str) -> None:
        self._say(f"a worker on node {address} was lost; trial {trial[:10]} goes on from {self._from([trial])}")
        self._lost[address].add(trial)
        if len(self._lost[address]) >= FLAPS:
            self._leave_out(address, f"{FLAPS} trials, one after the other, have lost their workers there")

    def _died(self, node: Node, trials: list[str]) -> None:
        if node["NodeID"] in self._dead:
            return
        address = node["NodeManagerAddress"]
        self._dead.add(node["NodeID"])
        self._deaths[address] += 1
        gone = f"its {len(trials)} trials go on" if len(trials) > 1 else "its trial goes on"
        self._say(f"node {address} is lost; {gone} elsewhere from {self._from(trials)}")
        if self._deaths[address] >= FLAPS:
            self._leave_out(address, f"it was lost {self._deaths[address]} times")

    def end(self, within: Mapping[str, float], where: Mapping[str, str]) -> None:
        """Some nodes are about to end. From now on no trial is handed out to them.

        :param within: id of each → seconds that it has; infinite without a deadline.
        :param where: trial that runs → id of its node.
        """
        for name, seconds in within.items():
            if name in self.ending:
                continue
            self.ending.add(name)
            number, node = sum(each == name for each in where.values()), self._find(name)
            if number and node is not None:
                soon = f" in {seconds:.0f} s" if isfinite(seconds) else ""
                gone = "the trial there keeps a checkpoint and goes on"
                if number > 1:
                    gone = f"{number} trials there keep a checkpoint and go on"
                self._say(f"node {node['NodeManagerAddress']} is to end{soon}; {gone} elsewhere")

    def _from(self, trials: list[str]) -> str:
        """Where these trials go on, in words."""
        steps = sorted({self._kept(trial) for trial in trials})
        return f"step{'s' * (len(steps) > 1)} {listed([f'{step:,}' for step in steps])}"

    def unfit(self, trial: str, node: str, reason: str, certain: bool = False) -> bool:
        """A trial could not run on a node because of what is around it there, such as a module that is missing.

        :param trial: its id.
        :param node: id of the node.
        :param reason: what is wrong, in words.
        :param certain: whether no trial can run there.
        :returns: whether it can be tried on another node.
        """
        there = self._find(node)
        if there is None or not self._others(self._avoided[trial] | {there["NodeManagerAddress"]}):
            return False
        address = there["NodeManagerAddress"]
        self._avoided[trial].add(address)
        self._lost[address].add(trial)
        if certain or len(self._lost[address]) >= FLAPS:
            self._leave_out(address, reason)
        return True

    def refuse(self, address: str, reason: str) -> None:
        """Leave a node out before work starts; who found why has said it.

        :param address: of the node.
        :param reason: why no trial can run there.
        """
        self.left_out[address] = reason

    @property
    def troubled(self) -> bool:
        """Whether a trial was lost on a node on which none has ended since."""
        return bool(self._lost)

    def ended(self, node: str) -> None:
        """A trial has ended on this node: it works.

        :param node: its id.
        """
        if (there := self._find(node)) is not None:
            self._lost.pop(there["NodeManagerAddress"], None)

    def selector(self, trial: str) -> dict[str, str]:
        """Ray's label selector of the nodes on which a trial may run; empty if all may, or if no other is left.

        :param trial: its id.
        """
        ids = [node["NodeID"] for node in self._barred(trial)]
        return {NODE: f"!in({','.join(ids)})"} if ids else {}

    def open_to(self, trial: str) -> list[Mapping[str, float]]:
        """What each node has on which a trial may run now, by Ray's names of resources.

        :param trial: its id.
        """
        barred = {node["NodeID"] for node in self._barred(trial)}
        return [node["Resources"] for node in self._look() if node["Alive"] and node["NodeID"] not in barred]

    def _barred(self, trial: str) -> list[Node]:
        """Nodes from which a trial is kept: none that only was left out or avoided, if no other is left."""
        own = self._avoided.get(trial, set())
        avoided = own | self.left_out.keys()
        if avoided and not self._others(own):
            avoided = set()
        if not avoided and not self.ending:
            return []
        return [
            node
            for node in self._look()
            if node["NodeManagerAddress"] in avoided or (node["Alive"] and node["NodeID"] in self.ending)
        ]

    def _find(self, node: str) -> Node | None:
        return next((each for each in self._look() if each["NodeID"] == node), None) if node else None

    def _others(self, without: set[str]) -> bool:
        """Whether trials can run on a node that is alive at another address."""
        return any(
            node["Alive"]
            and node["NodeID"] not in self.ending
            and node["NodeManagerAddress"] not in without | self.left_out.keys()
            and self._needs.fits(node["Resources"])
            for node in self._look()
        )

    def _leave_out(self, address: str, reason: str) -> None:
        if address not in self.left_out and self._others({address}):
            self.left_out[address] = reason
            self._say(f"node {address} is left out from now on: {reason}")
