"""What is trained: reference densities, data, networks, training and traces."""
