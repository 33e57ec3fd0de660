"""Lists of where bodies of the solar system were, and when."""

import numpy as np
import pandas as pd

from catalogs.lists import KnownError
from catalogs.transients import placed, raw

__all__ = ["read"]

#: Names of the column of time → what is taken off to make it MJD.
_TIMES = {"mjd": 0.0, "mjd_mid": 0.0, "mjd_utc": 0.0, "epoch_mjd": 0.0, "jd": 2400000.5, "jd_utc": 2400000.5}


def read(path: str) -> pd.DataFrame:
    """Read a list of places: CSV, Parquet or JSON with name, mjd (or jd), ra and dec.

    Parameters
    ----------
    path : str
        Local or ``s3://``.

    Returns
    -------
    pandas.DataFrame
        name, mjd (d, in the time scale of the images), ra, dec (deg); rows without time or place are left out.

    Raises
    ------
    KnownError
        If it is not there, of no known form, lacks a column, or a time does not read.
    """
    frame = raw(str(path))
    lower = {str(name).strip().lower(): name for name in reversed(list(frame.columns))}
    time = next((name for name in _TIMES if name in lower), None)
    if time is None:
        raise KnownError(f"{path}: no column mjd or jd among {', '.join(map(str, frame.columns))}")
    words = frame[lower[time]].astype(str).str.strip()
    given = ~words.str.lower().isin(["", "nan", "none", "null", "--"])
    numbers = pd.to_numeric(words.where(given), errors="coerce").to_numpy(float) - _TIMES[time]
    if len(wrong := np.flatnonzero(given & ~np.isfinite(numbers))):
        raise KnownError(f"{path}: row {wrong[0] + 1}: {words.iloc[wrong[0]]!r} is no time; correct or blank it")
    table = placed(path, frame).table
    return table.assign(mjd=numbers[table.index])[["name", "mjd", "ra", "dec"]].dropna(ignore_index=True)
