"""Real light curves with labels in one Parquet file: a row a star, its columns of flux as lists."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalogs import write
from catalogs.folder import Folder
from catalogs.variability import parse
from pipeline.errors import UsageError
from pipeline.manifest import Record

__all__ = ["Labelled", "LabelledStar"]

Floats = NDArray[np.float64]

_NEEDED = ("tic_id", "label", "time", "flux", "quality")
_PUBLISHED = ["prsa_morph", "vsx"]
_RARE = 3.0  # weight of an eclipsing binary of known class: there are few
_UNSURE = 0.0  # weight of a star that is an eclipsing binary in other data: of half of them TESS shows nothing


@dataclass(frozen=True, eq=False)
class LabelledStar:
    """One star of the file.

    Parameters
    ----------
    tic_id, sector : int
        Star and sector (0 where the file does not say).
    cadence_s : float
        Seconds between cadences; NaN where neither the file nor its times tell.
    label : str
        As in the file.
    klass : str
        ``EA``, ``EB``, ``EW``, ``ELL``; ``E`` for an eclipsing binary of unknown class; else ``other``.
    morph : float
        Morphology (Prša et al. 2022), NaN if unknown.
    weight : float
        Of its segments in training: 0 where the label is in doubt.
    time, flux : (n,) float64
        BTJD and PDCSAP flux, e-/s.
    quality : (n,) int32
        QUALITY.
    """

    tic_id: int
    sector: int
    cadence_s: float
    label: str
    klass: str
    morph: float
    weight: float
    time: Floats
    flux: Floats
    quality: NDArray[np.int32]


class Labelled:
    """A Parquet file of labelled light curves.

    Labels are read by `catalogs.variability`: ``EB:EA`` names the class behind the colon, ``EA/SD`` before the stroke.
    Nothing (weight 0) teaches ``EB:`` with anything else, an eclipsing binary of unknown class by other data than
    these, and a label that is not known, in doubt (``?``), or leaves open whether the star eclipses (``ELL|EW``).

    Parameters
    ----------
    path : str or Path
        Columns tic_id, label, time (BTJD), flux (e-/s), quality as lists; optional sector, cadence_s, prsa_morph, vsx.
    doubted : collection of int, optional
        Stars whose negative label is not believed, as they stand in a published list of eclipsing binaries: weight 0.
    left_out : collection of int, optional
        Stars that must not be learnt from at all.

    Raises
    ------
    UsageError
        If the file is not there or lacks a column.
    """

    def __init__(self, path: str | Path, doubted: Collection[int] = (), left_out: Collection[int] = ()) -> None:
        self.path = str(path)
        self.doubted, self.left_out = frozenset(doubted), frozenset(left_out)
        table = self._table
        if missing := [name for name in _NEEDED if name not in table.column_names]:
            raise UsageError(f"{path}: no column {', '.join(missing)}; it has {', '.join(table.column_names)}")

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_table"}

    @cached_property
    def _table(self) -> pa.Table:
        file = Path(self.path).absolute()
        try:
            table = write.read(Folder(file.parent), file.name)
        except FileNotFoundError:
            raise UsageError(f"{self.path}: no such file; name a Parquet file of labelled light curves") from None
        if self.left_out and "tic_id" in table.column_names:
            table = table.filter(pc.invert(pc.is_in(table["tic_id"], pa.array(sorted(self.left_out), pa.int64()))))
        return table

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, the stars doubted and those left out."""
        text = f"{sorted(self.doubted)} {sorted(self.left_out)}".encode()
        return hashlib.sha256(Path(self.path).read_bytes() + text).hexdigest()

    @property
    def upstream(self) -> dict[str, str]:
        """What a manifest says of the file: its checksum, as it may be moved and renamed."""
        return {"labelled": self.sha256}

    def recognise(self, record: Record) -> Record:
        """Return a manifest in which this file stands as in `upstream`; older ones call it by its path."""
        found = {"labelled" if value == self.sha256 else name: value for name, value in record.upstream.items()}
        return replace(record, upstream=found)

    @property
    def tic_ids(self) -> list[int]:
        """The stars of the file, in its order."""
        return [int(tic_id) for tic_id in self._table["tic_id"].to_pylist()]

    @property
    def doubted_here(self) -> list[int]:
        """The stars of the file whose negative label is not believed."""
        stars = zip(self.tic_ids, self._table["label"].to_pylist(), strict=True)
        return sorted(tic for tic, label in stars if tic in self.doubted and _meaning(str(label))[0] == "other")

    @property
    def negatives(self) -> list[int]:
        """The stars of the file that do not eclipse, less those in doubt."""
        doubted, found = set(self.doubted_here), []
        for tic_id, label in zip(self.tic_ids, self._table["label"].to_pylist(), strict=True):
            klass, weight = _meaning(str(label))
            if klass in ("other", "ELL") and weight > 0 and tic_id not in doubted:
                found.append(tic_id)
        return sorted(found)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @property
    def published(self) -> pd.DataFrame:
        """Morphology (``prsa_morph``) and class (``vsx``) of each star in other lists, by tic_id; null if unknown."""
        table = self._table.select(["tic_id", *(n for n in _PUBLISHED if n in self._table.column_names)])
        return table.to_pandas().drop_duplicates("tic_id").set_index("tic_id").reindex(columns=_PUBLISHED)

    def find(self, tic_id: int) -> LabelledStar:
        """Return a star by its identifier; of several rows the first."""
        return self.star(pc.index(self._table["tic_id"], tic_id).as_py())

    def star(self, number: int) -> LabelledStar:
        """Return a star by its row."""
        row = {name: self._table[name][number].as_py() for name in self._table.column_names}
        time = np.asarray(row["time"], np.float64)
        tic_id, label = int(row["tic_id"]), str(row["label"])
        klass, weight = _meaning(label)
        if klass == "other" and tic_id in self.doubted:
            weight = 0.0
        morph = row.get("prsa_morph")
        return LabelledStar(
            tic_id=tic_id,
            sector=int(row.get("sector") or 0),
            cadence_s=_cadence(row.get("cadence_s"), time),
            label=label,
            klass=klass,
            morph=float("nan") if morph is None else float(morph),
            weight=weight,
            time=time,
            flux=np.asarray(row["flux"], np.float64),
            quality=np.asarray(row["quality"], np.int32),
        )


def _cadence(given: float | None, time: Floats) -> float:
    """Return the seconds between cadences: as given, else of most of the steps forward; NaN without any."""
    if given is not None and 0 < given < np.inf:
        return float(given)
    steps = np.diff(time[np.isfinite(time)])
    return 86400 * float(np.median(steps[steps > 0])) if (steps > 0).any() else float("nan")


def _meaning(label: str) -> tuple[str, float]:
    """Class and weight of a label."""
    found = parse(label)
    if not found.klass:
        return "E" if found.may_eclipse else "other", 0.0
    if found.klass == "other":
        return "other", 1.0
    return found.klass, _UNSURE if found.klass == "E" and ":" in label else _RARE
