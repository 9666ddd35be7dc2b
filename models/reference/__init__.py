"""Where the data comes from: structures, reference calculations, imports and exports."""
