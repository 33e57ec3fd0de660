"""How complete candidates are: the share of injected transients that is found, by place and significance."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from pipeline.images import efficiency, places
from pipeline.metrics import wilson

__all__ = ["details", "shares", "told"]

#: S/N_opt from which transients say how fluxes are measured.
_CERTAIN = 7.0

_COUNTS = ["injected", "masked", "expected", "recovered", "unflagged"]


def details(counts: Sequence[pd.DataFrame], table: pd.DataFrame, asked: int) -> dict[str, Any]:
    """Return what a manifest says of a pair.

    Parameters
    ----------
    counts : sequence of pandas.DataFrame
        Of each round, as `pipeline.images.efficiency.counted` returns them.
    table : pandas.DataFrame
        Its transients, as in the table IMAGE_INJECTIONS.
    asked : int
        How many there were to be.

    Returns
    -------
    dict
        asked, injected, rounds; ``completeness``: a row for every environment and bin of S/N_opt, counts that add over
        pairs and what `shares` says of them; ``flux_ratio``: environment → median of forced over true flux of those of
        S/N_opt > 7 on usable pixels, and their number.
    """
    rows = shares(_sum(counts)).reset_index().astype(object)
    rows = rows.where(rows.notna(), None)
    sure = table[table["usable"] & (table["snr_opt"] >= _CERTAIN)] if len(table) else table
    ratio = (sure["flux_forced"] / sure["flux"]).groupby(sure["environment"]).agg(["median", "size"])
    return {
        "asked": asked,
        "injected": len(table),
        "rounds": int(table["round"].nunique()),
        "completeness": rows.to_dict("records"),
        "flux_ratio": {str(name): [float(row["median"]), int(row["size"])] for name, row in ratio.iterrows()},
    }


def _sum(counts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([places.ENVIRONMENTS, efficiency.BINS.values()], names=["environment", "bin"])
    nothing = pd.DataFrame(0.0, index, _COUNTS)
    return reduce(lambda one, other: one.add(other, fill_value=0), counts, nothing).reindex(index)


def shares(counts: pd.DataFrame) -> pd.DataFrame:
    """Say how complete it is.

    Parameters
    ----------
    counts : pandas.DataFrame
        injected (on usable pixels), expected, recovered.

    Returns
    -------
    pandas.DataFrame
        The same, and completeness (recovered over injected) with its 95% interval low, high (Wilson), expectation
        (expected over injected), and ratio of the two; NaN without injections.
    """
    number = counts["injected"].where(counts["injected"] > 0)
    ends = [wilson(int(k), int(n)) for k, n in zip(counts["recovered"], counts["injected"], strict=True)]
    low, high = np.array(ends, float).reshape(-1, 2).T
    return counts.assign(
        completeness=counts["recovered"] / number, low=low, high=high, expectation=counts["expected"] / number,
        ratio=counts["recovered"] / counts["expected"].where(number.notna() & (counts["expected"] > 0)),
    )  # fmt: skip


def told(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what there is to say of pairs, taken together, in lines that people read.

    Parameters
    ----------
    pairs : sequence of mapping
        `details` of each.
    """
    tables = [pd.DataFrame(one["completeness"]).set_index(["environment", "bin"])[_COUNTS] for one in pairs]
    counts = _sum(tables)
    asked, injected = (sum(one[name] for one in pairs) for name in ("asked", "injected"))
    lines = [f"{injected} of {asked} transients had room in {len(pairs)} pair(s); found of them, by place and S/N:"]
    for environment in places.ENVIRONMENTS:
        own = counts.loc[environment]
        every = own.sum().to_frame("all").T
        lines += [_line(environment, str(name), row) for name, row in shares(pd.concat([own, every])).iterrows()]
    return lines


def _line(environment: str, name: str, row: pd.Series) -> str:
    start = f"{environment:<6}{name:>5}: "
    if not row["injected"]:
        return f"{start}none on usable pixels"
    return (
        f"{start}{int(row['recovered']):5d} of {int(row['injected']):<5d} {row['completeness']:6.1%} "
        f"[{row['low']:.1%}, {row['high']:.1%}], expected {row['expectation']:.1%}; {int(row['unflagged'])} unflagged"
        + (f"; {int(row['masked'])} more on masked pixels" if row["masked"] else "")
    )
