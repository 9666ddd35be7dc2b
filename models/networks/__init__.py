"""What the network is: layers and their pieces, fusion diagrams, sizes and reach."""
