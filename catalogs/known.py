"""Which stars stand in published lists of binaries and other variables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from catalogs.folder import Folder
from catalogs.lists import KnownError, parse
from catalogs.variability import parse as parse_type

__all__ = ["JOINT", "KnownError", "KnownList", "is_new", "known_in", "read"]

#: Between the names in a row.
JOINT = "; "

_CALLED = ": "  # between a name and the class of what is no eclipsing binary

#: Largest distance of one star in two catalogues that share no identifier: Kepler's positions are given to 0.36
#: arcsec, and proper motions between the epochs seldom exceed the rest.
RADIUS_ARCSEC = 3.0


@dataclass(frozen=True, eq=False)
class KnownList:
    """A published list.

    Parameters
    ----------
    name : str
        As it stands in ``known_in``.
    stars : pandas.DataFrame
        One row a star or system: tic_id (Int64), ra and dec (deg, ICRS), klass (str; empty if unclassified), period
        (d) and morph (Prša's scale); missing where the list does not tell. One of tic_id and ra, dec is there.
    """

    name: str
    stars: pd.DataFrame

    @property
    def is_eclipsing(self) -> NDArray[np.bool_]:
        """Which rows are eclipsing binaries, or may be: ``EA?``, and any piece of ``ELL|EW`` or ``EA+DSCT``."""
        return np.array([parse_type(klass).may_eclipse for klass in self.stars["klass"]], bool)

    @property
    def labels(self) -> list[str]:
        """What ``known_in`` says of each row: the name, with the class where that is no eclipsing binary."""
        eclipsing = self.is_eclipsing
        classes = self.stars["klass"]
        return [
            self.name if is_eb else f"{self.name}{_CALLED}{klass}" if klass else ""
            for is_eb, klass in zip(eclipsing, classes, strict=True)
        ]


def read(path: str | Path) -> KnownList:
    """Read a published list.

    Parameters
    ----------
    path : str or Path
        Local or ``s3://``.

    Raises
    ------
    KnownError
        If the file is not there, none of the lists that `catalogs.lists` knows, or damaged.
    """
    text = str(path)
    parent, _, name = text.rpartition("/")
    try:
        content = Folder(parent or "/" if "/" in text else ".").read(name).decode("utf-8-sig", "replace")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise KnownError(f"{path}: no such list; give its full path") from error
    name, stars = parse(text, content)
    return KnownList(name.replace(JOINT, " ").replace(_CALLED, " "), stars)


def known_in(
    tic_id: Sequence[int] | NDArray[np.int64],
    ra: ArrayLike,
    dec: ArrayLike,
    lists: Iterable[KnownList],
    radius_arcsec: float = RADIUS_ARCSEC,
) -> list[list[str]]:
    """Return the lists in which stars stand.

    Parameters
    ----------
    tic_id : (n,) sequence of int
        TIC identifiers.
    ra, dec : (n,) array_like
        Degrees, ICRS; NaN where unknown. They count only for rows of lists that name no TIC.
    lists : iterable of KnownList
        In the order in which they are to be named.
    radius_arcsec : float
        Largest distance.

    Returns
    -------
    list of list of str
        Names; of lists that also hold other variables, ``name: class`` where the star is no eclipsing binary.
    """
    names: list[list[str]] = [[] for _ in range(len(tic_id))]
    for known in lists:
        for star, label in _found(np.asarray(tic_id, np.int64), ra, dec, known, radius_arcsec):
            if label and label not in names[star]:
                names[star].append(label)
    return names


def is_new(named: Iterable[str | None], tiers: Iterable[str]) -> list[bool | None]:
    """Return of each row whether no list calls its star an eclipsing binary.

    Parameters
    ----------
    named : iterable of str or None
        Column ``known_in``: what `known_in` says, joined by `JOINT`; missing if no list has the star.
    tiers : iterable of str
        Column ``tier``. Where that is none the answer is None: the star is no binary that could be a new one.
    """
    return [
        None if tier == "none" else not isinstance(text, str) or all(_CALLED in name for name in text.split(JOINT))
        for text, tier in zip(named, tiers, strict=True)
    ]


def _found(
    tic_id: NDArray[np.int64], ra: ArrayLike, dec: ArrayLike, known: KnownList, radius_arcsec: float
) -> list[tuple[int, str]]:
    """Return (star, label) of the rows of a list that are our stars, by star and then by row."""
    labels, ids = known.labels, known.stars["tic_id"]
    named = ids.notna().to_numpy()
    ours = pd.DataFrame({"tic_id": tic_id, "star": np.arange(len(tic_id))})
    theirs = pd.DataFrame({"tic_id": ids[named].astype("int64"), "row": np.flatnonzero(named)})
    pairs = [ours.merge(theirs, on="tic_id")[["star", "row"]].to_numpy()]
    loose = np.flatnonzero(~named)
    here = _sphere(np.asarray(ra, float), np.asarray(dec, float))
    there = _sphere(known.stars["ra"].to_numpy()[loose], known.stars["dec"].to_numpy()[loose])
    if len(loose) and len(here):
        reach = 2 * np.sin(np.deg2rad(radius_arcsec / 3600) / 2)
        seen = np.flatnonzero(np.isfinite(here).all(axis=1))
        near = cKDTree(there).query_ball_point(here[seen], reach, return_sorted=True)
        pairs += [np.array([[star, loose[k]] for k in own]) for star, own in zip(seen, near, strict=True) if own]
    both = np.concatenate(pairs)
    order = np.lexsort([both[:, 1], both[:, 0]])
    return [(int(star), labels[int(row)]) for star, row in both[order]]


def _sphere(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)
