from .attempt import Attempt
from .lease import Holder, Lease
from .ledger import Entry, Ledger, freeze, frozen
from .schemas import CURVES, REFERENCE, TRACES, TRIALS, VERSION
from .store import Store

__all__ = [
    "CURVES",
    "REFERENCE",
    "TRACES",
    "TRIALS",
    "VERSION",
    "Attempt",
    "Entry",
    "Holder",
    "Lease",
    "Ledger",
    "Store",
    "freeze",
    "frozen",
]
