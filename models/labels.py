"""Lists of labelled stars: which are eclipsing binaries, and which are not.

A list is a published one (``fixed_width_two_line``, positives only), a CSV or a Parquet file. Negatives come
from it, from a second list, or are drawn among the stars of the stores that stand on no list.
"""

import hashlib
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from catalogs import write
from catalogs.folder import Folder
from catalogs.published import two_lines
from catalogs.schema import SchemaError
from catalogs.variability import parse
from pipeline.errors import UsageError

__all__ = [
    "check_conflicts",
    "draw_unlisted",
    "file_digest",
    "gather",
    "merge",
    "read_labels",
    "read_negatives",
    "unlisted",
]

# What a label says of the star → its value in the table.
_VALUES = {True: 1, False: 0, None: -1}

_NAMES = {"tic_id": ("tic_id", "tic", "ticid"), "label": ("label", "class", "klass"), "sector": ("sector",)}


def read_labels(path: str | Path, doubtful: bool = False) -> pd.DataFrame:
    """Return the labelled stars of a file.

    Parameters
    ----------
    path : str or Path
        ``.csv`` or ``.parquet`` with columns tic_id (or TIC), label (or class) and, if a label holds in one
        sector only, sector; any other name is read as ``fixed_width_two_line``, as the list of CALNet is.
        Local or ``s3://``.
    doubtful : bool
        Whether to return stars, too, whose label leaves open whether they eclipse, or is not known.

    Returns
    -------
    pandas.DataFrame
        tic_id (int64), label (int8: 1 eclipsing binary, 0 not, -1 in doubt; see `catalogs.variability`), klass (str,
        the label as given), sector (Int64; null where the label holds in all sectors); sorted, without repeats.

    Raises
    ------
    UsageError
        If the file does not parse, a column is missing, a value makes no sense, or a star has both labels.
    """
    table = _read_table(str(path))
    columns = {name: _column(table, path, name) for name in ("tic_id", "label", "sector")}
    if columns["tic_id"] is None or columns["label"] is None:
        missing = "tic_id" if columns["tic_id"] is None else "label"
        known = ", ".join(_NAMES[missing])
        raise UsageError(f"{path}: no column {missing} (any of {known}); it has {', '.join(table.columns)}")
    klass = columns["label"].str.strip()
    if not klass.str.len().gt(0).all():
        row = int((~klass.str.len().gt(0)).to_numpy().argmax())
        raise UsageError(f"{path}: row {row}: no label; leave the star out or label it")
    sector = columns["sector"]
    labels = pd.DataFrame(
        {
            "tic_id": _integers(columns["tic_id"], path, "tic_id"),
            "label": np.array([_VALUES[parse(one).eclipses] for one in klass], np.int8),
            "klass": klass,
            "sector": pd.NA if sector is None else _sectors(sector, path),
        }
    ).astype({"sector": "Int64"})
    told = labels[labels["label"] >= 0]
    check_conflicts(told, str(path))
    return _tidy(labels if doubtful else told)


def read_negatives(path: str | Path) -> pd.DataFrame:
    """Return the stars of a list of negatives, as `read_labels` does.

    Parameters
    ----------
    path : str or Path
        One TIC identifier a line, or a table with a column tic_id; whatever else it says is ignored.
    """
    text = str(path)
    if Path(text).suffix.lower() in (".csv", ".parquet", ".dat"):
        table = _read_table(text)
        column = _column(table, path, "tic_id")
        if column is None:
            raise UsageError(f"{path}: no column tic_id; it has {', '.join(table.columns)}")
    else:
        content = _read_bytes(text).decode(errors="replace")
        lines = (line.partition("#")[0].strip() for line in content.splitlines())
        column = pd.Series([line for line in lines if line], dtype=str)
    return unlisted(_integers(column, path, "tic_id"), "negative")


def unlisted(tic_ids: Iterable[int], klass: str = "unlisted") -> pd.DataFrame:
    """Return stars labelled negative, in the form of `read_labels`; `klass` says where they come from."""
    ids = pd.Series(sorted(set(tic_ids)), dtype="int64")
    return pd.DataFrame({"tic_id": ids, "label": np.int8(0), "klass": klass, "sector": pd.NA}).astype(
        {"label": "int8", "klass": "str", "sector": "Int64"}
    )


def merge(*lists: pd.DataFrame) -> pd.DataFrame:
    """Return several lists as one; a star that is positive in one and negative in another is refused."""
    labels = pd.concat(lists, ignore_index=True)
    check_conflicts(labels, "labels and negatives")
    return _tidy(labels)


