"""What is trained: reference densities, data, targets, training and traces."""
