"""The overhead of a training step: what it takes beside its floating-point operations."""


def overheads(interaction: str, diagram: str, differentiated: bool) -> float:
    """The overhead of a step in those of a gated network on energies.

    Layers that multiply features, fusion diagrams and double backward passes are many small operations, whose number a
    count of floating-point operations does not contain. Measured in steps of two layers on one core that was not quiet,
    l_max 1 and 2, batches of 4 and 16 small molecules: 3 ms for gated, 9 to 14 for MACE and Cormorant, 4 to 10 more for
    a product of a diagram; on forces 26 to 30, 45 to 70, and 15 to 25 more. This says 1, 3.5, +2; 6.7, 14.7, +6.4:
    factors that fit whole trials as well.

    :param interaction: `network.interaction`.
    :param diagram: `network.fusion.diagram`, `none` for none.
    :param differentiated: whether the target is a gradient, as forces are.
    """
    energies = (1.0 if interaction == "gated" else 3.5) + 2.0 * diagram.count("(")
    return 3.2 * energies + 3.5 if differentiated else energies
