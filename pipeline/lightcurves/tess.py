"""What a TESS light-curve file holds.

SPOC's at 2 min and 20 s, and TESS-SPOC's from full frames at 30 min, 10 min and 200 s, have the same columns
in an extension LIGHTCURVE (TESS Science Data Products Description Document, EXP-TESS-ARC-ICD-0014; Caldwell
et al. 2020, RNAAS 4, 201). Star and sector come from the headers, never from the file's name. Needed are
TIME, CADENCENO, PDCSAP_FLUX, PDCSAP_FLUX_ERR and QUALITY; another of `COLUMNS` that is absent reads as NaN.
"""

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.folder import Folder
from catalogs.schema import STARS
from pipeline.errors import Reason, Rejected
from pipeline.fits import BLOCK, MAX_BYTES, Hdu, Header, Source, Table, check_sums, hdus
from pipeline.partition import CADENCES

__all__ = ["COLUMNS", "DTYPES", "Facts", "Inspection", "LightCurve", "inspect", "read"]

#: Column of the file → our name, the formats it may have in the file, type in memory.
COLUMNS = {
    "TIME": ("time", "D", "float64"),
    "CADENCENO": ("cadenceno", "J", "int32"),
    "QUALITY": ("quality", "J", "int32"),
    "PDCSAP_FLUX": ("flux", "E", "float32"),
    "PDCSAP_FLUX_ERR": ("flux_err", "E", "float32"),
    "SAP_FLUX": ("sap_flux", "E", "float32"),
    "SAP_BKG": ("sap_bkg", "E", "float32"),
    "TIMECORR": ("timecorr", "E", "float32"),
    "MOM_CENTR1": ("centroid_col", "DE", "float32"),
    "MOM_CENTR2": ("centroid_row", "DE", "float32"),
    "POS_CORR1": ("pos_corr_col", "E", "float32"),
    "POS_CORR2": ("pos_corr_row", "E", "float32"),
}

#: Our name → type in memory.
DTYPES = {name: dtype for name, _, dtype in COLUMNS.values()}

_NEEDED = ("TIME", "CADENCENO", "PDCSAP_FLUX", "PDCSAP_FLUX_ERR", "QUALITY")

#: A sector lasts 27 days, the longest 31.
LONGEST_D = 40.0

#: Names of files have 16 digits for it.
_LARGEST_TIC = 10**16 - 1

_ANYTHING = 1e9  # either side, where the catalogue has no bound

_OTHERS = {
    "PIXELS": "a target pixel file",
    "TARGETTABLES": "a target pixel file",
    "TCE": "a data validation time series",
    "CBV": "cotrending basis vectors",
    "CAMERA": "a full-frame image",
}


@dataclass(frozen=True)
class Facts:
    """What the headers say of a star and its light curve; a number that is absent is NaN, an integer −1.

    NaN is, too, what no row of the catalogue may hold, so that one odd header spoils nobody else's row: a magnitude of
    99, a temperature or radius below 0.

    Parameters
    ----------
    tic_id, sector, camera, ccd : int
        TICID (or OBJECT), SECTOR, CAMERA, CCD.
    ra, dec : float
        RA_OBJ, DEC_OBJ, deg, ICRS, epoch J2000.
    pmra, pmdec : float
        Proper motion, mas/yr.
    tmag, teff, radius : float
        TESSMAG in mag, TEFF in K, RADIUS in solar radii, from the TESS Input Catalog.
    crowdsap, flfrcsap : float
        Share of the aperture's flux that is the star's; share of the star's flux that is in the aperture.
    cadence_s : int
        Nominal time between cadences, s: one of `pipeline.partition.CADENCES`.
    data_rel : int
        Data release.
    date : str
        Day the file was made.
    """

    tic_id: int
    sector: int
    camera: int
    ccd: int
    ra: float
    dec: float
    pmra: float
    pmdec: float
    tmag: float
    teff: float
    radius: float
    crowdsap: float
    flfrcsap: float
    cadence_s: int
    data_rel: int
    date: str


@dataclass(frozen=True)
class Inspection:
    """What headers, first and last row of a file tell.

    Parameters
    ----------
    facts : Facts
        Star, sector, cadence.
    n_rows, first_cadence, last_cadence : int
        Rows of the table, CADENCENO of its first and last one.
    size : int
        Stored size, bytes.
    checksum : str
        ``headers:`` and the SHA-256 of the headers up to the table, in hex; they hold the data's checksums.
    """

    facts: Facts
    n_rows: int
    first_cadence: int
    last_cadence: int
    size: int
    checksum: str


@dataclass(frozen=True, eq=False)
class LightCurve:
    """A light curve as it is in its file.

    Parameters
    ----------
    facts : Facts
        Star, sector, cadence.
    size : int
        Stored size, bytes.
    sha256 : str
        Of the file as stored, in hex.
    columns : dict of str to ndarray
        `DTYPES`: arrays of shape (n_rows,), every bit as in the file, but centroids rounded to float32.
    note : str
        Empty, or what its headers say that makes no sense, and that its CHECKSUM does not fit.
    """

    facts: Facts
    size: int
    sha256: str
    columns: dict[str, NDArray[Any]]
    note: str = ""


