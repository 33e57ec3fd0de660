"""Scores and measures of stamps, of all surveys and partitions → the catalogue of visual binaries, as a snapshot.

::

    scores of one model (a row a source and survey) ─┐
    stamps they were made from (… and filter)       ─┼→ combine → snapshots of the sources and of their filters
    measures, where there are any                   ─┘

Partitions in any order, or all at once, give the same bytes: what is made follows from the rows alone.
"""

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

import pandas as pd
import pyarrow as pa

from catalogs import review, write
from catalogs.columns import PROVENANCE
from catalogs.folder import Folder
from catalogs.stamp_measures import MEASURES, STAMP_MEASURES
from catalogs.stamps import STAMPS
from catalogs.table import Table
from catalogs.visual_binaries import VISUAL_BINARIES, VISUAL_BINARY_FILTERS, VISUAL_SCORES
from pipeline import manifest
from pipeline.commits import Log, each
from pipeline.doubles import filters, sources, with_completeness
from pipeline.errors import Missing
from pipeline.fusion import Fusion
from pipeline.manifest import Record
from pipeline.partition import Key
from pipeline.settings import VisualScoreSettings, digest
from pipeline.snapshots import Series, Snapshot
from pipeline.stamps import completeness, layout

__all__ = ["CURRENT", "VERSION", "Made", "Model", "combine", "follow", "publish", "tables"]

#: To be raised whenever the same scores and measures give other bytes.
VERSION = 2

#: The one file people open.
CURRENT = f"catalogs/{VISUAL_BINARIES.name}.parquet"

#: In the order in which they are committed and published: sources last, as they lead to the others.
_TABLES = (VISUAL_BINARY_FILTERS, VISUAL_BINARIES)


@dataclass(frozen=True)
class Model:
    """The model whose scores are combined: id, SHA-256 of its weights, and what its card says of fusion."""

    id: str
    sha256: str
    fusion: Fusion


@dataclass(frozen=True, eq=False)
class Made:
    """A catalogue that was made: its snapshots by table, the rows of its sources, and what is to be said of it."""

    snapshots: dict[str, Snapshot]
    sources: pd.DataFrame
    notes: list[str]


def combine(
    workspace: Folder, model: Model, settings: VisualScoreSettings, reviews: pd.DataFrame | None = None
) -> Made:
    """Put the catalogue of a model together and commit it; the same inputs give the snapshot that is there.

    Parameters
    ----------
    workspace : Folder
        Holds scores and measures, receives the snapshots.
    model : Model
        Whose scores.
    settings : VisualScoreSettings
        Prior, precision asked, and how far below the threshold is possible.
    reviews : pandas.DataFrame, optional
        Of `catalogs.review.labels`: what people said.

    Returns
    -------
    Made
        Not published yet.
    """
    started = time.time()
    scored, notes = _fresh(workspace, layout.SCORE, layout.score_folder(model.id))
    measured, more = _fresh(workspace, layout.MEASURE, "")
    rows, stamps = _scores(workspace, scored), _stamps(workspace, scored)
    whole, single = _measures(workspace, measured)
    asked = {name: getattr(settings, name) for name in ("prior", "precision_asked", "uncertain")}
    found = sources(rows, whole, model.fusion, **asked)
    simulated = completeness.read(workspace, f"catalogs/{VISUAL_BINARIES.name}/model={model.id}")
    if simulated is not None:
        found = with_completeness(found, rows, single, simulated)
    if reviews is not None:
        found = review.reviewed(found, reviews, "source_id")
    made = {VISUAL_BINARIES.name: found, VISUAL_BINARY_FILTERS.name: filters(rows, stamps, single, model.fusion)}
    how = {
        "asked": asked, "scores": sorted({record.settings_hash for record in scored}),
        "measures": sorted({record.settings_hash for record in measured}), "fusion": digest(model.fusion.model_dump()),
        "reviews": None if reviews is None else digest(review.consensus(reviews).to_dict("records")),
    }  # fmt: skip
    # By the rows themselves: which partition a source came into depends on what came before.
    contents = [sha256(write.to_bytes(_arrow(made[table.name], table, _BLANK), table)).hexdigest()
                for table in _TABLES]  # fmt: skip
    release = digest([contents, VERSION, how, model.sha256])[:16]
    snapshots = {}
    for table in _TABLES:
        series = Series(table, VERSION, model.id)
        origin = series.provenance(release, how) | {"model_id": model.id, "model_sha256": model.sha256}
        snapshots[table.name] = series.renewed(workspace, release) or series.commit(
            workspace, release, _arrow(made[table.name], table, origin), settings=how,
            upstream={manifest.path(record.stage, record.key): record.identity for record in (*scored, *measured)},
            inputs=len(rows), started=started,
        )  # fmt: skip
    return Made(snapshots, found, notes + more + _unmeasured(found, whole))


#: Provenance that is the same for whatever rows: to tell these from others by their contents.
_BLANK = {"catalog_release": "", "model_id": f"x-{'0' * 8}", "model_sha256": "0" * 64, "stage_version": 1,
          "settings_hash": "", "manifest_key": ""}  # fmt: skip


