"""What there is to say of sources of stamps: scores of their stacks, fused over surveys, beside what was measured."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from catalogs.columns import PROVENANCE
from catalogs.stamps import StampFlag
from catalogs.visual_binaries import VISUAL_BINARIES, VISUAL_BINARY_FILTERS, tier
from pipeline.fusion import Fusion, fused, precise
from pipeline.stamps import completeness
from pipeline.stamps.gaia import julian_year

__all__ = ["expected", "filters", "sources", "with_completeness"]

Floats = NDArray[np.float64]

#: Prevalences, of which is said how many of the doubles are false.
PREVALENCES = (0.5, 0.09, 0.01)


def sources(
    rows: pd.DataFrame,
    measures: pd.DataFrame,
    fusion: Fusion,
    prior: float,
    precision_asked: float,
    uncertain: float,
) -> pd.DataFrame:
    """Return a row for each source, as `VISUAL_BINARIES` but for provenance; sorted.

    Parameters
    ----------
    rows : pandas.DataFrame
        Scores: columns of `catalogs.visual_binaries.VISUAL_SCORES`, by source_id and survey.
    measures : pandas.DataFrame
        source_id, and whatever of `VISUAL_BINARIES` was measured; sources may be missing.
    fusion : Fusion
        Of the model.
    prior, precision_asked : float
        Share of doubles that p_prior and threshold are for; precision from the threshold on.
    uncertain : float
        Factor in odds below the threshold that is possible.
    """
    names, first = np.unique(rows["source_id"].to_numpy(str), return_index=True)
    able, number = _able(rows), np.searchsorted(names, rows["source_id"].to_numpy(str))
    counted = able | ~_any(able, first)[number]
    flags = np.where(counted, rows["flags"].to_numpy(np.int64), 0)
    flags = np.bitwise_or.reduceat(flags, first) if len(first) else flags
    together = fusion.together(_ratios(rows, able, fusion), number, len(first))
    known = _any(able, first)
    odds = np.where(known, fused(together, fusion.shares), np.nan)
    threshold = fusion.chosen(prior, precision_asked)
    found = pd.DataFrame({
        "source_id": names, **_positions(rows, first),
        "surveys_used": _surveys(rows, np.ones(len(rows), bool), first),
        "surveys_able": _surveys(rows, able, first),
        "p_double": expit(odds), "p_prior": expit(odds + logit(prior)), "prior": prior, "threshold": threshold,
        "tier": tier(expit(odds), threshold, uncertain),
        "sep_network_arcsec": np.where(known, fusion.separation(together), np.nan),
        "saturated": (flags & int(StampFlag.SATURATED)) > 0, "flags": flags,
    })  # fmt: skip
    if "ra" in measures:  # a place that was measured has the epoch of that, or none
        found.loc[found["source_id"].isin(measures.loc[measures["ra"].notna(), "source_id"]), "pos_epoch"] = np.nan
    return _with(found, measures, ["source_id"], VISUAL_BINARIES.names)


def filters(rows: pd.DataFrame, stamps: pd.DataFrame, measures: pd.DataFrame, fusion: Fusion) -> pd.DataFrame:
    """Return a row for each source, survey and filter, as `VISUAL_BINARY_FILTERS` but for provenance; sorted.

    Parameters
    ----------
    rows : pandas.DataFrame
        As for `sources`.
    stamps : pandas.DataFrame
        Of `catalogs.stamps.STAMPS`: the stamps of these sources.
    measures : pandas.DataFrame
        source_id, survey, filter, and whatever of `VISUAL_BINARY_FILTERS` was measured.
    fusion : Fusion
        Of the model.
    """
    key, able = ["source_id", "survey", "filter"], _able(rows)
    odds = np.where(able, fused(_ratios(rows, able, fusion), fusion.shares), np.nan)
    alone = rows.assign(p=expit(odds), stack_method=rows["method"], filter=rows["filters"].str.split(","))
    alone = alone[["source_id", "survey", "filter", "p", "stack_method", "fwhm_arcsec"]].explode("filter")
    own = stamps.merge(rows[["source_id", "survey"]], on=["source_id", "survey"]).sort_values([*key, "file"])
    grouped = own.groupby(key, sort=True)
    told = grouped[["mjd", "flags"]].first()
    told = told.assign(files=grouped["file"].agg(list) if len(own) else pd.Series(dtype=object)).reset_index()
    found = told.merge(alone, on=key, how="outer").sort_values(key, ignore_index=True)
    found["files"] = pd.Series([one if isinstance(one, list) else [] for one in found["files"]], dtype=object)
    found["flags"] = found["flags"].fillna(0).astype(np.int64)
    return _with(found, measures, key, VISUAL_BINARY_FILTERS.names)


def expected(found: pd.DataFrame, fusion: Fusion) -> list[str]:
    """Return in words how many of the doubles are false, if half, 9% or 1% of all sources are double.

    Parameters
    ----------
    found : pandas.DataFrame
        From `sources`.
    fusion : Fusion
        Of the model: by its curve where it has one, else by the probabilities of the rows themselves.
    """
    judged = found[found["p_double"].notna()]
    if not len(judged):
        return ["no survey that was used resolves 2.5 arcsec: nothing is known of any source"]
    threshold = float(judged["threshold"].iloc[0])
    doubles = judged[judged["tier"] == "double"]
    told = [f"{len(doubles)} of {len(judged)} sources are of the tier double (p_double >= {threshold:.4g})"]
    if fusion.curve is None and not len(doubles):
        return told
    if fusion.curve is not None:
        told.append("by the stacks that the model was judged on, of its mix of surveys and one a source:")
    for share in PREVALENCES:
        if fusion.curve is not None:
            found_share, false_share = fusion.curve.rates(threshold)
            false, purity = len(judged) * (1 - share) * false_share, precise(found_share, false_share, share)
            more = f", completeness {found_share:.3f}"
        else:
            p = expit(logit(doubles["p_double"].to_numpy(float)) + logit(share))
            false, purity, more = float((1 - p).sum()), float(p.mean()), ""
        told.append(f"if {share:.0%} of all are double: {false:.3g} false ones expected, precision {purity:.3f}{more}")
    return told


def _able(rows: pd.DataFrame) -> NDArray[np.bool_]:
    return np.array([len(one) > 0 for one in rows["logits"]], bool)


def _any(able: NDArray[np.bool_], first: NDArray[np.intp]) -> NDArray[np.bool_]:
    return np.logical_or.reduceat(able, first) if len(first) else able


def _ratios(rows: pd.DataFrame, able: NDArray[np.bool_], fusion: Fusion) -> Floats:
    """Return the logarithms of the ratios of likelihoods (n, bins); 0 of what is not able."""
    found = np.zeros((len(rows), len(fusion.shares)))
    if able.any():
        logits = np.stack(rows["logits"].to_numpy()[able])
        found[able] = fusion.log_ratios(logits, rows["survey"].to_numpy()[able])
    return found


def _surveys(rows: pd.DataFrame, wanted: NDArray[np.bool_], first: NDArray[np.intp]) -> pd.Series:
    ends = [*first[1:], len(rows)][: len(first)]
    names = rows["survey"].to_numpy(object)
    return pd.Series([names[a:b][wanted[a:b]].tolist() for a, b in zip(first, ends, strict=True)], dtype=object)


def _positions(rows: pd.DataFrame, first: NDArray[np.intp]) -> dict[str, Floats]:
    """Return ra, dec and epoch of each source, by its sharpest stack that has a position."""
    number = np.zeros(len(rows), int)
    number[first[1:]] = 1
    placed = rows.assign(number=number.cumsum()).sort_values(["number", "fwhm_arcsec", "survey"])
    placed = placed[placed["ra"].notna() & placed["dec"].notna()].drop_duplicates("number").set_index("number")
    placed = placed.reindex(range(len(first)))
    columns = {"ra": placed["ra"], "dec": placed["dec"], "pos_epoch": julian_year(placed["mjd"].astype(float))}
    return {name: column.to_numpy(float) for name, column in columns.items()}


def _with(found: pd.DataFrame, measures: pd.DataFrame, key: list[str], columns: list[str]) -> pd.DataFrame:
    """Return rows with what was measured of them; what is known of both counts as measured, unless that is nothing."""
    own = [name for name in columns if name in measures and name not in (*key, *(one.name for one in PROVENANCE))]
    both = found.merge(measures[[*key, *own]], on=key, how="left", suffixes=("", "_measured"))
    for name in (name for name in own if f"{name}_measured" in both):
        both[name] = both.pop(f"{name}_measured").fillna(both[name])
    return both


def with_completeness(
    found: pd.DataFrame, rows: pd.DataFrame, single: pd.DataFrame, simulated: pd.DataFrame
) -> pd.DataFrame:  # fmt: skip
    """Return sources with the share of pairs like theirs that the best of their surveys finds.

    Parameters
    ----------
    found : pandas.DataFrame
        From `sources`.
    rows : pandas.DataFrame
        Scores, as for `sources`.
    single : pandas.DataFrame
        source_id, survey, snr_1, as measured: of the brighter star in each filter; of the stack where it was not.
    simulated : pandas.DataFrame
        Of `catalogs.stamps.COMPLETENESS`.
    """
    pairs = found.loc[found["sep_arcsec"].notna(), ["source_id", "sep_arcsec", "delta_mag"]]
    seen = rows.loc[_able(rows), ["source_id", "survey", "snr"]].merge(pairs, on="source_id")
    power = single.assign(power=single["snr_1"] ** 2).groupby(["source_id", "survey"])["power"].sum(min_count=1)
    seen = seen.merge(np.sqrt(power).rename("snr_1").reset_index(), "left", ["source_id", "survey"])
    seen["snr"] = seen["snr_1"].fillna(seen["snr"])
    numbers = (seen[name].to_numpy(float) for name in ("snr", "sep_arcsec", "delta_mag"))
    share = completeness.of(simulated, seen["survey"].to_numpy(object), *numbers) if len(seen) else np.empty(0)
    best = pd.Series(share, seen["source_id"].to_numpy(object), float).groupby(level=0).max()
    return found.assign(completeness=best.reindex(found["source_id"]).to_numpy(float))
