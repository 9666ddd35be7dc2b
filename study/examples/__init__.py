"""Study files and reference recipes that run as they stand."""
