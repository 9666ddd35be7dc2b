from .arm import Arm, Excluded
from .match import MatchedArm
from .parameter import Parameter
from .stages import Best, PlannedTrial, Proposal
from .study_file import Asha, Design, Header, Match, Replication, Resources, Search, StudyFile, Units

__all__ = [
    "Arm",
    "Asha",
    "Best",
    "Design",
    "Excluded",
    "Header",
    "Match",
    "MatchedArm",
    "Parameter",
    "PlannedTrial",
    "Proposal",
    "Replication",
    "Resources",
    "Search",
    "StudyFile",
    "Units",
]