def _arrow(rows: pd.DataFrame, table: Table, origin: dict[str, Any]) -> pa.Table:
    full = rows.assign(**{column.name: origin[column.name] for column in PROVENANCE})
    return pa.Table.from_pandas(full.reindex(columns=table.names), table.arrow_schema(), preserve_index=False)


def publish(workspace: Folder, snapshots: dict[str, Snapshot]) -> None:
    """Make snapshots the tables people open; each atomically, sources last."""
    for table in _TABLES:
        Series(table, VERSION).publish(workspace, snapshots[table.name])


def follow(workspace: Folder, model_id: str) -> str:
    """Publish the newest snapshots of a model that has become production, if it has any; say what is shown now."""
    found = {table.name: Series(table, VERSION, model_id).newest(workspace) for table in _TABLES}
    whole = {name: one for name, one in found.items() if one is not None}
    if len(whole) < len(found):
        cure = f"python -m jobs.score_stamps --workspace {shlex.quote(str(workspace))} --model {model_id[:-9]}"
        return f"{model_id} has no catalogue: {workspace.url(CURRENT)} is left as it is; to make it: {cure}"
    publish(workspace, whole)
    return f"{workspace.url(CURRENT)}: {whole[VISUAL_BINARIES.name].rows} rows of {model_id}"


def _fresh(workspace: Folder, stage: str, prefix: str) -> tuple[list[Record], list[str]]:
    """Return the manifests of a stage that are not stale, by key, and notes of the others."""
    log, keys = Log(workspace), sorted(manifest.committed(workspace, stage, prefix))
    old = [key for key in keys if log.is_stale(manifest.path(stage, key))]
    fresh = [key for key in keys if key not in set(old)]
    found = [record for record in each(lambda key: manifest.read(workspace, stage, key), fresh) if record]
    return found, [f"left out, stale: {key}; run {stage} --overwrite" for key in old]


def _scores(workspace: Folder, records: Sequence[Record]) -> pd.DataFrame:
    """Return a row for each source and survey, sorted."""
    paths = [f"catalogs/{record.key}.parquet" for record in records]
    found = each(lambda path: write.read(workspace, path, VISUAL_SCORES), paths)
    rows = pa.concat_tables([VISUAL_SCORES.empty(), *found]).to_pandas()
    order = ["source_id", "survey", "filters", "fwhm_arcsec"]
    return rows.sort_values(order, ignore_index=True).drop_duplicates(order[:2], ignore_index=True)


def _stamps(workspace: Folder, scored: Sequence[Record]) -> pd.DataFrame:
    """Return the index of the stamps that went into the stacks that were scored."""
    stacks = [manifest.read(workspace, layout.STACK, layout.stacks_key(Key.parse(record.key))) for record in scored]
    upstream = {path for record in stacks if record is not None for path in record.upstream}
    keys = sorted(path.removeprefix(f"manifest/{layout.INGEST}/").removesuffix(".json") for path in upstream
                  if path.startswith(f"manifest/{layout.INGEST}/"))  # fmt: skip
    records = [record for record in each(lambda key: manifest.read(workspace, layout.INGEST, key), keys) if record]
    paths = [path for record in records for path in tables(record)]
    found = each(lambda path: write.read(workspace, path, STAMPS), paths)
    return pa.concat_tables([STAMPS.empty(), *found]).to_pandas()


def _unmeasured(found: pd.DataFrame, measures: pd.DataFrame) -> list[str]:
    """Return in words how many sources have no measures, if any has none."""
    absent = int((~found["source_id"].isin(measures["source_id"])).sum())
    if not absent:
        return []
    what = "without separations, angles and what Gaia says"
    return [f"{absent} of {len(found)} sources are not measured, {what}; run measure_stamps, then this again"]


def _measures(workspace: Folder, records: Sequence[Record]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what was measured of sources, and of each of their filters."""
    paths = [path for record in records for path in tables(record)]
    whole, single = (
        each(partial(write.read, workspace, schema=table), [path for path in paths if kind in path])
        for kind, table in ((".sources/", MEASURES), (".stamps/", STAMP_MEASURES))
    )
    return _joined(whole, MEASURES), _joined(single, STAMP_MEASURES)


def _joined(found: Sequence[pa.Table], schema: Table) -> pd.DataFrame:
    whole = pa.concat_tables([schema.empty(), *found])
    # Through floats, Gaia's numbers would become others.
    rows = whole.to_pandas(types_mapper=_NULLABLE.get, ignore_metadata=True)
    key = list(schema.key)
    if (twice := rows.duplicated(key)).any():
        raise Missing(f"measured twice: {rows.loc[twice, key].iloc[0].to_list()}; run measure_stamps --overwrite")
    return rows


_NULLABLE = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


def tables(record: Record) -> list[str]:
    """Return the paths of the tables that a commit consists of, but for the outcomes."""
    paths = [one.path for one in record.objects]
    return [path for path in paths if path.endswith(".parquet") and not path.startswith("outcomes/")]
