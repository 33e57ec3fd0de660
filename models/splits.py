"""Which triplets are learnt from, which choose the epoch, and which only judge, so that nothing is seen twice.

Whatever else is asked, a fold holds whole objects and whole fields. Rows are joined that share an object, a field, or
sky: where two of their cutouts can have a pixel of sky in common, the same reference is seen in both. What is joined is
one unit, whichever survey its rows are of, and a unit is in one fold. Simulated fields lie at places that mean nothing:
of them the field alone counts, never the place.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from models.data import FOLDS, chance, side
from models.planes import SIZE
from pipeline.errors import Leak, UsageError
from pipeline.images.footprints import unit_vectors
from pipeline.settings import TrainSettings

__all__ = ["SPLITS", "check", "on_sky", "prove", "rule", "split", "units"]

#: What a fold of triplets may hold out as a whole, beside objects and fields.
SPLITS = ("field", "temporal", "ccd", "filter", "survey", "kind")

_SAME = 5.0  # arcsec: nearer than this it is the same source, however small the cutouts
_SLACK = 2.0  # arcsec: what rounding may hide when units are made; `prove` needs none
_SIMULATED = "simulated"  # how the names of surveys begin that no sky belongs to
_SHOWN = 5  # names in a message

Rows = NDArray[np.bool_]


def split(index: pd.DataFrame, settings: TrainSettings) -> pd.DataFrame:
    """Return rows with their `fold`; proven to have no leak.

    Parameters
    ----------
    index : pandas.DataFrame
        Columns of `catalogs.triplets.TRIPLETS`.
    settings : TrainSettings
        seed, validation, test, folds, fold and split_by. ``field``: units are drawn. ``temporal``: the test is the
        latest share of the rows. ``ccd``, ``filter``, ``survey``: the test is some drawn ones, or with ``ccd:NAME`` the
        named one; of a unit that has both sides rows of one side are left out, drawn by unit. ``kind``, ``kind:NAME``:
        units are drawn, and neither training nor validation has a row of that kind, real or bogus.

    Returns
    -------
    pandas.DataFrame
        Rows that are in a fold, with `fold`: train, validation or test. Of weight 0 there are none in training.

    Raises
    ------
    UsageError
        If a fold lacks real or bogus rows, or what is split by is not known of all rows.
    Leak
        If an object, a field or a piece of sky is in two folds.
    """
    by, _, name = settings.split_by.partition(":")
    if by not in SPLITS:
        raise UsageError(f"split_by {settings.split_by}: triplets are split by {', '.join(SPLITS)}")
    if settings.validation + settings.test >= 1:
        shares = f"validation {settings.validation} + test {settings.test}"
        raise UsageError(f"{shares}: nothing is left to train on; make them smaller")
    unit = units(index)
    if by in ("field", "kind"):
        fold = unit.map({one: side(one, settings) for one in unit.unique()}).to_numpy()
        kept = np.ones(len(index), bool) if by == "field" else (fold == "test") | ~_kind(index, name, settings)
    else:
        fold, kept = _sides(unit, _apart(index, by, name, settings), settings)
    done = index.assign(fold=fold)[kept]
    done = done[(done["fold"] != "train") | (done["weight"] > 0)] if "weight" in done else done
    check(done, settings)
    prove(done)
    return done.reset_index(drop=True)


def rule(settings: TrainSettings) -> str:
    """Return in a sentence or two who is in which fold, for a card.

    Parameters
    ----------
    settings : TrainSettings
        As for `split`.
    """
    unit = "a unit is all that shares an object, a field or sky, UNIT the first of the names of its fields"
    drawn = f"of seed:{{}}, as a number in [0, 1), against the shares of test and validation; {unit}"
    by = settings.split_by.partition(":")[0]
    if by == "field":
        return "sha256 " + drawn.format("UNIT")
    if by == "kind":
        return "sha256 " + drawn.format("UNIT") + "; training and validation have no row of the kind held out"
    test = "the latest rows, by the share of test" if by == "temporal" else f"what is held out of {by}"
    return (f"test: {test}; of a unit that has both sides those of one are left out; validation: sha256 of "
            f"seed:UNIT:validation, as a number in [0, 1), against its share; {unit}")  # fmt: skip


def units(index: pd.DataFrame) -> pd.Series:
    """Return the unit of each row: the first of the names of its fields (objects, candidates), in their order.

    Raises
    ------
    UsageError
        If a row has neither field nor object.
    """
    names = index["field"].astype(str).where(index["field"].astype(str) != "", index["object_id"].astype(str))
    if (names == "").any():
        raise UsageError(f"{int((names == '').sum())} triplets have neither field nor object_id: what they share with "
                         "others cannot be told; give one or the other")  # fmt: skip
    rows, count = np.arange(len(index)), len(index)
    pairs = []
    for column in ("field", "object_id"):
        code, _ = pd.factorize(index[column].astype(str).replace("", np.nan))
        there = code >= 0
        pairs.append(np.stack([rows[there], count + code[there]], 1))
        count += int(code.max(initial=-1)) + 1
    joined = _joined(np.concatenate(pairs), count)[: len(index)]
    joined = _joined(np.concatenate([*pairs, _neighbours(index, joined)]), count)[: len(index)]
    return names.groupby(joined).transform("min")


def _joined(pairs: NDArray[np.int64], count: int) -> NDArray[np.int32]:
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return labels


def on_sky(index: pd.DataFrame) -> Rows:
    """Return which rows lie on the real sky: those with a place (ra, dec), but none of a simulated survey."""
    if not {"ra", "dec"} <= set(index):
        return np.zeros(len(index), bool)
    rows = index["ra"].notna() & index["dec"].notna()
    if "survey" in index:
        rows &= ~index["survey"].astype(str).str.startswith(_SIMULATED)
    return rows.to_numpy(bool)


def _places(index: pd.DataFrame) -> pd.DataFrame:
    """Return x, y, z (unit vector) and reach (arcsec) of the rows that lie on the real sky, by row number."""
    table = index.reset_index(drop=True)[on_sky(index)]
    if table.empty:
        return pd.DataFrame(columns=["x", "y", "z", "reach"], dtype=float)
    # Circles round two cutouts touch where their middles are as far apart as half diagonals add up to.
    diagonal = table["pixscale"].to_numpy(float) * SIZE * np.sqrt(2) if "pixscale" in table else np.zeros(len(table))
    reach = np.fmax(diagonal, _SAME) / 2
    places = pd.DataFrame(unit_vectors(table["ra"], table["dec"]), table.index, ["x", "y", "z"])
    return places.assign(reach=reach)


def _chord(arcsec: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(2 * np.sin(np.radians(np.asarray(arcsec) / 3600) / 2))


def _neighbours(index: pd.DataFrame, joined: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return pairs of rows whose cutouts share sky, as many as are needed to join all that do."""
    places = _places(index)
    cell = places[["x", "y", "z"]].mul(1 / _chord(_SLACK / 2)).round()
    # Rows of one unit within an arcsec or so are joined already: one of them, of the largest reach, stands for all.
    first = cell.assign(unit=joined[places.index], reach=places["reach"]).sort_values("reach", ascending=False)
    some = places.loc[first.drop_duplicates(["x", "y", "z", "unit"]).index]
    if len(some) < 2:
        return np.empty((0, 2), np.int64)
    tree = KDTree(some[["x", "y", "z"]].to_numpy())
    reach = some["reach"].to_numpy()
    near = tree.query_pairs(float(_chord(2 * reach.max() + _SLACK)), output_type="ndarray")
    apart = np.linalg.norm(tree.data[near[:, 0]] - tree.data[near[:, 1]], axis=1)
    near = near[apart <= _chord(reach[near].sum(1) + _SLACK)]
    return some.index.to_numpy(np.int64)[near]


