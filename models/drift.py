"""Whether what a model is given, and what it says, is still what it was when it was trained.

Every number of a triplet is put in its place among those of the triplets that the training held out: of the same
survey and filter where there were enough, else of the same survey, else of all. Without drift the places are uniform,
and batches of many surveys add up. Three things that are no drift are left out of account:

- another share of real ones, as every night has: it is estimated from the logits, and what the training held out is
  mixed in the same proportion;
- triplets of one image are alike, and tell less than as many independent ones (Kish 1965, Survey Sampling, 8.2);
- chance.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import kolmogorov
from scipy.stats import chi2

from catalogs.monitor import BINS, INPUTS, Statistic, histogram_of
from models.reference import COMPARED, Reference, Stratum, bare
from pipeline.settings import DriftSettings

__all__ = ["Shift", "compare", "found_and_expected", "ranks"]

Floats = NDArray[np.float64]

_PLACES = 50  # that ranks are told apart by
_CLASSES = 10  # of the population stability index


def ranks(found: Floats, expected: Floats) -> Floats:
    """Return how many values lie in each of 50 parts of what is expected, all of them equally likely.

    Parameters
    ----------
    found, expected : (n_bins,) array
        Histograms with the same bins; what is in one bin is spread evenly over its part.
    """
    mass = bare(expected)
    edges = np.concatenate([[0], np.cumsum(mass) / mass.sum()])
    below = np.concatenate([[0], np.cumsum(found)])
    return np.diff(np.interp(np.linspace(0, 1, _PLACES + 1), edges, below))


class Shift(NamedTuple):
    """How far values are from what is expected of them.

    Parameters
    ----------
    psi : float
        Population stability index in ten classes; 0 for no difference.
    chance : float
        What it is by chance, on average.
    ks : float
        Kolmogorov and Smirnov's distance.
    p : float
        Probability of as much by chance: the least of that of psi, of ks and of the mean rank, which needs the fewest
        images to show a shift; times three.
    """

    psi: float
    chance: float
    ks: float
    p: float

    @staticmethod
    def of(places: Floats, independent: float, known: float) -> "Shift":
        """Return the shift of values by their `ranks`.

        Parameters
        ----------
        places : (50,) array
            From `ranks`.
        independent, known : float
            Independent values among them, and among those that they are compared with.

        References
        ----------
        Yurdakul & Naranjo 2020, J. Risk Model Validation 14(4) (distribution of PSI); Stephens 1970, JRSS B 32, 115
        (of KS); Mann & Whitney 1947, Ann. Math. Stat. 18, 50 (of the mean rank).
        """
        n = places.sum()
        if not n or not known:
            return Shift(0.0, 0.0, 0.0, 1.0)
        per = 1 / independent + 1 / known
        ks = float(np.abs(np.cumsum(places) / n - np.arange(1, _PLACES + 1) / _PLACES).max())
        # Half a value in every class keeps an empty one finite.
        filled = places.reshape(_CLASSES, -1).sum(1) / n * independent + 0.5
        share = filled / filled.sum()
        psi = float(((share - 1 / _CLASSES) * np.log(share * _CLASSES)).sum())
        root = per**-0.5
        middle = (places * (np.arange(_PLACES) + 0.5)).sum() / n / _PLACES
        chances = (
            kolmogorov((root + 0.12 + 0.11 / root) * ks),
            chi2.sf(psi / per, _CLASSES - 1),
            chi2.sf((middle - 0.5) ** 2 * 12 / per, 1),
        )
        return Shift(psi, (_CLASSES - 1) * per, ks, min(1.0, len(chances) * float(min(chances))))


class _Sums(NamedTuple):
    """What a part of the log adds up to, of one statistic."""

    found: Floats
    expected: Floats
    places: Floats
    independent: float
    known: float


def compare(
    reference: Reference,
    log: pd.DataFrame,
    by: Sequence[str] = ("survey",),
    settings: DriftSettings | None = None,
    others: int = 0,
) -> pd.DataFrame:
    """Return how far each part of a log is from what the model has learnt from.

    Parameters
    ----------
    reference : Reference
        Of the model.
    log : pandas.DataFrame
        Rows of `catalogs.monitor.MONITOR`.
    by : sequence of str
        Columns of the log that tell parts from one another: batch, survey, filter, season.
    settings : DriftSettings, optional
        What is an alarm.
    others : int
        Rows of other tables of the same run, which share the false alarms.

    Returns
    -------
    pandas.DataFrame
        A row a part and statistic: columns `by`; kind (``inputs`` or ``scores``), statistic, n, independent (so many
        independent triplets tell as much), share (of real ones, estimated), before, now (medians), psi, chance, ks, p,
        is_alarm: psi is above the settings' by more than chance makes it, and p is below their false alarms over the
        number of rows, `others` among them.
    """
    settings = settings or DriftSettings.load(None, "drift")
    rows: list[dict[str, Any]] = []
    for part, some in _parts(log, by):
        shares = _shares(reference, some)
        real = sum(share * n for share, n in shares.values()) / max(sum(n for _, n in shares.values()), 1)
        for one in COMPARED:
            sums = _sums(reference, some, one, shares)
            shift = Shift.of(sums.places, sums.independent, sums.known)
            kind = "inputs" if one in INPUTS else "scores"
            facts = {"kind": kind, "statistic": one.name, "n": int(sums.found.sum()), "independent": sums.independent}
            medians = {"share": real, "before": _median(one, sums.expected), "now": _median(one, sums.found)}
            rows.append(part | facts | medians | shift._asdict())
    names = [*by, "kind", "statistic", "n", "independent", "share", "before", "now", *Shift._fields]
    table = pd.DataFrame(rows, columns=names)
    chance = table["p"] < settings.false_alarms / max(len(table) + others, 1)
    return table.assign(is_alarm=chance & (table["psi"] > settings.psi + table["chance"]))


def found_and_expected(reference: Reference, log: pd.DataFrame, one: Statistic) -> tuple[Floats, Floats]:
    """Return the histograms of a statistic in a log, and as it is expected there."""
    sums = _sums(reference, log, one, _shares(reference, log))
    return sums.found, sums.expected


def _parts(log: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    log = log[log["n"] > 0]
    if not by:
        yield {}, log
        return
    for names, some in log.groupby(list(by)):
        yield dict(zip(by, names, strict=True)), some


def _shares(reference: Reference, log: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Return the share of real ones, and how many triplets there are, by stratum."""
    shares = {}
    for name, stratum, rows in _strata(reference, log):
        shares[name] = stratum.share(_total(rows, "logit")), float(rows["n"].sum())
    return shares


