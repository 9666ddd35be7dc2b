from .graph import EdgeBasis, Graph, at_positions, build_graph, join
from .network import Network, build_network, count_parameters
from .seeding import initialising, seeded
from .user_network import UserNetwork

__all__ = [
    "EdgeBasis",
    "Graph",
    "Network",
    "UserNetwork",
    "at_positions",
    "build_graph",
    "build_network",
    "count_parameters",
    "initialising",
    "join",
    "seeded",
]
