"""What a model has scored: segments and stars, the partitions they come from, and where the light curves are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import manifest, stores
from pipeline.commits import each
from pipeline.errors import Missing, Stale
from pipeline.lightcurves import ingest, preprocess
from pipeline.manifest import Record
from pipeline.partition import CADENCES, Key, partition_size, where_cadence, where_sector

__all__ = ["Scored", "one_a_sector", "read", "rows"]

_SCORES = "eclipsing_binary_scores"
_KEYS = ["sector", "cadence_s", "tic_id", "segment"]
_GIVEN = ["score", "p_ea", "p_beta", "p_ew", "p_ell", "morph", "morph_err"]
_INDEX = ["t_start", "t_end", "n_cadences", "gls_period", "gls_power", "ra", "dec", "tmag"]
_FACTS = ["pmra", "pmdec", "teff", "radius", "crowdsap"]
_UPSTREAM = "manifest/preprocess/"


@dataclass(frozen=True, eq=False)
class Scored:
    """Everything a model has scored.

    Attributes
    ----------
    upstream : dict
        Path → identity of the manifests of the scores.
    curves : dict
        Partition of curves → path of the manifest of its scores.
    segments : pandas.DataFrame
        One row a segment, of one cadence a sector, by star, sector and segment: what the model gave and the index.
    """

    upstream: dict[str, str]
    curves: dict[Key, str]
    segments: pd.DataFrame


def read(workspace: Folder, model_id: str) -> Scored:
    """Return what a model has scored.

    Raises
    ------
    Missing
        If there are no scores of this model.
    Stale
        If scores were made from curves that have changed since.
    """
    records = _records(workspace, model_id)
    curves = {_curves(record): manifest.path("score", record.key) for record in records}
    frames = each(lambda record: _segments(workspace, record), records)
    joined = pd.concat(frames, ignore_index=True)
    segments = one_a_sector(joined).sort_values(["tic_id", "sector", "cadence_s", "segment"], ignore_index=True)
    upstream = {manifest.path("score", record.key): record.identity for record in records}
    return Scored(upstream, curves, segments)


def one_a_sector(observed: pd.DataFrame, chosen: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the rows of one cadence a star and sector: in several of them its photons are the same.

    Parameters
    ----------
    observed : pandas.DataFrame
        tic_id, sector, cadence_s, and what else there is.
    chosen : pandas.DataFrame, optional
        Segments of which this was asked before: where a star has some in a sector, their cadence is taken. Elsewhere
        it is the first of `pipeline.partition.CADENCES`.
    """
    rank = observed["cadence_s"].map({cadence: order for order, cadence in enumerate(CADENCES)})
    if chosen is not None:
        names = ["tic_id", "sector", "cadence_s"]
        own, wanted = (pd.MultiIndex.from_frame(table[names].astype("int64")) for table in (observed, chosen))
        rank = rank.where(~own.isin(wanted), -1)
    return observed[rank == rank.groupby([observed["tic_id"], observed["sector"]]).transform("min")]


def _records(workspace: Folder, model_id: str) -> list[Record]:
    keys = sorted(manifest.committed(workspace, "score", f"{_SCORES}/model={model_id}"))
    records = [record for record in each(lambda key: manifest.read(workspace, "score", key), keys) if record]
    for record, changed in zip(records, each(lambda record: manifest.stale(workspace, record), records), strict=True):
        if changed is not None:
            cure = "run preprocess_sectors and score_sectors for that sector, with --overwrite"
            raise Stale(f"{record.key}: stale, {changed} has changed since; {cure}")
    if not records:
        raise Missing(f"{workspace}: no scores of {model_id}; run score_sectors")
    return records


def _curves(record: Record) -> Key:
    name = next(name for name in record.upstream if name.startswith(_UPSTREAM))
    return Key.parse(name.removeprefix(_UPSTREAM).removesuffix(".json"))


def _segments(workspace: Folder, record: Record) -> pd.DataFrame:
    """Return the scored segments of a partition with what their index says."""
    path = next(item.path for item in record.objects if item.path.startswith("catalogs/"))
    scores = write.read(workspace, path, schema.SCORES).select([*_KEYS, *_GIVEN]).to_pandas()
    table = write.read(workspace, preprocess.index_path(_curves(record)), schema.SEGMENTS)
    index = table.select([*_KEYS, *_INDEX]).to_pandas()
    return scores.merge(index, on=_KEYS, how="left", validate="one_to_one").astype(dict.fromkeys(_GIVEN, float))


def rows(workspace: Folder, parts: Iterable[Key], stars: Sequence[int] | None = None) -> pd.DataFrame:
    """Return where the light curves of stars lie, and what their headers say.

    Parameters
    ----------
    workspace : Folder
        Holds the light curves.
    parts : iterable of Key
        Partitions, of curves or light curves.
    stars : sequence of int, optional
        Stars wanted; default all.

    Returns
    -------
    pandas.DataFrame
        tic_id, store, part, row, sector, cadence_s; pmra, pmdec, teff, radius, crowdsap (NaN if unknown); by star and
        store.
    """
    wanted = None if stars is None else pa.array(sorted(set(stars)), pa.int64())
    frames = each(lambda key: _rows(workspace, key, wanted), sorted(set(parts)))
    columns = ["tic_id", "store", "part", "row", "sector", "cadence_s", *_FACTS]
    found = pd.concat([frame for frame in frames if len(frame)] or [pd.DataFrame(columns=columns)], ignore_index=True)
    numbers = dict.fromkeys(("tic_id", "part", "row", "sector"), "int64")
    return found.astype(numbers).sort_values(["tic_id", "store"], ignore_index=True)


def _rows(workspace: Folder, key: Key, wanted: pa.Array | None) -> pd.DataFrame:
    size, path = partition_size(where_cadence(key.where)), ingest.store_path(key.where)
    place = slice(key.part * size, (key.part + 1) * size)
    data = stores.read(workspace, path, ["tic_id", "valid", *_FACTS], place)
    kept = data["valid"].astype(bool)
    if wanted is not None:
        kept &= pc.is_in(pa.array(data["tic_id"]), wanted).to_numpy(zero_copy_only=False)
    numbers = np.flatnonzero(kept)
    columns = {"tic_id": data["tic_id"][numbers], "store": key.where, "part": key.part, "row": place.start + numbers}
    columns |= {"sector": where_sector(key.where), "cadence_s": float(where_cadence(key.where))}
    return pd.DataFrame(columns | {fact: data[fact][numbers].astype(float) for fact in _FACTS})