def _strata(reference: Reference, log: pd.DataFrame) -> Iterator[tuple[str, Stratum, pd.DataFrame]]:
    names = [reference.stratum(*pair)[0] for pair in zip(log["survey"], log["filter"], strict=True)]
    for name, rows in log.groupby(np.array(names, object)):
        yield str(name), reference.strata[str(name)], rows


def _total(rows: pd.DataFrame, name: str) -> Floats:
    return np.sum(np.stack(rows[histogram_of(name)].to_list()).astype(float), axis=0)


def _sums(reference: Reference, log: pd.DataFrame, one: Statistic, shares: Mapping[str, tuple[float, float]]) -> _Sums:
    found, expected, places = np.zeros(BINS), np.zeros(BINS), np.zeros(_PLACES)
    spread = uncertain = 0.0
    for name, stratum, rows in _strata(reference, log):
        share = shares[name][0]
        counts, usual = _total(rows, one.name), stratum.expected(one.name, share)
        n, total = counts.sum(), usual.sum()
        if not n or not total:
            continue
        clump = float(np.average(rows["clump"], weights=rows["n"]))
        weight = share**2 / max(stratum.n_real, 1) + (1 - share) ** 2 / max(stratum.n_bogus, 1)
        found += counts
        expected += usual / total * n
        places += ranks(counts, usual)
        spread += n**2 / stratum.independent(one.name, n, clump)
        uncertain += n**2 / stratum.independent(one.name, total / weight, stratum.clump)
    n = found.sum()
    return _Sums(found, expected, places, n**2 / spread if n else 0.0, n**2 / uncertain if n else 0.0)


def _median(one: Statistic, counts: Floats) -> float:
    if not counts.sum():
        return float("nan")
    below = np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
    return float(np.interp(0.5, below, one.edges))
