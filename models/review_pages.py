"""The review page and what it asks: the next item, its picture, and labels by single keys.

::

    GET  /                     the page; asks this service and nothing else
    GET  /next                 what a reviewer is to look at, with what is known of it
    GET  /item/<id>.png        its picture
    POST /label  /undo         only as JSON with the header X-Skysift-Review, which no other site's page can send

The service puts it under ``/review``, behind its own gate.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from threading import Lock
from typing import Annotated, Any, Literal
from urllib.parse import quote

import numpy as np
import pandas as pd
from fastapi import APIRouter, Depends, Header, HTTPException, Query, Response
from fastapi.responses import HTMLResponse
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from catalogs import review
from catalogs.folder import Folder
from catalogs.pages import Page, Section
from catalogs.table import CatalogError
from models.queue import QUEUES, features, line_up
from models.review_binaries import Binaries
from models.review_products import Product
from models.review_transients import Transients
from models.review_visual import VisualBinaries
from pipeline.errors import Missing, SkysiftError, StoreError, UsageError

__all__ = ["PRODUCTS", "Desk", "router"]

#: Catalogue → what is needed to review it.
PRODUCTS: dict[str, Callable[[Folder], Product]] = {
    "transient_candidates": Transients,
    "eclipsing_binaries": Binaries,
    "visual_binaries": VisualBinaries,
}

_AWAY = 120.0  # s for which an item that one reviewer looks at is kept from the others
_MANY = 200  # files of labels from which on they are merged
_HEADER = "must be there, as 1: no other site's page can send it; 403 without it"
_WHO = r"^\S[^\x00-\x1f\x7f]*$"

log = logging.getLogger(__name__)

Who = Annotated[str, Field(min_length=1, max_length=80, pattern=_WHO)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Label(BaseModel):
    """What a reviewer says of an item."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    item_id: Name
    label: Literal["real", "bogus", "skip"]
    type: Annotated[str, Field(pattern="^[a-z0-9_]+$", max_length=40)] | None = None
    who: Who
    why: Annotated[str, Field(pattern="^[a-z0-9_]+$", max_length=40)] | None = None


class Undo(BaseModel):
    """Who takes back their last label of a product."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    who: Who


class Desk:
    """One product on the table: its items and labels, and who looks at what at the moment.

    Parameters
    ----------
    workspace : Folder
        Holds both.
    name : str
        Of the product.
    product : Product
        The product.
    """

    def __init__(self, workspace: Folder, name: str, product: Product) -> None:
        self.name, self.product = name, product
        self._workspace, self._ledger, self._lock = workspace, review.Ledger(workspace, name), Lock()
        self._gathering = Lock()
        self._state, self._items = "", pd.DataFrame()
        self._places: NDArray[np.float64] | None = None
        self._lines: dict[tuple[str, str], tuple[tuple[str, int], pd.DataFrame]] = {}
        self._said: tuple[int, pd.DataFrame, pd.DataFrame] = -1, pd.DataFrame(), pd.DataFrame()
        self._looking: dict[str, tuple[str, float]] = {}

    def items(self) -> pd.DataFrame:
        """Return the items as they are now."""
        state = self.product.state()
        if state != self._state:
            self._items = self.product.items()
            found = self.product.embeddings(self._items)
            self._places, self._state = None if found is None else features(found), state
            self._lines.clear()
        return self._items

    def line(self, queue: str, who: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Return what a reviewer has to look at, the next first, what everybody says now, and what of it counts."""
        with self._lock:
            items, rows = self.items(), self._ledger.rows()
            if self._said[0] != len(rows):  # labels are only ever added
                given = review.current(rows)
                self._said = len(rows), given, review.consensus(given)
            version, (_, given, counted) = (self._state, len(rows)), self._said
            known, found = self._lines.get((queue, who), (("", 0), items))
            if known != version:
                found = line_up(items, queue, given, who, self._places if queue == "novel" else None)
                self._lines[queue, who] = version, found
            return found, given, counted

    def next(self, queue: str, who: str, wanted: str | None = None) -> dict[str, Any]:
        """Return the next item, or the one that is wanted, and how far the review is."""
        line, given, counted = self.line(queue, who)
        chosen = wanted if wanted is not None else self._free(line, who)
        if chosen is not None and chosen not in set(self._items["item_id"]):
            raise HTTPException(404, f"{self.name} has no item {chosen[:80]!r} now")
        note = f"Queue {queue}: {QUEUES[queue]}."
        if queue == "novel" and self._places is None:
            note += " No embeddings were kept with the scores: it goes by the model's own novelty and does not learn."
        return {
            "item": None if chosen is None else {
                "item_id": chosen, "picture": f"item/{quote(chosen, safe='')}.png?product={self.name}",
                "facts": [fact._asdict() for fact in self.product.facts(chosen)],
            },
            "left": len(line), "mine": int((given["who"] == who).sum()), "note": note,
            "labelled": int(counted["item_id"].isin(self._items["item_id"]).sum()), "total": len(self._items),
        }  # fmt: skip

    def _free(self, line: pd.DataFrame, who: str) -> str | None:
        """Return the first item that nobody else looks at; if there is none, the first."""
        now = time.monotonic()
        with self._lock:
            self._looking = {
                item: (other, since) for item, (other, since) in self._looking.items()
                if now - since < _AWAY and other != who
            }  # fmt: skip
            names = line["item_id"].head(len(self._looking) + 1)
            chosen = next((name for name in names if name not in self._looking), names.iloc[0] if len(names) else None)
            if chosen is not None:
                self._looking.setdefault(chosen, (who, now))
            return chosen

    def label(self, said: Label) -> str:
        """Keep a label, with the model and score that it was given at; return its label_id."""
        pairs = {(kind.label, kind.type) for kind in self.product.kinds}
        if said.type is not None and (said.label, said.type) not in pairs:
            known = ", ".join(f"{label} {kind}" for label, kind in sorted(pairs))
            raise HTTPException(422, f"{said.label} with type {said.type!r}: leave the type out, or give {known}")
        with self._lock:
            items = self.items()
        rows = items[items["item_id"] == said.item_id]
        if not len(rows):
            raise HTTPException(404, f"{self.name} has no item {said.item_id[:80]!r} now; nothing was kept")
        seen = {"p": float(rows["p"].iloc[0]), "model_id": rows["model_id"].iloc[0]}
        name = review.append(self._workspace, self.name, [said.model_dump(exclude={"product"}) | seen])[0]
        self.gather()
        return name

    def gather(self) -> None:
        """Merge the files of labels if there are many, so that looking for new ones stays quick."""
        if not self._gathering.acquire(blocking=False):
            return
        try:
            review.merge(self._workspace, self.name, _MANY, self._ledger)
        except (CatalogError, OSError, StoreError) as error:  # all labels are there nevertheless
            log.warning("labels of %s are not merged: %s", self.name, error)
        finally:
            self._gathering.release()

    def undo(self, who: str) -> dict[str, Any]:
        """Take back a reviewer's last label; return it, or nothing if there is none."""
        gone = review.undo(self._workspace, self.name, who, self._ledger)
        return {name: None if gone is None else gone[name] for name in ("item_id", "label", "type", "label_id")}


