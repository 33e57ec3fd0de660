"""Small JSON files that tell of a model: its card, its aliases, its moves."""

import json
from typing import Any

from catalogs.folder import Folder
from pipeline.errors import CorruptModel

__all__ = ["read"]


def read(folder: Folder, path: str) -> dict[str, Any]:
    """Return what such a file holds.

    Parameters
    ----------
    folder : Folder
        Where it is.
    path : str
        Of the file.

    Raises
    ------
    CorruptModel
        If it is no JSON, or no object.
    """
    try:
        content = json.loads(folder.read(path))
    except ValueError as error:
        raise CorruptModel(f"{folder.url(path)} is not JSON ({error}); remove it or copy it anew") from error
    if not isinstance(content, dict):
        raise CorruptModel(f"{folder.url(path)} holds no JSON object; remove it or copy it anew")
    return content
