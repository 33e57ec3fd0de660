"""Stamps of all surveys → ``measures/``: what fits of one and of two stars say of each source and each stamp.

A source is measured in the partition of the first survey, by name, that has it, with its stamps of all surveys.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from distributed import Client

from catalogs import write
from catalogs.folder import Folder
from catalogs.stamp_measures import MEASURES, STAMP_MEASURES
from catalogs.stamps import StampFlag
from pipeline import manifest, stores
from pipeline.errors import FATAL, Missing
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.report import Report
from pipeline.run import run
from pipeline.settings import MeasureSettings, digest
from pipeline.stage import InputOutcome, Product, Stage, State
from pipeline.stamps import ingest, odds, plan, status
from pipeline.stamps.chance import chance, read_counts, surface_density
from pipeline.stamps.gaia import Gaia, modified_julian_date
from pipeline.stamps.measure import Measure, measure
from pipeline.stamps.picture import Stamp
from pipeline.stamps.psf import Psf, nominal
from pipeline.stamps.stars import Example, example, isolated, psf_among
from pipeline.stamps.surveys import REACH, able, get

__all__ = ["STAGE", "MeasureStamps", "forecast", "measure_stamps", "planned", "psfs_of", "sources_path", "stamps_path"]

STAGE = "measure_stamps"

#: A stamp on one core, s, about (of the demo's sources, most of which can tell).
_SECONDS = 0.35

#: Stars of one survey and filter that tell of its PSF, and stamps that are looked at for them, at most.
_EXAMPLES, _LOOKED = 40, 150

#: Noise of a star that tells of the PSF, over what it has in its middle.
_NOISE = 0.15

#: Said of a source of which only lists of stars tell.
_UNSEEN = "no stamp of a survey that resolves 2.5 arcsec shows enough of it"

#: What is said of a pair that star counts tell nothing of.
_UNLIT = (
    "no p_chance: the second star's magnitude is not known in the filter of the counts, for want of a zero point; or "
    "the counts are of nowhere near it, or of no stars so faint or so bright"
)

#: Name of Gaia's magnitude of the source, and what `counts_filter` calls that band.
_BRIGHT, _GAIA = "phot_g_mean_mag", "G"


def sources_path(key: Key) -> str:
    """Return where the measures of a partition's sources lie."""
    return f"measures/{key.where}.sources/part-{key.part:05d}.parquet"


def stamps_path(key: Key) -> str:
    """Return where the measures of a partition's stamps lie."""
    return f"measures/{key.where}.stamps/part-{key.part:05d}.parquet"


