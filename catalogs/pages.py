"""The one way to make a page: reports, vetting sheets, galleries, review lists and their indexes.

A page is a title, facts and sections; a section holds text, a table, figures, cards or HTML. It renders to
one static file that asks nothing of any other: styles inside, figures as PNG in base64, a policy that forbids
the rest.
"""

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from catalogs.figures import COLORS, Picture, canvas, embed
from catalogs.folder import Folder

__all__ = ["COLORS", "Card", "Link", "Page", "Picture", "Section", "canvas", "embed", "index"]

# Arrow keys, or j and k, lead to the next and previous page; without script the links do.
_SCRIPT = (
    "addEventListener('keydown',e=>{"
    "if(e.altKey||e.ctrlKey||e.metaKey||/INPUT|SELECT|TEXTAREA/.test(e.target.tagName))return;"
    "const r={ArrowRight:'next',j:'next',ArrowLeft:'prev',k:'prev'}[e.key];"
    "if(r)document.querySelector('a[rel='+r+']')?.click()})"
)

# What reads as a number sorts as one; what is missing, a dash, comes last either way.
_SORT = (
    "for(const t of document.querySelectorAll('table.sortable'))"
    "[...t.tHead.rows[0].cells].forEach((h,i)=>{h.tabIndex=0;h.onclick=()=>{"
    "const up=h.ariaSort!='ascending';for(const o of t.tHead.rows[0].cells)o.ariaSort=null;"
    "h.ariaSort=up?'ascending':'descending';"
    "const v=r=>r.cells[i].textContent.trim(),c=(a,b)=>{const x=v(a),y=v(b);"
    "if(x=='–'||y=='–')return(x=='–')-(y=='–');const n=x-y;"
    "return(up?1:-1)*(isNaN(n)?x.localeCompare(y):n)};"
    "t.tBodies[0].append(...[...t.tBodies[0].rows].sort(c))};"
    "h.onkeydown=e=>{if(e.key=='Enter')h.onclick()}})"
)


@dataclass(frozen=True)
class Link:
    """A link to another page of the workspace, also as the cell of a table.

    Parameters
    ----------
    label : str
        Text to click on.
    href : str
        Relative path, or an https address.
    rel : str
        ``prev``, ``next`` or ``up`` give it a place on the keyboard and at the top; empty for an ordinary
        link.
    """

    label: str
    href: str
    rel: str = ""

    def __post_init__(self) -> None:
        if urlsplit(self.href).scheme not in ("", "https", "http"):
            raise ValueError(f"link {self.label!r}: {self.href!r} is neither a relative path nor a web address")


@dataclass(frozen=True)
class Card:
    """An entry of an index: a link with a line of text and a picture."""

    link: Link
    text: str = ""
    picture: Picture | None = None


@dataclass(frozen=True)
class Section:
    """A part of a page; what is given is shown in this order.

    Parameters
    ----------
    heading : str
        Heading, also the section's anchor.
    text : str
        Paragraphs, parted by empty lines.
    table : pandas.DataFrame, optional
        Rows; cells may be `Link`. Units in ``attrs["units"]`` stand in the head.
    figures : sequence of Picture
        Pictures; two and more stand side by side where there is room.
    cards : sequence of Card
        Entries that lead to other pages.
    html : str
        Trusted HTML, put in as it is; everything else is escaped.
    rows : int
        Largest number of rows of the table that are shown.
    sortable : bool
        Whether a click on a column's head sorts the table by it, a second one the other way.
    """

    heading: str
    text: str = ""
    table: pd.DataFrame | None = None
    figures: Sequence[Picture] = ()
    cards: Sequence[Card] = ()
    html: str = ""
    rows: int = 200
    sortable: bool = False

    @property
    def anchor(self) -> str:
        """Name of the section in addresses."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.heading.lower()).split()) or "section"

    @property
    def paragraphs(self) -> list[str]:
        """The text, split at empty lines."""
        return [part.strip() for part in self.text.split("\n\n") if part.strip()]

    @property
    def trusted(self) -> Markup:
        """The HTML, marked as not to be escaped."""
        return Markup(self.html)

    @property
    def head(self) -> list[tuple[str, str, bool]]:
        """(name, unit, is numeric) of the table's columns."""
        table = pd.DataFrame() if self.table is None else self.table
        units = table.attrs.get("units", {})
        return [(str(n), units.get(n, ""), pd.api.types.is_numeric_dtype(table[n])) for n in table.columns]

    @property
    def body(self) -> list[list[tuple[Any, bool]]]:
        """(cell, is numeric) of the rows shown."""
        table = pd.DataFrame() if self.table is None else self.table.head(self.rows)
        numeric = [is_numeric for _, _, is_numeric in self.head]
        columns = [[_cell(value) for value in table.iloc[:, i]] for i in range(table.shape[1])]
        return [list(zip(row, numeric, strict=True)) for row in zip(*columns, strict=True)]

    @property
    def shown(self) -> str:
        """How much of the table is shown, if not all of it."""
        total = 0 if self.table is None else len(self.table)
        return f"{self.rows:,} of {total:,} rows" if total > self.rows else ""


@dataclass(frozen=True)
class Page:
    """A page.

    Parameters
    ----------
    title : str
        Title.
    sections : sequence of Section
        Its parts.
    lead : str
        A sentence under the title.
    facts : mapping of str to object
        Labels and values that stand out at the top, such as counts.
    links : sequence of Link
        Links above the title; ``prev`` and ``next`` also answer to the arrow keys.
    program : str
        JavaScript of a page that a service answers: it may talk to that service and to nothing else.
    """

    title: str
    sections: Sequence[Section] = ()
    lead: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    links: Sequence[Link] = ()
    program: str = ""

    def __post_init__(self) -> None:
        anchors = [section.anchor for section in self.sections]
        if len(set(anchors)) < len(anchors):
            raise ValueError(f"page {self.title!r}: two sections have the same heading among {anchors}; rename one")

    def render(self) -> str:
        """Return the page as HTML; the same page gives the same text."""
        turns = any(link.rel in ("prev", "next") for link in self.links)
        sorts = any(section.sortable for section in self.sections)
        script = ";".join([_SCRIPT] * turns + [_SORT] * sorts + [self.program] * bool(self.program))
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        return _template().render(
            page=self,
            facts=[(label, _fact(value)) for label, value in self.facts.items()],
            script=Markup(script),
            policy=f"'sha256-{digest}'" if script else "'none'",
        )

    def write(self, folder: Folder, path: str) -> str:
        """Write the page to `path` in `folder`, whole or not at all; return its full address."""
        folder.write(path, self.render().encode())
        return folder.url(path)


def index(title: str, cards: Iterable[Card], lead: str = "", sections: Sequence[Section] = ()) -> Page:
    """Return the page that leads to other pages, by cards in the order given, after `sections`."""
    cards = list(cards)
    heading = f"{len(cards):,} pages" if len(cards) != 1 else "1 page"
    return Page(title, [*sections, Section(heading, cards=cards)], lead)


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(files("catalogs").joinpath("page.html.j2").read_text("utf-8"))


def _fact(value: Any) -> Any:
    """Return a value short enough to stand out: four digits of a float, thousands parted."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float | np.floating) and math.isfinite(value) else _cell(value)


def _cell(value: Any) -> Any:
    """Return what a reader sees of a value: six digits of a float, a dash for what is missing."""
    if isinstance(value, Link | str):
        return value
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(str(_cell(item)) for item in value)
    if value is None or pd.isna(value):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    return str(value)
