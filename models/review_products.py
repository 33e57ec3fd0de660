"""What can be reviewed: of each product its items, what is known of each, and a picture.

Another product joins by a `Product` of its own in `models.review_pages.PRODUCTS`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.figures import Picture
from catalogs.folder import Folder
from models.queue import UNUSUAL
from pipeline.errors import Missing

__all__ = ["COLUMNS", "STRANGE", "Fact", "Kind", "Product", "changed", "told"]

#: Columns of the items of a product.
COLUMNS = ("item_id", "p", "threshold", "novelty", "ood", "model_id")


class Kind(NamedTuple):
    """What a key from 1 to 9 says at once: label and type, and these in words."""

    label: str
    type: str
    text: str


class Fact(NamedTuple):
    """A name, a value and its unit, as a reviewer reads them."""

    name: str
    value: str
    unit: str = ""


class Product(Protocol):
    """What the review needs of a catalogue; what it reads may change under it at any time."""

    title: str
    kinds: tuple[Kind, ...]

    def state(self) -> str:
        """Return something that changes whenever the items do."""

    def items(self) -> pd.DataFrame:
        """Return the items: `COLUMNS`, a row each, no item twice.

        Raises
        ------
        Missing
            If there are none yet; the message says what makes them.
        """

    def embeddings(self, items: pd.DataFrame) -> NDArray[np.float64] | None:
        """Return the embeddings (n, k) of items, NaN where there is none; None if the product has none at all."""

    def facts(self, item_id: str) -> list[Fact]:
        """Return what is known of an item."""

    def picture(self, item_id: str) -> Picture:
        """Return what is seen of an item."""


#: The key 9, of every product.
STRANGE = Kind("real", UNUSUAL, "real, and unusual: more like this")


def changed(workspace: Folder, path: str, cure: str) -> str:
    """Return a mark that changes with a file.

    Raises
    ------
    Missing
        If it is not there.
    """
    if not workspace.exists(path):
        raise Missing(f"{workspace.url(path)}: nothing to review yet; {cure}")
    parent, _, name = path.rpartition("/")
    return next((str(entry) for entry in workspace.child(parent).files() if entry.path == name), "")


def told(row: Mapping[str, Any], wanted: Mapping[str, str]) -> list[Fact]:
    """Return what a row says, as facts.

    Parameters
    ----------
    row : mapping
        Of a catalogue.
    wanted : mapping
        Column → unit, in order; what is missing is left out.
    """
    facts = []
    for name, unit in wanted.items():
        value = row.get(name)
        if value is None or (isinstance(value, float) and not np.isfinite(value)):
            continue
        if isinstance(value, list | np.ndarray):
            text = ", ".join(map(str, value))
        elif isinstance(value, bool):
            text = "yes" if value else "no"
        else:
            text = f"{value:.5g}" if isinstance(value, float) and name not in _LONG else str(value)
        facts.append(Fact(name, text, unit))
    return facts


#: Numbers of many digits.
_LONG = ("ra", "dec", "mjd_mid", "period", "epoch")