class MeasureStamps(Stage):
    """Fits of one and of more stars to the stamps of the sources of a partition.

    Parameters
    ----------
    workspace : Folder
        Holds the stamps, receives the measures.
    settings : MeasureSettings
        How many components, and where Gaia's stars and star counts are.
    """

    name = STAGE
    version = 7

    settings: MeasureSettings

    def __init__(self, workspace: Folder, settings: MeasureSettings) -> None:
        super().__init__(workspace, settings)
        given = {"gaia": settings.gaia, "counts": settings.counts}
        self.lists = {name: sha256(Path(path).read_bytes()).hexdigest() for name, path in given.items() if path}
        self._index: pd.DataFrame | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_index": None}

    @property
    def index(self) -> pd.DataFrame:
        """The index of all committed stamps, with slug and part, and the partition (home, number) of each source."""
        if self._index is None:
            keys = [Key.parse(text) for text in sorted(manifest.committed(self.workspace, plan.STAGE, "stamps"))]
            tables = [ingest.read_index(self.workspace, key).assign(slug=key.where, part=key.part) for key in keys]
            whole = (
                pd.concat(tables, ignore_index=True)
                if tables
                else pd.DataFrame(columns=["source_id", "slug", "part", "row"])
            )
            whole = whole.sort_values(["slug", "part", "row"], ignore_index=True, kind="stable")
            first = whole.drop_duplicates("source_id").set_index("source_id")
            self._index = whole.assign(
                home=whole["source_id"].map(first["slug"]), number=whole["source_id"].map(first["part"])
            )
        return self._index

    def _of(self, key: Key) -> pd.DataFrame:
        index = self.index
        return index[(index["home"] == key.where) & (index["number"] == key.part)]

    def keys(self) -> list[Key]:
        """Return the partitions of stamps that are the first to have a source."""
        pairs = self.index[["home", "number"]].drop_duplicates()
        return sorted(Key("measures", home, int(part)) for home, part in pairs.itertuples(index=False))

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the partitions of stamps that show these sources, which they are, what is known of their surveys, and
        the lists of stars."""
        # A survey that is added may become the first to have a source, which then belongs to another partition.
        found = self.lists | {"sources": digest(self.inputs(key))}
        found["odds"] = odds.identity()
        for slug, part in self._of(key)[["slug", "part"]].drop_duplicates().itertuples(index=False):
            found |= self.require(plan.STAGE, Key("stamps", slug, int(part)))
            survey = get(slug, self.settings.surveys)
            found[f"survey/{slug}"] = survey.sha256
            found[f"zero point/{slug}"] = f"{survey.zeropoint} per {'second' if survey.per_second else 'exposure'}"
        return found

    def inputs(self, key: Key) -> list[str]:
        """Return the sources of a partition."""
        return sorted(self._of(key)["source_id"].unique())

    def probe(self, key: Key, name: str) -> None:
        """Measure one source, writing nothing."""
        rows = self._of(key)
        stamps = [stamp for _, stamp in self._stamps(rows[rows["source_id"] == name])]
        measure(stamps, most=self.settings.most, psfs=psfs_of(stamps))

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Measure the sources of a partition; one that fails spoils no other."""
        rows = self._of(key)
        made = self._stamps(rows[~rows["source_id"].isin(list(skip))])
        psfs = psfs_of([stamp for _, stamp in made])
        by_source: dict[str, list[Stamp]] = {name: [] for name in self.inputs(key)}
        places: dict[str, tuple[float, float]] = {}
        for row, stamp in made:
            by_source[row["source_id"]].append(stamp)
            places.setdefault(row["source_id"], (row["ra"], row["dec"]))
        lists = _Lists(self.settings)
        outcomes, sources, stamps = list[InputOutcome](), list[dict[str, Any]](), list[dict[str, Any]]()
        for name, own in by_source.items():
            if name in skip:
                outcomes.append(skip[name])
                continue
            try:
                found = measure(own, *places[name], self.settings.most, psfs)
                told = lists.told(found, *places[name])
            except FATAL:
                raise
            except Exception as error:  # noqa: BLE001 — whatever it was, it was this source's
                text = f"{type(error).__name__}: {error}"
                outcomes.append(InputOutcome(name, State.FAILED, "exception", text))
                continue
            if found.source["n_images"]:
                unlit = np.isnan(told.get("p_chance", 0.0))
                outcomes.append(InputOutcome(name, State.DONE, None, _UNLIT if unlit else None))
            else:
                outcomes.append(InputOutcome(name, State.NOTHING, None, _UNSEEN))
            sources.append({"source_id": name} | found.source | told)
            stamps += [{"source_id": name} | row for row in found.rows]
        objects = [
            Object(*write.write(self.workspace, sources_path(key), MEASURES.of(sources), MEASURES)),
            Object(*write.write(self.workspace, stamps_path(key), STAMP_MEASURES.of(stamps), STAMP_MEASURES)),
        ]
        return Product(objects, len(sources), outcomes)

    def _stamps(self, rows: pd.DataFrame) -> list[tuple[dict[str, Any], Stamp]]:
        """Return rows of the index, each with its stamp."""
        found = []
        for (slug, _), group in rows.groupby(["slug", "part"], sort=True):
            first, last = int(group["row"].min()), int(group["row"].max())
            where = ingest.store_path(slug)
            arrays = stores.read(self.workspace, where, ("stamp", "mask"), slice(first, last + 1))
            for row in group.to_dict("records"):
                at = row["row"] - first
                found.append((row, self._stamp(row, arrays["stamp"][at], arrays["mask"][at])))
        return found

    def _stamp(self, row: dict[str, Any], image: Any, mask: Any) -> Stamp:
        survey = get(row["survey"], self.settings.surveys)
        told = row["fwhm_arcsec"]
        fwhm = told if np.isfinite(told) and told > 0 else survey.filter(row["filter"]).fwhm_arcsec
        zeropoint = row["zeropoint"] if np.isfinite(row["zeropoint"]) else survey.magnitude(row["exptime_s"])
        return Stamp(image, mask, row["noise"], row["survey"], row["filter"], row["pixscale"], row["x0"], row["y0"],
                     row["mjd"], float(fwhm), bool(np.isfinite(told)), zeropoint=zeropoint,
                     oriented=not row["flags"] & int(StampFlag.UNORIENTED),
                     able=able(survey) and max(fwhm, 2 * row["pixscale"]) <= REACH)  # fmt: skip


def psfs_of(stamps: list[Stamp]) -> dict[tuple[str, str], Psf]:
    """Return the PSF that stars tell for each survey and filter, where there are enough: others of the stamps, else the
    sources."""
    groups: dict[tuple[str, str], list[Stamp]] = {}
    for stamp in stamps:
        if stamp.able:
            groups.setdefault((stamp.survey, stamp.filter), []).append(stamp)
    found = {name: psf_among(_examples(group), nominal(1.0)) for name, group in groups.items()}
    return {name: psf for name, psf in found.items() if psf.n_stars}


def _examples(stamps: list[Stamp]) -> list[Example]:
    found: list[Example] = []
    for stamp in stamps[:_LOOKED]:
        places = [*map(tuple, isolated(stamp)[:2]), (stamp.x0, stamp.y0)]
        for x, y in places:
            try:
                one = example(stamp, x, y, stamp.psf)
            except FATAL:
                raise
            except Exception:  # noqa: BLE001 — what is wrong with it is told when its own source is measured
                continue
            if one is not None and one.noise < _NOISE:
                found.append(one)
        if len(found) >= _EXAMPLES:
            break
    return found