def _kind(index: pd.DataFrame, name: str, settings: TrainSettings) -> Rows:
    """Return the rows of the kind that training must not see: the named one, or one drawn of the bogus kinds."""
    kinds = sorted(set(index.loc[index["label"] == 0, "kind"]) - {""})
    if not name and not kinds:
        raise UsageError("split_by kind: no bogus row has a kind; say which, as in kind:transient")
    chosen = name or min(kinds, key=lambda kind: chance(f"{settings.seed}:kind {kind}"))
    return _named(index["kind"].astype(str), chosen, "kind")


def _named(values: pd.Series, name: str, by: str) -> Rows:
    rows: Rows = (values == name).to_numpy()
    if not rows.any():
        there = ", ".join(sorted(set(values) - {""})) or "none"
        raise UsageError(f"split_by {by}:{name}: no triplet has it; there are {there}")
    return rows


def _apart(index: pd.DataFrame, by: str, name: str, settings: TrainSettings) -> Rows:
    """Return the rows that only the test may see."""
    if by == "temporal":
        times = index["mjd_mid"].to_numpy(float)
        if np.isnan(times).any():
            raise UsageError(
                f"split_by temporal: {int(np.isnan(times).sum())} triplets have no mjd_mid; leave them out"
            )
        rows: Rows = times >= np.quantile(times, 1 - settings.test, method="higher")
        return rows
    values = index[by].astype(str)
    if by == "ccd":  # numbers of detectors mean nothing without their camera
        whole = (index["survey"].astype(str) + "/" + values).where(values != "", "")
        values = whole if not name or "/" in name else values
    if name:
        return _named(values, name, by)
    groups = sorted(set(values) - {""}, key=lambda one: chance(f"{settings.seed}:{by} {one}"))
    if len(groups) < 2 or (values == "").any():
        raise UsageError(f"split_by {by}: it takes two or more, known of all triplets; here are "
                         f"{', '.join(sorted(groups)) or 'none'}, and {int((values == '').sum())} of none")  # fmt: skip
    return values.isin(groups[: max(1, round(settings.test * len(groups)))]).to_numpy()


