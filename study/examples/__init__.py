"""Examples that run as they stand: study files, recipes and mappings, with the JSON Schemas that describe them.

Begin with `quickstart.toml`. `tesseral schema` prints the schemas.
"""
