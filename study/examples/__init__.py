"""Example study files, recipes and mappings, with the JSON Schemas that describe them. Imported data are the user's.

Begin with `quickstart.toml`. `tesseral schema` prints the schemas.
"""
