"""The demo's archive: simulated stars seen in two sectors, and files that are no use."""

from pathlib import Path

import pandas as pd

from pipeline.simulate.damaged import write_damaged
from pipeline.simulate.spoc import write_archive

__all__ = ["SEED", "write_demo_archive"]

_TRUTH = "sky/truth.csv"

#: No shipped model learns from simulated stars of this seed.
SEED = 900


def write_demo_archive(folder: str | Path, stars: int) -> pd.DataFrame:
    """Write the demo's archive, but for the parts that are there.

    Parameters
    ----------
    folder : str or Path
        Top of the archive.
    stars : int
        Stars in ``sky/``, each seen in sectors 1 and 2.

    Returns
    -------
    pandas.DataFrame
        What each star is: tic_id, label ('EB' or 'not EB'), kind, period (d) and more.
    """
    folder = Path(folder)
    if not (folder / _TRUTH).exists():  # written last
        write_archive(folder / "sky", [1, 2], stars, seed=SEED)
    write_damaged(folder / "damaged", 1, seed=SEED + 1)
    return pd.read_csv(folder / _TRUTH)
