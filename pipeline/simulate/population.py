"""How common each kind of star is among TESS's two-minute targets: simulated stars are drawn wide, not so."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["SKY", "shares"]

#: Shares of the eclipsing binaries (Prša et al. 2022, ApJS 258, 16: by morphology) and of all others. Of these, three
#: in ten vary within a sector, most of them by rotation (Fetherolf et al. 2023, ApJS 268, 4); pulsators as in Murphy
#: et al. 2019, MNRAS 485, 2380, among stars of all temperatures; transiting planets as in Guerrero et al. 2021, ApJS
#: 254, 39. Orders of magnitude: a threshold follows from them, no probability of a single star does.
SKY = {
    "eclipsing": {"EA": 0.55, "EB": 0.15, "EW": 0.30},
    "other": {
        "QUIET": 0.45,
        "SYST": 0.06,
        "ROT": 0.26,
        "GIANT": 0.10,
        "FLARE": 0.05,
        "DSCT": 0.03,
        "GDOR": 0.02,
        "SPB": 0.01,
        "ELL": 0.01,
        "PLANET": 0.005,
        "RRL": 0.001,
        "CEP": 0.0005,
        "HADS": 0.0005,
        "HB": 0.0005,
    },
}

# Labels of real stars → the kind that stands for them.
_STANDS_FOR = {"NONVAR": "QUIET", "RRL_or_DSCT_unspecified": "DSCT"}


def shares(kinds: Iterable[str], eclipsing: Iterable[bool]) -> NDArray[np.float64]:
    """Weigh stars so that the kinds count as they do in the sky.

    Parameters
    ----------
    kinds : (n,) iterable of str
        Kind of each star, as simulated or labelled; ``EB:EA`` is EA.
    eclipsing : (n,) iterable of bool
        Whether it is an eclipsing binary.

    Returns
    -------
    (n,) float64
        Weights with mean 1 among the eclipsing ones, and among the others; a kind that `SKY` does not have counts as
        often as there are stars of it.
    """
    kinds, eclipsing = np.array(list(kinds), dtype=object), np.array(list(eclipsing), bool)
    weights = np.ones(len(kinds))
    for side, sky in ((eclipsing, SKY["eclipsing"]), (~eclipsing, SKY["other"])):
        names = [_STANDS_FOR.get(kind, kind.removeprefix("EB:")) for kind in kinds[side]]
        found, number, count = np.unique(np.array(names, str), return_inverse=True, return_counts=True)
        wanted = np.array([sky.get(str(name), here / len(names)) for name, here in zip(found, count, strict=True)])
        each = wanted / count
        weights[side] = each[number] / (each[number].mean() if len(names) else 1.0)
    return weights