def _sides(unit: pd.Series, apart: Rows, settings: TrainSettings) -> tuple[NDArray[np.object_], Rows]:
    """Return fold of each row, and which rows are kept, where some rows are for the test alone.

    A unit of one side goes there; one that has both goes where chance says, and loses its rows of the other.
    """
    if settings.folds is not None:
        raise UsageError(f"split_by {settings.split_by} has one test, no folds; leave folds out, or split by field")
    share = pd.Series(apart, unit.index).groupby(unit).mean()
    tested = {
        one: part == 1 or (part > 0 and chance(f"{settings.seed}:{one}:side") < 0.5) for one, part in share.items()
    }
    chosen = {one: chance(f"{settings.seed}:{one}:validation") < settings.validation for one in tested}
    folds = {one: "test" if test else "validation" if chosen[one] else "train" for one, test in tested.items()}
    return unit.map(folds).to_numpy(), unit.map(tested).to_numpy(bool) == apart


def check(done: pd.DataFrame, settings: TrainSettings) -> None:
    """Check that each fold has both labels.

    Parameters
    ----------
    done : pandas.DataFrame
        fold, label, field.
    settings : TrainSettings
        How it was split, for the message.

    Raises
    ------
    UsageError
        If one has not.
    """
    for fold in FOLDS:
        labels = set(done.loc[done["fold"] == fold, "label"])
        if labels != {0, 1}:
            lacking = " and ".join(n for v, n in ((1, "real"), (0, "bogus")) if v not in labels)
            raise UsageError(
                f"no {lacking} triplet in the {fold} fold ({len(done)} triplets of {done['field'].nunique()} fields, "
                f"split by {settings.split_by}): give more fields, larger shares (settings validation and test), "
                "or another --seed"
            )


def prove(index: pd.DataFrame) -> None:
    """Check that no object, no field and no sky is in two folds.

    Parameters
    ----------
    index : pandas.DataFrame
        fold, field, object_id; where they are known ra, dec (degrees), survey, pixscale (arcsec a pixel). Rows of
        another survey are compared, too, but none of a simulated one, whose places mean nothing.

    Raises
    ------
    Leak
        If two folds share one of these, or have rows whose cutouts share sky, or that are nearer than 5 arcsec; the
        message names some.
    """
    for column, what in (("object_id", "object"), ("field", "field")):
        names = index[column].astype(str)
        folds = index.loc[names != "", "fold"].groupby(names[names != ""]).nunique()
        if (shared := folds.index[folds > 1]).size:
            raise Leak(f"in two folds: {what} {_some(list(shared))}; split by models.splits.split, which joins them")
    table = index.reset_index(drop=True)
    places = _places(table)
    folds_here = table.loc[places.index, "fold"]
    parts = [places[folds_here == fold] for fold in sorted(folds_here.unique())]
    for number, first in enumerate(parts):
        for second in parts[number + 1 :]:
            if shared := _overlaps(table, first, second):
                raise Leak(
                    f"the same sky in two folds: {_some(shared)}; split by models.splits.split, which joins them"
                )


def _overlaps(table: pd.DataFrame, first: pd.DataFrame, second: pd.DataFrame) -> list[str]:
    """Return which rows of two folds share sky, in words."""
    trees = [KDTree(part[["x", "y", "z"]].to_numpy()) for part in (first, second)]
    reach = [part["reach"].to_numpy() for part in (first, second)]
    limit = float(_chord(reach[0].max() + reach[1].max()))
    near = trees[0].sparse_distance_matrix(trees[1], limit, output_type="ndarray")
    near = near[near["v"] < _chord(reach[0][near["i"]] + reach[1][near["j"]])]
    name = table["object_id"].astype(str).where(table["object_id"].astype(str) != "", table["field"].astype(str))
    found = zip(name[first.index[near["i"]]], name[second.index[near["j"]]], strict=True)
    return [f"{one} and {other}" for one, other in dict.fromkeys(found)]


def _some(names: list[str]) -> str:
    shown = ", ".join(map(str, names[:_SHOWN]))
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
