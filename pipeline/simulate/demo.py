"""The demo's archive: stars to learn from, other stars to judge by, and files that are no use."""

from pathlib import Path

import pandas as pd

from pipeline.simulate.damaged import write_damaged
from pipeline.simulate.spoc import write_archive

__all__ = ["LABELS", "write_demo_archive"]

#: The list of stars to learn from, in the archive; the others are on no list.
LABELS = "known/truth.csv"

_TRUTH = "sky/truth.csv"


def write_demo_archive(folder: str | Path, stars: int) -> tuple[pd.DataFrame, set[int]]:
    """Write the demo's archive, but for the parts that are there.

    Parameters
    ----------
    folder : str or Path
        Top of the archive.
    stars : int
        Stars in ``known/``, seen in sector 1. Half as many others are in ``sky/``, seen in sectors 1 and 2.

    Returns
    -------
    truth : pandas.DataFrame
        What each star is: tic_id, label ('EB' or 'not EB'), kind, period (d) and more.
    held_out : set of int
        Those of ``sky/``, which stand on no list of labels.
    """
    folder = Path(folder)
    if not (folder / LABELS).exists():  # written last
        write_archive(folder / "known", [1], stars, seed=1)
    if not (folder / _TRUTH).exists():
        write_archive(folder / "sky", [1, 2], stars // 2, seed=2)
    write_damaged(folder / "damaged", 1, seed=3)
    known, sky = (pd.read_csv(folder / path) for path in (LABELS, _TRUTH))
    return pd.concat([known, sky], ignore_index=True), set(sky["tic_id"])