class _Lists:
    """Lists of stars that sources are compared with."""

    def __init__(self, settings: MeasureSettings) -> None:
        self.gaia = Gaia.read(settings.gaia) if settings.gaia else None
        self.counts = read_counts(settings.counts) if settings.counts else None
        self.filter = settings.counts_filter

    def told(self, found: Measure, ra: float, dec: float) -> dict[str, Any]:
        """Return p_chance and Gaia's columns of a source, by the place where it was asked for if no other is known."""
        source, told = found.source, dict[str, Any]()
        if np.isfinite(source["ra"]):
            ra, dec = source["ra"], source["dec"]
        bright: Any = np.nan
        if self.gaia is not None:
            dates = [row["mjd"] for row in found.rows if np.isfinite(row["mjd"])]
            mjd = float(np.median(dates)) if dates else np.nan
            if np.isfinite(source["ra"]):
                mjd = modified_julian_date(source["pos_epoch"])
            error = source["sep_arcsec_err"]
            matched = self.gaia.match(
                ra, dec, source["ra_2"], source["dec_2"], 0 if np.isnan(error) else error, mjd,
                source["sep_arcsec"], source["pa_deg"],
            )  # fmt: skip
            bright = matched.pop(_BRIGHT)
            told |= matched
        if self.counts is not None and np.isfinite(source["sep_arcsec"]):
            mags = [row["mag_2"] for row in found.rows if self.filter in (None, row["filter"])]
            mags = [one for one in mags if np.isfinite(one)]
            if not mags and self.filter in (None, _GAIA):
                mags = [bright + source["delta_mag"]]
            density = surface_density(self.counts, float(np.median(mags or [np.nan])), ra, dec)
            told["p_chance"] = float(chance(source["sep_arcsec"], density))
        return told


def measure_stamps(
    client: Client | None, workspace: Folder, settings: MeasureSettings, overwrite: bool = False
) -> Iterator[Report]:
    """Measure all sources whose stamps are committed.

    Parameters
    ----------
    client : distributed.Client or None
        Where to work; None: here.
    workspace : Folder
        Holds the stamps, receives the measures.
    settings : MeasureSettings
        How many components, and lists of stars.
    overwrite : bool
        Replace what was made with other settings or inputs, or is damaged; the rest is as it would be made again.

    Yields
    ------
    report : Report
        Of the stage.

    Raises
    ------
    Missing
        If there is no stamp.
    UsageError
        If a list of stars cannot be read.
    Mismatch, Stale
        If something was made with other settings or inputs, naming all of it.
    """
    stage = planned(workspace, settings)
    workspace.sweep()
    status.renew(stage, overwrite)
    yield run(stage, client)


def forecast(workspace: Folder, settings: MeasureSettings, workers: int, overwrite: bool = False) -> str:
    """Return in words what `measure_stamps` would do with so many processes; nothing is written.

    Raises
    ------
    Missing, UsageError, Mismatch, Stale
        As `measure_stamps`.
    """
    stage = planned(workspace, settings)
    keys = stage.keys()
    again = set(status.outdated(stage, overwrite))
    done = set(manifest.committed(workspace, STAGE)) - again
    left = [key for key in keys if str(key) not in done]
    sources = sum(len(stage.inputs(key)) for key in left)
    images = sum(len(stage._of(key)) for key in left)
    minutes = images * _SECONDS / max(min(workers, len(left)), 1) / 60
    time = f"about {minutes:.0f} min with {workers} workers" if minutes >= 1 else "under a minute"
    lines = [
        f"sources to measure: {sources}, of {images} stamps, in {len(left)} partitions; {len(keys) - len(left)} "
        f"partitions there already; {time if left else 'nothing to do'}"
    ]
    if again:
        lines.append(f"to be replaced: {', '.join(sorted(again))}")
    return "\n".join(lines)


def planned(workspace: Folder, settings: MeasureSettings) -> MeasureStamps:
    """Return the stage, once all that it reads is known to be readable: before anything is undone for it.

    Parameters
    ----------
    workspace : Folder
        Holds the stamps.
    settings : MeasureSettings
        Names the lists of stars, and the table of further surveys.

    Raises
    ------
    Missing
        If there is no stamp.
    UsageError
        If a list of stars cannot be read, or stamps are of a survey that is not known.
    """
    _Lists(settings)
    stage = MeasureStamps(workspace, settings)
    if not stage.keys():
        cure = f"python -m jobs.ingest_stamps --archive DIR --workspace {workspace}"
        raise Missing(f"{workspace}: no stamps; run ingest_stamps first: {cure}")
    for slug in stage.index["slug"].unique():
        get(slug, settings.surveys)
    return stage
