"""What people say of the rows of catalogues: labels that are only ever added, and what counts of them.

::

    labels/<product>/<label_id>.parquet      one label, as it was given; never changed
    labels/<product>/merged-<hash>.parquet   many of these in one file, see `merge`

Who changes their mind adds a label, who takes one back adds an "undo" that names it. As each label has a file of its
own, written whole, nobody waits for anybody and nothing that was given is lost.

**What counts**, where several people have looked at an item: of each the last label that they have not taken back,
without "skip"; then the majority. Where as many say real as bogus the item is "disputed": nothing is learnt from it,
and others are asked.
"""

import hashlib
import re
import unicodedata
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from catalogs import write
from catalogs.columns import TEXT
from catalogs.folder import Folder
from catalogs.labels import LABELS, NAME
from catalogs.table import CatalogError

__all__ = [
    "LABELS",
    "REVIEW",
    "LabelError",
    "Ledger",
    "append",
    "consensus",
    "current",
    "labels",
    "merge",
    "reviewed",
    "system_name",
    "training_labels",
    "undo",
]

#: Columns that catalogues have of what counts.
REVIEW = ("review_label", "reviewed_by", "reviewed_at")

#: What of a label a reviewer's standing one is looked up by, and what is kept in `consensus`.
_ITEM = ["item_id", "label", "type", "reviewers", "who", "when"]

_MERGED = "merged-"


class LabelError(CatalogError):
    """A label that makes no sense; the message says why."""


class Ledger:
    """All labels of one product; files that were read once are not read again.

    Parameters
    ----------
    workspace : Folder
        Holds ``labels/``.
    product : str
        Catalogue that the items are of.

    Raises
    ------
    LabelError
        If that is no name of a catalogue.
    """

    def __init__(self, workspace: Folder, product: str) -> None:
        if not re.fullmatch(NAME, product):
            raise LabelError(f"product {product!r}: give the name of a catalogue, transient_candidates")
        self._folder, self._lock = workspace.child(f"labels/{product}"), Lock()
        self._seen: dict[str, pa.Table] = {}
        self._rows = LABELS.empty().to_pandas()

    def rows(self) -> pd.DataFrame:
        """Return all labels ever given, undone ones and undos too, in the order of time.

        Raises
        ------
        SchemaError
            If a file is not what it should be; it names the file.
        """
        with self._lock:
            there = self._paths()
            # What was merged while it was listed or read may be in none of the files seen: look again.
            while not self._refresh(there) or _merged(self._paths()) != _merged(there):
                there = self._paths()
            return self._rows

    def _paths(self) -> list[str]:
        return [entry.path for entry in self._folder.list(suffix=".parquet")]

    def _refresh(self, there: list[str]) -> bool:
        """Read what is new; return whether all of it was still there."""
        if there == list(self._seen):
            return True
        try:
            new = {path: write.read(self._folder, path, LABELS) for path in there if path not in self._seen}
        except FileNotFoundError:
            return False
        found = {path: new[path] if path in new else self._seen[path] for path in there}
        if self._seen.keys() <= found.keys():
            self._rows = _added(self._rows, new.values())
        else:  # merged
            self._rows = _added(LABELS.empty().to_pandas(), found.values())
        self._seen = found
        return True


def _added(rows: pd.DataFrame, tables: Iterable[pa.Table]) -> pd.DataFrame:
    """Return labels with those of more files, each once, in the order of time."""
    new = pa.concat_tables([LABELS.empty(), *tables]).to_pandas()
    new = new.drop_duplicates("label_id").sort_values(["when", "label_id"], ignore_index=True)
    new = new.astype(object).where(new.notna(), None).astype({"p": float})
    if not len(rows) or not len(new):
        return new if len(new) else rows
    if new["when"].iloc[0] > rows["when"].iloc[-1]:  # as nearly always: what is known stays as it is
        return pd.concat([rows, new], ignore_index=True)
    every = pd.concat([rows, new], ignore_index=True).drop_duplicates("label_id")
    return every.sort_values(["when", "label_id"], ignore_index=True)


def _merged(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if path.startswith(_MERGED)]