def inspect(folder: Folder, path: str, size: int | None = None) -> Inspection:
    """Read headers, first and last row of a file: one or two ranged reads, unless it is gzip.

    Parameters
    ----------
    folder : Folder
        Archive.
    path : str
        The file, relative to it.
    size : int, optional
        Its size in bytes, where a listing has told it; saves a request on S3.

    Raises
    ------
    Rejected
        If it is no TESS light curve, or a damaged one as far as can be seen.
    ArchiveUnreachable
        If this machine cannot read the archive: nothing is said of the file.
    """
    source = Source(folder, path, size)
    opened = _open(source)
    table, facts = opened.table, opened.facts
    ends = [source.read(table.start + row * table.row_bytes, table.row_bytes).tobytes() for row in (0, table.rows - 1)]
    first, last = table.values(memoryview(b"".join(ends)), table.columns["CADENCENO"]).tolist()
    _check_span(facts, first, last, table.rows)
    opened.check_rest()
    digest = hashlib.sha256(opened.primary.raw + opened.hdu.header.raw).hexdigest()
    return Inspection(facts, table.rows, first, last, source.size, f"headers:{digest}")


def read(folder: Folder, path: str) -> LightCurve:
    """Read a light curve whole, one that `inspect` has seen before.

    Rows stay in the order of the file, which must be that of CADENCENO. TIME may be NaN, repeat or go back:
    nothing is aligned on it.

    Parameters
    ----------
    folder : Folder
        Archive.
    path : str
        The file, relative to it.

    Raises
    ------
    Rejected
        If it is no TESS light curve, a damaged one, or gone.
    ArchiveUnreachable
        If this machine cannot read the archive, or not this file: nothing is said of the file.
    """
    source = Source(folder, path, whole=True, planned=True)
    opened = _open(source)
    table = opened.table
    data = source.read(table.start, table.rows * table.row_bytes)
    opened.check_rest()
    columns = {}
    for name, (ours, _, dtype) in COLUMNS.items():
        if name in table.columns:
            with np.errstate(over="ignore", invalid="ignore"):
                columns[ours] = table.values(data, table.columns[name]).astype(dtype, copy=False)
        else:
            columns[ours] = np.full(table.rows, np.nan, dtype)
    _check_rows(opened.facts, columns)
    note = "; ".join(filter(None, (opened.remarks, check_sums(source, opened.hdu))))
    assert source.stored is not None
    return LightCurve(opened.facts, source.size, hashlib.sha256(source.stored).hexdigest(), columns, note)


@dataclass(frozen=True)
class _Opened:
    facts: Facts
    remarks: str
    primary: Header
    hdu: Hdu
    table: Table
    rest: Iterator[Hdu]

    def check_rest(self) -> None:
        """Walk to the end of the file, so that one cut behind the table is noticed too."""
        for _ in self.rest:
            pass


def _open(source: Source) -> _Opened:
    """Find the light curve in a file, or say what the file is instead."""
    walk = hdus(source)
    hdu = next(walk)
    primary, names = hdu.header, list[str]()
    if primary.text("TELESCOP") != "TESS":
        raise primary.bad("TELESCOP", "is not 'TESS'", Reason.WRONG_PRODUCT)
    for hdu in walk:
        name = hdu.header.name
        if name == "LIGHTCURVE":
            break
        names.append(name or "without name")
        if other := _OTHERS.get(re.split(r"[^A-Z]", name)[0]):
            raise Rejected(Reason.WRONG_PRODUCT, f"{other}, extension {name}; wanted is a light curve")
    else:
        raise _no_light_curve(source, primary, hdu, names)
    if source.length > MAX_BYTES:
        raise Rejected(Reason.ABSURD_SIZE, f"{source.length} bytes; a light curve has at most {MAX_BYTES}")
    table = Table(hdu)
    if not table.rows:
        raise Rejected(Reason.ALL_NAN, "a table without rows")
    for column, (_, codes, _) in COLUMNS.items():
        if column in _NEEDED or column in table.columns:
            table.column(column, codes)
    return _Opened(*_facts(primary, hdu.header), primary, hdu, table, walk)


def _no_light_curve(source: Source, primary: Header, last: Hdu, names: list[str]) -> Rejected:
    if primary.integer("NEXTEND", 0, 999, 0) > len(names):
        if source.length < last.end + BLOCK:
            return Rejected(Reason.TRUNCATED, f"{source.length} bytes, ends before its LIGHTCURVE")
        return Rejected(Reason.BAD_HEADER, f"no extension at byte {last.end}, where one should begin")
    found = f"its extensions: {', '.join(names)}" if names else "no extension at all"
    return Rejected(Reason.WRONG_PRODUCT, f"no LIGHTCURVE; {found}")


