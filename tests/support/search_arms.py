"""Two arms to search in: scalars alone, and scalars with vectors."""

from tesseral.study.configuration.configuration import Configuration
from tesseral.study.design.arm import Arm
from tesseral.study.parsing.validation import validate

FACTORS = ("network.hidden.lmax",)


def _arm(lmax: int) -> Arm:
    data = {"reference": "water.parquet", "train": 10, "validation": 2, "test": 4}
    tree = {"data": data, "network": {"hidden": {"lmax": lmax, "mul": [4, 2]}}}
    return Arm(
        labels=(f"lmax={lmax}",), factors={FACTORS[0]: lmax}, configuration=validate(Configuration, tree).resolved()
    )


ARMS = (_arm(0), _arm(1))
