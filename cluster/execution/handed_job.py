"""A job as it is handed to Ray Tune: one text, which driver and worker read."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from tesseral.cluster.execution.worker import Job


@dataclass(frozen=True)
class HandedJob:
    """A job, where it may run, and what its worker must know beside it."""

    values: dict[str, Any]
    """Of the job, by field: on a node with other code a job may have other fields."""
    bundle: Mapping[str, float]
    """What it reserves, by Ray's names of resources."""
    where: Mapping[str, str]
    """Label of nodes → the condition on it, by which Ray selects them; empty: any node."""
    beside: int
    """Number of trials that run or wait when it is handed out."""
    code: str
    """Hash of the driver's code."""
    versions: Mapping[str, str]
    """Package → its version in the driver."""

    @property
    def trial(self) -> str:
        """Id of the job's trial."""
        return str(self.values["trial"])

    @property
    def job(self) -> Job:
        """The job, on a node whose code is the driver's."""
        return Job(**self.values)

    @property
    def config(self) -> dict[str, str]:
        """The configuration of a trial of Tune.

        It is one text: Tune keeps for each trial several copies of its configuration and statistics of every number
        in it.
        """
        return {"handed": json.dumps(asdict(self))}

    @classmethod
    def read(cls, config: dict[str, Any]) -> Self:
        """The job of a configuration of Tune."""
        return cls(**json.loads(config["handed"]))