def _facts(primary: Header, header: Header) -> tuple[Facts, str]:
    """Return what the headers say, and which of it makes no sense and is taken as unknown."""
    remarks: list[str] = []

    def plain(of: Header, key: str, column: str) -> float:
        """Return a number that a catalogue may hold in a column, or NaN."""
        low, high = (limit if limit is not None else sign * _ANYTHING for limit, sign in _bounds(column))
        value = of.number(key, -math.inf, math.inf)
        if math.isnan(value) or low <= value <= high:
            return value
        remarks.append(f"{key} {value:g} is not from {low:g} to {high:g}, and taken as unknown")
        return math.nan

    facts = Facts(
        tic_id=_tic_id(primary),
        sector=primary.integer("SECTOR", 1, 9999),
        camera=primary.integer("CAMERA", 1, 4, -1),
        ccd=primary.integer("CCD", 1, 4, -1),
        ra=primary.number("RA_OBJ", 0, 360),
        dec=primary.number("DEC_OBJ", -90, 90),
        pmra=plain(primary, "PMRA", "pmra"),
        pmdec=plain(primary, "PMDEC", "pmdec"),
        tmag=plain(primary, "TESSMAG", "tmag"),
        teff=plain(primary, "TEFF", "teff"),
        radius=plain(primary, "RADIUS", "radius"),
        crowdsap=plain(header, "CROWDSAP", "crowdsap_min"),
        flfrcsap=plain(header, "FLFRCSAP", "crowdsap_min"),
        cadence_s=_cadence(header),
        data_rel=primary.integer("DATA_REL", 0, 2**31 - 1, -1),
        date=primary.text("DATE"),
    )
    return facts, "; ".join(remarks)


def _bounds(column: str) -> list[tuple[float | None, int]]:
    """Return the limits of a column of the catalogue, each with the sign of what has none."""
    return list(zip(STARS[column].bounds, (-1, 1), strict=True))


def _tic_id(primary: Header) -> int:
    if primary.value("TICID") is not None:
        return primary.integer("TICID", 1, _LARGEST_TIC)
    match = re.fullmatch(r"TIC (\d{1,16})", primary.text("OBJECT"), re.ASCII)
    if not match or int(match[1]) == 0:
        raise primary.bad("OBJECT", "names no TIC, and there is no TICID")
    return int(match[1])


def _cadence(header: Header) -> int:
    """Return the nominal cadence in s: from TIMEDEL, or FRAMETIM x NUM_FRM where that is absent."""
    seconds = header.number("TIMEDEL", 0, LONGEST_D) * 86400
    if math.isnan(seconds):
        seconds = header.number("FRAMETIM", 0, 1e6) * header.number("NUM_FRM", 0, 1e6)
    for cadence in CADENCES:
        if _near(seconds, cadence):
            return cadence
    wanted = ", ".join(str(cadence) for cadence in sorted(CADENCES))
    raise header.bad("TIMEDEL", f"in days (or FRAMETIM x NUM_FRM) is none of {wanted} s")


def _near(seconds: float, cadence: int) -> bool:
    return abs(seconds - cadence) <= 0.02 * cadence


def _check_span(facts: Facts, first: int, last: int, rows: int) -> None:
    longest = LONGEST_D * 86400 / facts.cadence_s
    if first < 0 or not rows <= last - first + 1 <= longest:
        what = f"CADENCENO from {first} to {last} in {rows} rows"
        raise Rejected(Reason.BAD_CADENCES, f"{what}: repeats, goes back, or spans over {LONGEST_D:.0f} d")


def _check_rows(facts: Facts, columns: dict[str, NDArray[Any]]) -> None:
    cadenceno, time = columns["cadenceno"], columns["time"]
    finite = np.isfinite(time)
    if not (finite & np.isfinite(columns["flux"])).any():
        raise Rejected(Reason.ALL_NAN, f"no finite PDCSAP_FLUX at a finite TIME in {len(time)} rows")
    back = np.flatnonzero(cadenceno[1:] <= cadenceno[:-1])
    if len(back):
        before, after = cadenceno[back[0] : back[0] + 2].tolist()
        raise Rejected(Reason.BAD_CADENCES, f"CADENCENO {after} follows {before} in row {back[0] + 2}")
    _check_span(facts, int(cadenceno[0]), int(cadenceno[-1]), len(time))
    # TIMEDEL decides where a star is stored, so it must be true, for rows or, if some are left out, cadences.
    few = np.flatnonzero(finite)[:1000]
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.diff(time[few]) * 86400
        apart = [float(np.median(s)) for s in (steps, steps / np.diff(cadenceno[few])) if len(s)]
    if apart and not any(_near(step, facts.cadence_s) for step in apart):
        raise Rejected(Reason.BAD_CADENCES, f"rows are {apart[0]:.6g} s apart, its TIMEDEL says {facts.cadence_s} s")
