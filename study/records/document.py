"""Small JSON records, read so that a torn or foreign one is named in a warning and left out, never fatal."""

import json
import warnings
from typing import Any

from tesseral.study.records.store import Store

Json = dict[str, Any]


def read_document(store: Store, path: str, *keys: str) -> Json | None:
    """The JSON object at `path`; None if there is none, or if it is not ours: no JSON, or without one of `keys`."""
    data = store.read(path)
    if data is None:
        return None
    try:
        tree = json.loads(data)
    except ValueError:
        why = "it is torn, or no JSON"
    else:
        if isinstance(tree, dict) and all(key in tree for key in keys):
            return tree
        why = f"expected a JSON object with {', '.join(keys)}"
    warnings.warn(f"{store.location(path)} is left out: {why}", stacklevel=2)
    return None