def append(workspace: Folder, product: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Add labels; they are on the disk when this returns.

    Parameters
    ----------
    workspace : Folder
        Receives them.
    product : str
        Catalogue that the items are of.
    rows : iterable of mapping
        item_id, label and who; and, as far as known, type, model_id, p, why, undoes.

    Returns
    -------
    list of str
        The label_id of each.

    Raises
    ------
    LabelError
        If one is not what it should be; none is added then.
    """
    now = datetime.now(UTC)
    given = [_row(product, row, now + timedelta(microseconds=place)) for place, row in enumerate(rows)]
    if not given:
        return []
    table = pa.Table.from_pylist(given, schema=LABELS.arrow_schema())
    names = [row["label_id"] for row in given]
    try:
        write.write(workspace.child("labels"), f"{product}/{names[-1]}.parquet", table, LABELS)
    except FileNotFoundError:  # merged with others before it was read back
        if not set(names) <= set(Ledger(workspace, product).rows()["label_id"]):
            raise
    return names


def _row(product: str, row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    if unknown := sorted(set(row) - set(LABELS.names)):
        raise LabelError(f"label of {row.get('item_id')!r}: {', '.join(unknown)} is no column of {LABELS.name}")
    full: dict[str, Any] = dict.fromkeys(LABELS.names) | dict(row)
    full |= {"product": product, "who": _name(full["who"]), "when": f"{now:%Y-%m-%dT%H:%M:%S.%f}Z"}
    full["label_id"] = f"{now:%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:12]}"
    if full["p"] is not None and not np.isfinite(full["p"]):
        full["p"] = None
    for column in LABELS.columns:
        value = full[column.name]
        wrong = value is None and not column.nullable
        if value is not None and column.dtype == TEXT:
            pattern = column.pattern or ".{0,200}"
            wrong = not isinstance(value, str) or not _is_plain(value) or not re.fullmatch(pattern, value)
        if wrong:
            raise LabelError(f"label: {column.name} is {value!r:.99}; give {column.range or 'a text'}")
    if (full["label"] == "undo") != (full["undoes"] is not None):
        raise LabelError(f"label of {full['item_id']}: undo, and nothing else, names the label that it undoes")
    return full


def _name(who: Any) -> Any:
    return unicodedata.normalize("NFC", who).strip() if isinstance(who, str) else who


def _is_plain(text: str) -> bool:
    # No control characters, and no halves of characters, which no file can hold.
    return all(unicodedata.category(one) not in ("Cc", "Cs") for one in text)


def undo(workspace: Folder, product: str, who: str, ledger: Ledger | None = None) -> dict[str, Any] | None:
    """Take back the last label of a reviewer that stands, a skip too.

    Parameters
    ----------
    workspace : Folder
        Holds the labels.
    product : str
        Catalogue that the items are of.
    who : str
        The reviewer.
    ledger : Ledger, optional
        Of that product, if it is at hand.

    Returns
    -------
    dict or None
        The label that was taken back; None if there is none.
    """
    standing = _standing((ledger or Ledger(workspace, product)).rows())
    own = standing[standing["who"] == _name(who)]
    if not len(own):
        return None
    last = {str(name): value for name, value in own.iloc[-1].items()}
    append(workspace, product, [{"item_id": last["item_id"], "label": "undo", "who": who, "undoes": last["label_id"]}])
    return last


def labels(workspace: Folder, product: str) -> pd.DataFrame:
    """Return what each reviewer says of each item now; see `current`."""
    return current(Ledger(workspace, product).rows())


def current(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what each reviewer says of each item now, in the order of time: columns of `LABELS`.

    Parameters
    ----------
    rows : pandas.DataFrame
        Of `Ledger.rows`.
    """
    return _standing(rows).drop_duplicates(["item_id", "who"], keep="last").reset_index(drop=True)


def _standing(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the labels that nobody has taken back; only who gave one can."""
    undone = rows[rows["label"] == "undo"]
    gone = set(zip(undone["undoes"], undone["who"], strict=True))
    stands = [pair not in gone for pair in zip(rows["label_id"], rows["who"], strict=True)]
    return rows[(rows["label"] != "undo") & np.array(stands, bool)]


def consensus(given: pd.DataFrame) -> pd.DataFrame:
    """Return what counts of each item that anybody called real or bogus.

    Parameters
    ----------
    given : pandas.DataFrame
        Of `labels` or `current`.

    Returns
    -------
    pandas.DataFrame
        A row an item, by item_id: label (real, bogus, disputed), type (that of most of those who gave the label that
        counts, None at a tie or without), reviewers (how many looked), who (those who gave what counts, in the order
        of the alphabet) and when (the last of them).
    """
    told = given[given["label"].isin(["real", "bogus"])]
    place, names = pd.factorize(told["item_id"].astype(str), sort=True)
    real = np.bincount(place, told["label"] == "real", len(names))
    looked = np.bincount(place, minlength=len(names))
    label = np.where(2 * real > looked, "real", np.where(2 * real < looked, "bogus", "disputed")).astype(object)
    agreed = told.assign(place=place)[(label[place] == told["label"]) | (label[place] == "disputed")]
    sure = agreed[agreed["label"] == label[agreed["place"]]]
    by_name = agreed.sort_values(["place", "who"]).groupby("place")["who"]
    found = {
        "item_id": np.asarray(names, object), "label": label, "type": _kinds(sure, len(names)),
        "reviewers": looked, "who": [", ".join(one) for _, one in by_name],
        "when": agreed.sort_values(["place", "when"]).drop_duplicates("place", keep="last")["when"].to_numpy(object),
    }  # fmt: skip
    return pd.DataFrame({name: pd.Series(found[name], dtype=int if name == "reviewers" else object) for name in _ITEM})


def _kinds(agreed: pd.DataFrame, count: int) -> list[str | None]:
    """Return the type that most gave, None at a tie or without, of each of so many places."""
    counts = agreed.dropna(subset="type").groupby(["place", "type"]).size().reset_index(name="n")
    most = counts["n"] == counts.groupby("place")["n"].transform("max")
    clear = counts[most].drop_duplicates("place", keep=False)
    known = dict(zip(clear["place"], clear["type"], strict=True))
    return [known.get(place) for place in range(count)]


def reviewed(table: pd.DataFrame, given: pd.DataFrame, item: str | pd.Series = "candidate_id") -> pd.DataFrame:
    """Return rows of a catalogue with what people said of them: review_label, reviewed_by, reviewed_at.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows; the three columns are replaced if they are there.
    given : pandas.DataFrame
        Of `labels`.
    item : str or Series
        Column of the items' identifiers, or these identifiers.

    Returns
    -------
    pandas.DataFrame
        A copy; None where nobody called a row real or bogus.
    """
    counted = consensus(given).set_index("item_id")
    names = (table[item] if isinstance(item, str) else item).astype(str).to_numpy()
    places = counted.index.get_indexer(names)
    made = table.copy()
    for column, source in zip(REVIEW, ("label", "who", "when"), strict=True):
        values = counted[source].to_numpy(object)
        made[column] = pd.Series([values[n] if n >= 0 else None for n in places], made.index, object)
    return made


def system_name(tic_id: int, eb_id: int = 1) -> str:
    """Return what labels call an eclipsing binary: ``TIC 7``; its star's second system ``TIC 7 system 2``."""
    return f"TIC {tic_id}" + (f" system {eb_id}" if eb_id > 1 else "")


def training_labels(workspace: Folder, product: str = "transient_candidates") -> pd.DataFrame:
    """Return what can be learnt from reviewers.

    Parameters
    ----------
    workspace : Folder
        Holds the labels.
    product : str
        Catalogue that the items are of.

    Returns
    -------
    pandas.DataFrame
        candidate_id, label (1 real, 0 bogus), type (None where none was given); by candidate_id, without what is
        disputed.
    """
    counted = consensus(labels(workspace, product))
    told = counted[counted["label"] != "disputed"].rename(columns={"item_id": "candidate_id"})
    numbers = (told["label"] == "real").astype("int8")
    return told.assign(label=numbers)[["candidate_id", "label", "type"]].reset_index(drop=True)


def merge(workspace: Folder, product: str, least: int = 2, ledger: Ledger | None = None) -> int:
    """Put the files of a product's labels into one; return how many there were.

    Nothing that is in a file that is removed is not in one that stays: a reader meanwhile, another merge, or a kill at
    any moment see each label once.

    Parameters
    ----------
    workspace : Folder
        Holds the labels.
    product : str
        Catalogue that the items are of.
    least : int
        Fewer files are left as they are.
    ledger : Ledger, optional
        Of that product, if it is at hand: it has read nearly all already.
    """
    folder = workspace.child(f"labels/{product}")
    paths = [entry.path for entry in folder.list(suffix=".parquet")]
    if len(paths) < max(least, 2):
        return len(paths)
    rows = (ledger or Ledger(workspace, product)).rows()  # listed after `paths`: all that is in these
    table = pa.Table.from_pandas(rows, LABELS.arrow_schema(), preserve_index=False)
    name = f"{_MERGED}{hashlib.sha256(write.to_bytes(table, LABELS)).hexdigest()[:16]}.parquet"
    try:
        write.write(folder, name, table, LABELS)
    except FileNotFoundError:  # it is in another's file already, which was made before this one was read back
        return len(paths)
    for path in paths:
        if path != name:
            folder.remove(path)
    return len(paths)