def router(workspace: Folder, products: Mapping[str, Callable[[Folder], Product]] = PRODUCTS) -> APIRouter:
    """Return the routes of the review page.

    Parameters
    ----------
    workspace : Folder
        Holds catalogues, receives labels.
    products : mapping
        What can be reviewed.
    """
    desks = {name: Desk(workspace, name, make(workspace)) for name, make in products.items()}
    for desk in desks.values():
        desk.gather()
    page = _page(desks)
    routes = APIRouter(tags=["review"])

    @routes.get("/", response_class=HTMLResponse)
    def show() -> HTMLResponse:
        """Show the page."""
        return HTMLResponse(page, headers={"Cache-Control": "no-store"})

    @routes.get("/next")
    def next_item(
        product: Name, who: Annotated[str, Query(min_length=1, max_length=80, pattern=_WHO)],
        queue: Literal["uncertain", "novel", "rank"] = "uncertain", item: Name | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Return what a reviewer is to look at next, or the item that is named."""
        with _told():
            return _desk(desks, product).next(queue, who, item)

    @routes.get("/item/{item_id:path}.png", response_class=Response)
    def picture(item_id: str, product: Name) -> Response:
        """Return the picture of an item."""
        with _told():
            desk = _desk(desks, product)
            drawn = desk.product.picture(item_id)
        return Response(drawn.png, media_type="image/png", headers={"Cache-Control": "private, max-age=300"})

    @routes.post("/label", dependencies=[Depends(_own)], responses={403: {"description": _HEADER}})
    def label(said: Label) -> dict[str, str]:
        """Keep a label."""
        with _told():
            return {"label_id": _desk(desks, said.product).label(said)}

    @routes.post("/undo", dependencies=[Depends(_own)], responses={403: {"description": _HEADER}})
    def undo(said: Undo) -> dict[str, Any]:
        """Take back a reviewer's last label."""
        with _told():
            return _desk(desks, said.product).undo(said.who)

    return routes


def _own(x_skysift_review: Annotated[str, Header(max_length=16, description=_HEADER)] = "") -> None:
    """Refuse what a page of another site could have sent."""
    if not x_skysift_review:
        raise HTTPException(403, "labels are taken from the review page only: send the header X-Skysift-Review: 1")


def _desk(desks: Mapping[str, Desk], name: str) -> Desk:
    if name not in desks:
        raise HTTPException(404, f"no product {name[:80]!r}; there are {', '.join(desks)}")
    return desks[name]


@contextmanager
def _told() -> Iterator[None]:
    """Turn errors of the workspace into answers."""
    try:
        yield
    except Missing as error:
        raise HTTPException(404, str(error)) from error
    except (UsageError, review.LabelError) as error:
        raise HTTPException(422, str(error)) from error
    except (CatalogError, SkysiftError, OSError) as error:
        raise HTTPException(503, f"the workspace cannot be read or written: {error}") from error


def _page(desks: Mapping[str, Desk]) -> str:
    folder = files("models")
    setup = {
        "queues": {name: name for name in QUEUES},
        "products": {
            name: {"title": desk.product.title, "kinds": [kind._asdict() for kind in desk.product.kinds]}
            for name, desk in desks.items()
        },
    }
    # As text of an element that no browser runs; "<" could end it.
    content = json.dumps(setup).replace("<", "\\u003c")
    html = folder.joinpath("review_page.html").read_text("utf-8")
    html += f'<script type="application/json" id="setup">{content}</script>'
    program = folder.joinpath("review_page.js").read_text("utf-8")
    lead = "One key says what it is, and the next one comes. Labels are kept at once; u takes the last one back."
    return Page("Review", [Section("Next", html=html)], lead, program=program).render()
