"""What can be reviewed: of each product its items, what is known of each, and a picture.

Another product joins by a `Product` of its own in `models.review_pages.PRODUCTS`; `Catalogue` is most of one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from threading import Lock
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.figures import Picture
from catalogs.folder import Folder
from models import review_pictures
from models.queue import UNUSUAL
from pipeline.errors import Missing, SkysiftError

__all__ = ["COLUMNS", "STRANGE", "Catalogue", "Fact", "Kind", "Product", "changed", "told"]

#: Columns of the items of a product.
COLUMNS = ("item_id", "p", "threshold", "novelty", "ood", "model_id")

Known = TypeVar("Known")


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


class Catalogue(ABC, Generic[Known]):
    """A `Product` whose items are the rows of one file, which is read again whenever it has changed.

    Parameters
    ----------
    workspace : Folder
        Holds it, and what is seen of the items.

    Attributes
    ----------
    title : str
        Of the product.
    kinds : tuple of Kind
        What keys from 1 on say.
    path, made_by : str
        The file, and the job that makes it.
    columns : mapping
        What of a row is told: column → unit.
    seen : str
        What a picture is made of, in words.
    unreadable : tuple of type
        Errors of an item whose picture cannot be made.
    """

    title: str
    kinds: tuple[Kind, ...]
    path: ClassVar[str]
    made_by: ClassVar[str]
    columns: ClassVar[Mapping[str, str]]
    seen: ClassVar[str]
    unreadable: ClassVar[tuple[type[Exception], ...]] = (OSError, SkysiftError)

    def __init__(self, workspace: Folder) -> None:
        self._workspace, self._lock = workspace, Lock()
        self._state = ""
        self._found: tuple[()] | tuple[Known] = ()

    @abstractmethod
    def _read(self) -> Known:
        """Return all that is to be known of the items as long as the file does not change."""

    @abstractmethod
    def items(self) -> pd.DataFrame:
        """Return the items, as `Product.items` says."""

    @abstractmethod
    def _row(self, item_id: str) -> Mapping[str, Any]:
        """Return what the catalogue says of an item; nothing of one that it has not."""

    @abstractmethod
    def _words(self, flags: int) -> list[str]:
        """Return what flags mean."""

    @abstractmethod
    def _load(self, item_id: str, row: Mapping[str, Any]) -> Any:
        """Return what the picture of an item is made of."""

    @abstractmethod
    def _draw(self, item_id: str, row: Mapping[str, Any], loaded: Any) -> Picture:
        """Return the picture."""

    def state(self) -> str:
        """Return something that changes whenever the items do."""
        return changed(self._workspace, self.path, f"run python -m jobs.{self.made_by}")

    def _known(self) -> Known:
        with self._lock:
            state = self.state()
            if state != self._state or not self._found:
                self._found, self._state = (self._read(),), state
            return self._found[0]

    def embeddings(self, items: pd.DataFrame) -> NDArray[np.float64] | None:
        """Return None: there are none, unless a product has its own."""
        return None

    def facts(self, item_id: str) -> list[Fact]:
        """Return what the catalogue says of an item; its flags in words."""
        row = self._row(item_id)
        flags = row.get("flags")
        words = [] if flags is None or pd.isna(flags) else self._words(int(flags))
        return told(row, self.columns) + [Fact("flag", text) for text in words]

    def picture(self, item_id: str) -> Picture:
        """Return what is seen of an item, or why it is not."""
        row = self._row(item_id)
        if not row:
            return review_pictures.missing(f"{item_id} is no longer in the catalogue.")
        try:
            loaded = self._load(item_id, row)
        except self.unreadable as error:
            return review_pictures.missing(f"{self.seen} of {item_id} cannot be read: {error}")
        return self._draw(item_id, row, loaded)


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
