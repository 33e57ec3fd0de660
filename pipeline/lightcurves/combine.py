"""Scores of all sectors → the catalogue of eclipsing binaries, one row a system, as an immutable snapshot.

::

    scores → draft: evidence a star, candidates → (Systems: ephemerides, vetting) → combine → snapshot

Everything in a snapshot follows from what it was made from: sectors in any order, or all at once, give the same bytes.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from catalogs import review, schema, write
from catalogs.binaries import Flag
from catalogs.folder import Folder
from catalogs.known import JOINT, KnownList, is_new, known_in
from pipeline import manifest
from pipeline.errors import Missing
from pipeline.lightcurves import recovery, scored, search, snapshot
from pipeline.lightcurves.blends import blend_groups
from pipeline.lightcurves.evidence import Calibration, evidence
from pipeline.lightcurves.scored import Scored
from pipeline.lightcurves.search import Systems
from pipeline.lightcurves.snapshot import CURRENT, VERSION, Snapshot, current_model, newest, publish, snapshots
from pipeline.settings import SystemsSettings, digest

__all__ = [
    "CURRENT",
    "Draft",
    "Snapshot",
    "combine",
    "current_model",
    "discard",
    "draft",
    "forgotten",
    "newest",
    "publish",
    "snapshots",
]

_FACTS = ["pmra", "pmdec", "teff", "radius"]

#: Epoch of the TIC's positions.
_EPOCH = 2000.0


@dataclass(frozen=True, eq=False)
class Draft:
    """A catalogue in the making: the probability of every star, and who gets an ephemeris.

    Attributes
    ----------
    workspace : Folder
        Where everything lies.
    model_id, model_sha256 : str
        The model.
    calibration : Calibration or None
        The model's.
    scored : Scored
        What it has scored.
    rows : pandas.DataFrame
        Where the light curves are, one a sector, and what their headers say.
    stars : pandas.DataFrame
        `pipeline.lightcurves.evidence.evidence` of every star.
    systems : Systems
        The stage that finds the candidates' ephemerides; to be run before `combine`.
    unscored : tuple of int
        Stars that were listed but have no score, as they have no segment long enough.
    """

    workspace: Folder
    model_id: str
    model_sha256: str
    calibration: Calibration | None
    scored: Scored
    rows: pd.DataFrame
    stars: pd.DataFrame
    systems: Systems
    unscored: tuple[int, ...]


def draft(
    workspace: Folder,
    model_id: str,
    model_sha256: str,
    calibration: Calibration | None = None,
    settings: SystemsSettings | None = None,
    listed: Collection[int] = (),
) -> Draft:
    """Weigh all scores of a model and choose the candidates.

    Parameters
    ----------
    workspace : Folder
        Holds scores, segments and light curves.
    model_id, model_sha256 : str
        The model.
    calibration : Calibration, optional
        The model's.
    settings : SystemsSettings, optional
        Who is a candidate.
    listed : collection of int
        Stars that are candidates whatever they score.

    Raises
    ------
    Missing
        If there are no scores of this model.
    Stale
        If scores were made from curves that have changed since.
    """
    settings = settings or SystemsSettings.load(None, "systems")
    found = scored.read(workspace, model_id)
    stars = evidence(found.segments, calibration)
    rows = scored.one_a_sector(scored.rows(workspace, found.curves), found.segments)
    chosen = search.choose(stars, rows, found, settings.min_p, listed)
    systems = Systems(workspace, model_id, chosen, settings)
    unscored = tuple(sorted(set(map(int, listed)) - set(stars["tic_id"])))
    return Draft(workspace, model_id, model_sha256, calibration, found, rows, stars, systems, unscored)


def combine(made: Draft, known: Sequence[KnownList] = ()) -> Snapshot:
    """Put the catalogue together and commit it; the same inputs give the snapshot that is there.

    Parameters
    ----------
    made : Draft
        Whose systems are found.
    known : sequence of KnownList
        Published lists that stars are looked up in, in whatever order.

    Raises
    ------
    Missing
        If a partition of systems is not committed.
    """
    started, workspace = time.time(), made.workspace
    keys = made.systems.keys()
    records = [manifest.read(workspace, Systems.name, key) for key in keys]
    missing = [str(key) for key, record in zip(keys, records, strict=True) if record is None]
    if missing:
        raise Missing(f"{workspace}: no systems of {', '.join(missing[:3])}; run score_sectors again")
    found = [record for record in records if record is not None]
    upstream = made.scored.upstream | {manifest.path(Systems.name, record.key): record.identity for record in found}
    measured = recovery.read(workspace, made.model_id)
    upstream |= {} if measured is None else measured.upstream
    settings: dict[str, Any] = {
        "systems": made.systems.settings.model_dump(mode="json"),
        "calibration": None if made.calibration is None else made.calibration.model_dump(mode="json"),
        "known": sorted(map(_digest, known)),
    }
    said = review.labels(workspace, schema.STARS.name)
    if len(said):  # what nobody has reviewed stays the release it was
        settings["labels"] = digest(review.consensus(said).to_dict("records"))
    release = digest([upstream, VERSION, settings])[:16]
    if (done := snapshot.renewed(workspace, made.model_id, release)) is not None:
        return done
    tables = [write.read(workspace, search.path(record.key), schema.SYSTEMS) for record in found]
    systems = pa.concat_tables([schema.SYSTEMS.empty(), *tables]).to_pandas(types_mapper=_nullable)
    stars = _with_lists(_with_blends(_stars(made, systems)), known)
    stars = stars if measured is None else measured.joined(stars)
    names = [review.system_name(*star) for star in zip(stars["tic_id"], stars["eb_id"], strict=True)]
    stars = review.reviewed(stars, said, pd.Series(names, stars.index, object))
    origin = snapshot.provenance(made.model_id, made.model_sha256, release, settings)
    wanted = stars.assign(**origin).drop(columns=["low_threshold"])
    return snapshot.commit(
        workspace, made.model_id, release, pa.Table.from_pandas(wanted, preserve_index=False),
        settings=settings, upstream=upstream, inputs=len(made.scored.segments), started=started,
        details={"known": sorted(one.name for one in known)},
    )  # fmt: skip


def forgotten(made: Draft, known: Sequence[KnownList]) -> str | None:
    """Return what is to be said where the newest catalogue was looked up in lists that the next one will not be."""
    before = snapshot.origin(made.workspace, made.model_id)
    if before is None or not (gone := set(before.details.get("known", ())) - {one.name for one in known}):
        return None
    lists = f"known lists of snapshot {before.details['snapshot']['number']} ({', '.join(sorted(gone))})"
    return f"{lists} are not used this time: give --known again"


def discard(workspace: Folder, model_id: str, stores: Collection[str]) -> None:
    """Undo the systems of a model's newest catalogue, so that those of stars that failed are looked for once more.

    Parameters
    ----------
    workspace : Folder
        Holds them.
    model_id : str
        The model.
    stores : collection of str
        Only partitions that rest on light curves of these, ``s0001``. Those of older catalogues alone are kept.
    """
    shown = snapshot.origin(workspace, model_id)
    records = [
        manifest.read(workspace, snapshot.STAGE, key)
        for key in manifest.committed(workspace, snapshot.STAGE, snapshot.folder(model_id))
    ]
    older = {path for one in records if one for path in one.upstream} - set(shown.upstream if shown else ())
    for key, path in manifest.committed(workspace, Systems.name, f"{Systems.name}/model={model_id}").items():
        record = None if path in older else manifest.read(workspace, Systems.name, key)
        rests_on = {name.split("/")[-2].rpartition("=")[2] for name in record.upstream} if record else set()
        # Of scores the folder is sector=0001, of light curves s0001.
        if rests_on & {*stores, *(store[1:] for store in stores)}:
            manifest.discard(workspace, Systems.name, key)


def _nullable(dtype: pa.DataType) -> Any:
    # A column of integers with holes stays one.
    return {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}.get(dtype)


def _stars(made: Draft, systems: pd.DataFrame) -> pd.DataFrame:
    """Return one row a system: the star's facts, when it was seen, the verdict and the system's ephemeris."""
    stars = made.stars.merge(_seen(made.scored.segments), on="tic_id", validate="one_to_one")
    stars = stars.merge(_facts(made.rows), on="tic_id", how="left", validate="one_to_one")
    systems = systems.drop(columns="contaminant_depth").astype({"tic_id": "int64"})
    joined = stars.assign(ref_epoch=_EPOCH).merge(systems, on="tic_id", how="left", validate="one_to_many")
    return joined.assign(eb_id=joined["eb_id"].fillna(1).astype("int32"))


def _seen(segments: pd.DataFrame) -> pd.DataFrame:
    """Return when and how each star was observed, of segments sorted by star, sector, cadence, segment.

    Place and brightness come from its last sector, the period from its most significant periodogram.
    """
    grouped = segments.groupby("tic_id", sort=True)
    columns: dict[str, Any] = {name: grouped[name].last() for name in ("ra", "dec", "tmag")}
    by_sector = segments.drop_duplicates(["tic_id", "sector"]).groupby("tic_id", sort=True)
    columns |= {"sectors": by_sector["sector"].agg(list), "cadence_s": by_sector["cadence_s"].agg(list)}
    columns |= {"n_cadences": grouped["n_cadences"].sum(), "n_segments": grouped.size()}
    columns |= {"t_start": grouped["t_start"].min(), "t_end": grouped["t_end"].max()}
    spent = (segments["n_cadences"] * segments["cadence_s"] / 86400).groupby(segments["tic_id"], sort=True).sum()
    span = columns["t_end"] - columns["t_start"] + by_sector["cadence_s"].last() / 86400
    columns["duty_cycle"] = (spent / span).clip(upper=1)
    by_power = segments.sort_values(["tic_id", "gls_power"], kind="stable", na_position="first")
    columns["gls_period"] = by_power.groupby("tic_id", sort=True)["gls_period"].last()
    return pd.DataFrame(columns).reset_index()


def _facts(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what headers say of each star, the last sector that knows it first, and its lowest CROWDSAP."""
    grouped = rows.sort_values(["tic_id", "sector"], kind="stable").groupby("tic_id", sort=True)
    columns = {name: grouped[name].last() for name in _FACTS} | {"crowdsap_min": grouped["crowdsap"].min()}
    return pd.DataFrame(columns).reset_index()