def draw_unlisted(stars: Iterable[int], listed: Iterable[int], number: int, seed: int) -> list[int]:
    """Return stars drawn among those on no list, sorted; the same for the same stars, lists and seed.

    Parameters
    ----------
    stars, listed : iterable of int
        TIC identifiers in the stores, and on lists.
    number, seed : int
        How many to draw, and the generator's seed.

    Raises
    ------
    UsageError
        If there are not as many.
    """
    left = np.array(sorted(set(stars) - set(listed)), dtype=np.int64)
    if len(left) < number:
        raise UsageError(f"--unlisted-as-negative {number}: only {len(left)} stars here are on no list")
    return sorted(np.random.default_rng(seed).choice(left, number, replace=False).tolist())


def gather(
    labels: str | Path, negatives: str | Path | None, stars: Iterable[int], number: int, seed: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the labelled stars of all sources, as `read_labels` does, and what the model's card says of them.

    Parameters
    ----------
    labels, negatives : str or Path
        Lists, local or ``s3://``; see `read_labels` and `read_negatives`.
    stars : iterable of int
        TIC identifiers in the stores.
    number, seed : int
        How many of them that are on no list to draw as negatives, and the generator's seed.
    """
    listed = read_labels(labels, doubtful=True)
    found = listed[listed["label"] >= 0]
    sources: dict[str, Any] = {"labels": file_digest(labels)}
    if len(found) < len(listed):
        sources["labels_in_doubt"] = len(listed) - len(found)
    if negatives is not None:
        found = merge(found, read_negatives(negatives))
        sources["negatives"] = file_digest(negatives)
    if number:
        # Of a star whose label is in doubt nothing is learnt, least of all that it is a negative.
        drawn = draw_unlisted(stars, {*listed["tic_id"], *found["tic_id"]}, number, seed)
        found = merge(found, unlisted(drawn))
        sources["unlisted_as_negative"] = {"seed": seed, "tic_id": drawn}
    return found, sources


def file_digest(path: str | Path) -> dict[str, str]:
    """Return name and SHA-256 of a list, for the model's card."""
    return {"file": Path(str(path)).name, "sha256": hashlib.sha256(_read_bytes(str(path))).hexdigest()}


def check_conflicts(labels: pd.DataFrame, source: str) -> None:
    """Refuse stars that have both labels, naming them."""
    kinds = labels.groupby("tic_id")["label"].nunique()
    both = kinds.index[kinds > 1].tolist()
    if both:
        more = f" and {len(both) - 5} more" if len(both) > 5 else ""
        raise UsageError(
            f"{source}: positive and negative at once: {', '.join(f'TIC {s}' for s in both[:5])}{more}; "
            "keep one label for each star"
        )


def _tidy(labels: pd.DataFrame) -> pd.DataFrame:
    order = ["tic_id", "sector", "klass"]
    return labels.drop_duplicates(["tic_id", "sector"]).sort_values(order, ignore_index=True)


def _read_bytes(path: str) -> bytes:
    parent, _, name = path.rpartition("/")
    try:
        return Folder(parent or "/" if "/" in path else ".").read(name)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UsageError(f"{path}: no such list of stars; give its full path") from error


def _read_table(path: str) -> pd.DataFrame:
    """Return a table whose columns are text, whatever they were: identifiers must not become floats."""
    data = _read_bytes(path)
    suffix = Path(path).suffix.lower()
    try:
        if suffix == ".parquet":
            parent, _, name = path.rpartition("/")
            content = write.read(Folder(parent or "."), name).to_pydict()
            columns = {name: [_text(value) for value in values] for name, values in content.items()}
            return pd.DataFrame(columns, dtype=str)
        if suffix == ".csv":
            return pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, skipinitialspace=True)
        return two_lines(data.decode(), path)
    except (SchemaError, ValueError, pd.errors.ParserError) as error:
        raise UsageError(f"{path}: not a readable list of stars ({error})") from error


def _text(value: object) -> str:
    return "" if value is None or value != value else str(value)  # NaN is not itself


def _column(table: pd.DataFrame, path: str | Path, name: str) -> pd.Series | None:
    found = [column for column in table.columns if str(column).strip().lower() in _NAMES[name]]
    if len(found) > 1:
        raise UsageError(f"{path}: columns {' and '.join(found)} could both be {name}; rename one")
    return table[found[0]].astype(str) if found else None


def _integers(column: pd.Series, path: str | Path, name: str) -> list[int]:
    values = []
    for row, text in enumerate(column):
        # pandas writes whole numbers with a ".0" where others of their column are missing.
        match = re.fullmatch(r"(?:TIC)?\s*(\d{1,18})(?:\.0)?", text.strip())
        if not match:
            raise UsageError(f"{path}: row {row}: {name} {text!r} is not a whole number")
        values.append(int(match[1]))
    return values


def _sectors(column: pd.Series, path: str | Path) -> pd.Series:
    given = column.str.strip().ne("")
    sectors = pd.Series(pd.NA, index=column.index, dtype="Int64")
    sectors[given] = _integers(column[given], path, "sector")
    return sectors