def _with_blends(stars: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the neighbours that share an ephemeris; what is likely another's is flagged."""
    found = stars[stars["period"].notna()].rename(columns={"crowdsap_min": "crowdsap"})
    stars = stars.join(blend_groups(found.astype({"crowdsap": float, "tmag": float})))
    elsewhere = (stars["source_tic_id"] != stars["tic_id"]).fillna(False).astype(bool)
    stars.loc[elsewhere, "flags"] |= int(Flag.BLENDED)
    return stars


def _with_lists(stars: pd.DataFrame, known: Sequence[KnownList]) -> pd.DataFrame:
    """Return the rows with the lists that have the star, and of likely binaries whether none calls them one."""
    if not known:
        return stars
    tic_id, ra, dec = stars["tic_id"].to_numpy(), stars["ra"].to_numpy(float), stars["dec"].to_numpy(float)
    lists = sorted(known, key=lambda one: one.name)
    named = [JOINT.join(names) or None for names in known_in(tic_id, ra, dec, lists)]
    fresh = pd.Series(is_new(named, stars["tier"]), stars.index, object)
    return stars.assign(known_in=pd.Series(named, stars.index, object), is_new=fresh)


def _digest(known: KnownList) -> str:
    return digest([known.name, known.stars.to_csv(index=False)])
