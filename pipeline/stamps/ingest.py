"""Stamps of an archive → ``stamps/<survey>.zarr``, each on its survey's grid, and the index of them."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs import write
from catalogs.folder import Folder
from catalogs.stamps import STAMPS, StampFlag
from pipeline import stores
from pipeline.errors import FATAL, Reason, Rejected
from pipeline.fits import unprintable
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import StampSettings, digest
from pipeline.stage import InputOutcome, Product, Stage, State
from pipeline.stamps import grid, plan, reading
from pipeline.stamps.hits import hits
from pipeline.stamps.light import COSMIC_RAY, SATURATED, Light, Plane, in_words, stars
from pipeline.stamps.surveys import REACH, Survey, able, get
from pipeline.stores import Array, Template

__all__ = ["IngestStamps", "index_path", "read_index", "store_path", "template"]

#: S/N below which nothing is at a place, and from which something is elsewhere.
_NOTHING, _SOMETHING = 4.0, 20.0

Row = dict[str, Any]


def store_path(slug: str) -> str:
    """Return where the stamps of a survey lie in the workspace."""
    return f"stamps/{slug}.zarr"


def index_path(key: Key) -> str:
    """Return where the index of a partition of stamps lies."""
    return f"stamps/{key.where}.index/part-{key.part:05d}.parquet"


def read_index(workspace: Folder, key: Key) -> pd.DataFrame:
    """Return the index of a partition of stamps, as in the table STAMPS."""
    return write.read(workspace, index_path(key), STAMPS).to_pandas()


def template(survey: Survey, name: str, partition: int, meaning: str) -> Template:
    """Return the layout of a survey's stamps or stacks.

    Parameters
    ----------
    survey : Survey
        Whose grid it is.
    name : str
        Of the array of images: ``stamp`` or ``stack``.
    partition : int
        Rows a partition.
    meaning : str
        What a pixel is.
    """
    dims = ("row", "y", "x")
    bits = {"long_name": "1 saturated, 2 bad or missing, 4 cosmic ray"}
    arrays = (
        Array(name, "float32", dims, float("nan"), {"units": "count", "long_name": meaning}),
        Array("mask", "uint8", dims, 0, bits),
    )
    attrs = {"title": f"{name}s of {survey.name}", "rows": "row", "rows_per_partition": partition,
             "survey": survey.name}  # fmt: skip
    return Template(arrays, {"y": survey.side, "x": survey.side}, partition, 1, {}, attrs)


@dataclass(frozen=True, eq=False)
class _Stamp:
    """A stamp on its grid, its row of the index, and how bright its source and the brightest other thing are."""

    cut: grid.Cut
    row: Row
    here: float
    elsewhere: float
    away: float


class IngestStamps(Stage):
    """Stamps of some hundred sources of one survey into its store.

    Parameters
    ----------
    workspace : Folder
        Where the plan is and the store goes.
    archive : Folder
        Top of the files.
    slug : str
        The survey, as its plan is called.
    settings : StampSettings
        Names further surveys.
    """

    name = plan.STAGE
    version = 5

    settings: StampSettings

    def __init__(self, workspace: Folder, archive: Folder, slug: str, settings: StampSettings) -> None:
        super().__init__(workspace, settings)
        self.archive, self.slug = archive, slug
        self.survey = get(slug, settings.surveys)
        self._parts: dict[int, list[Row]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_parts": None}

    @property
    def parts(self) -> dict[int, list[Row]]:
        """Accepted rows of the plan by partition, by source and wavelength."""
        if self._parts is None:
            found: dict[int, list[Row]] = defaultdict(list)
            for row in plan.load(self.workspace, self.slug).to_pylist():
                if row["verdict"] == plan.ACCEPTED:
                    found[row["part"]].append(row)
            for rows in found.values():
                rows.sort(key=self._order)
            self._parts = dict(sorted(found.items()))
        return self._parts

    def _order(self, row: Row) -> tuple[str, float, str]:
        return row["source_id"], self.survey.filter(row["filter"]).wavelength_um, row["filter"]

    @property
    def origin(self) -> dict[str, str]:
        """The archive that the files' paths are relative to."""
        return {"archive": self.archive.root}

    def keys(self) -> list[Key]:
        """Return the partitions of the plan."""
        return [Key("stamps", self.slug, part) for part in self.parts]

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the plan's rows of a partition, and what is known of the survey, by digest."""
        fields = ("file", "size", "sha256", "source_id", "filter", "ra", "dec")
        rows = [[row[name] for name in fields] for row in self.parts[key.part]]
        return {f"{plan.path(self.slug)}#{key.part}": digest(rows), f"survey/{self.slug}": self.survey.sha256}

    def inputs(self, key: Key) -> list[str]:
        """Return the files of a partition."""
        return [row["file"] for row in self.parts[key.part]]

    def prepare(self) -> None:
        """Create the store, or let it grow."""
        layout = template(self.survey, "stamp", plan.capacity(self.survey), "counts as delivered, sky included")
        stores.create(self.workspace, store_path(self.slug), layout, max(self.parts, default=-1) + 1)

    def probe(self, key: Key, name: str) -> None:
        """Read and cut one file, writing nothing."""
        self._made(next(row for row in self.parts[key.part] if row["file"] == name))

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Cut the stamps of a partition and write those that are of use."""
        outcomes: dict[str, InputOutcome] = dict(skip)
        by_source: dict[str, list[_Stamp]] = defaultdict(list)
        for row in self.parts[key.part]:
            if row["file"] in skip:
                continue
            try:
                by_source[row["source_id"]].append(self._made(row))
            except Rejected as error:
                outcomes[row["file"]] = InputOutcome.rejected(row["file"], error)
            except FATAL:
                raise
            except Exception as error:  # noqa: BLE001 — whatever it was, it was this file's
                text = f"{type(error).__name__}: {error}"
                outcomes[row["file"]] = InputOutcome(row["file"], State.FAILED, "exception", text)
        stamps: list[_Stamp] = []
        for found in by_source.values():
            rejected = _missed(found)
            for one in found:
                file = one.row["file"]
                notes = filter(None, (in_words(one.row["flags"]), self.survey.doubt(one.row["filter"])))
                outcomes[file] = rejected.get(file) or InputOutcome(file, State.DONE, None, "; ".join(notes) or None)
            stamps += [one for one in found if one.row["file"] not in rejected]
        objects = self._write(key, stamps)
        return Product(objects, len(stamps), [outcomes[file] for file in self.inputs(key)])

    def _write(self, key: Key, stamps: list[_Stamp]) -> list[Object]:
        first = key.part * plan.capacity(self.survey)
        table = STAMPS.of([{"row": first + number, **one.row} for number, one in enumerate(stamps)])
        objects = [Object(*write.write(self.workspace, index_path(key), table, STAMPS))]
        if stamps:
            arrays: dict[str, Any] = {
                "stamp": np.stack([one.cut.image for one in stamps]),
                "mask": np.stack([one.cut.mask for one in stamps]),
            }
            objects += stores.write(self.workspace, store_path(self.slug), key.part, arrays)
        return objects

    def _made(self, row: Row) -> _Stamp:
        delivered = reading.read(self.archive, unprintable(row["file"]), planned=True)
        if delivered.sha256 != row["sha256"]:
            raise Rejected(Reason.CHANGED, f"not the file that was planned: sha256 {delivered.sha256[:12]}…")
        survey, seen = self.survey, grid.sight(delivered, self.survey, self.settings.pixscale)
        ra, dec = (np.nan if row[name] is None else row[name] for name in ("ra", "dec"))
        x, y = seen.place(ra, dec, delivered.image.shape)
        _check_inside(delivered.image, (x, y), seen.pixscale, survey.filter(row["filter"]).fwhm_arcsec)
        facts = delivered.facts
        width = survey.filter(row["filter"]).fwhm_arcsec / seen.pixscale
        image = delivered.image
        full = _saturated(image, (x, y), facts["saturation"], width)
        spoilt = np.where(full, SATURATED, np.where(hits(image, width), COSMIC_RAY, 0)).astype(np.uint8)
        spoilt |= delivered.mask
        cut = grid.cut(image, spoilt, (x, y), seen.axes(x, y), survey)
        plane = Plane(cut.image, row["filter"], cut.x0, cut.y0, cut.mask, cut.pixscale, facts["fwhm_arcsec"])
        made = _measured(plane, cut, seen.pixscale, survey, facts | row)
        made.row["flags"] |= 0 if seen.wcs is not None else int(StampFlag.UNORIENTED)
        return made


def _check_inside(image: NDArray[np.float32], place: tuple[float, float], pixscale: float, fwhm: float) -> None:
    """Check that a source is on an image, half a FWHM from the edge at least, and has pixels."""
    ny, nx = image.shape
    x, y = place
    margin = max(0.5 * fwhm / pixscale, 1.0)
    if not (margin <= x <= nx - 1 - margin and margin <= y <= ny - 1 - margin):
        where = f"the source is at pixel ({x:.1f}, {y:.1f}) of {nx} x {ny}"
        raise Rejected(Reason.OFF_CENTRE, f"{where}: outside, or at the edge; cut the stamp around it")
    rows, columns = np.arange(ny)[:, None] - y, np.arange(nx) - x
    near = image[rows**2 + columns**2 <= margin**2]
    if not np.isfinite(near).any():
        raise Rejected(Reason.ALL_NAN, f"no finite pixel at the source, pixel ({x:.1f}, {y:.1f})")


def _saturated(
    image: NDArray[np.float32], place: tuple[float, float], level: float, fwhm: float
) -> NDArray[np.bool_]:  # fmt: skip
    """Return which pixels are saturated: by the header's level, and where the source's top is flat."""
    with np.errstate(invalid="ignore"):
        full = image >= level if np.isfinite(level) else np.zeros(image.shape, bool)
    x, y, reach = round(place[0]), round(place[1]), max(int(2 * fwhm), 2)
    part = slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1)
    near = image[part]
    if np.isfinite(near).any():
        top, low = np.nanmax(near), np.nanmedian(image)
        flat = near == top
        if flat.sum() >= 4 and top - low > 20 * np.nanmedian(np.abs(image - low)) > 0:
            full[part] |= flat
    return full


def _measured(plane: Plane, cut: grid.Cut, pixscale_file: float, survey: Survey, told: Row) -> _Stamp:
    """Return a stamp with its row of the index."""
    light = Light(plane, survey)
    values = cut.image[np.isfinite(cut.image)]
    if not len(values) or values.min() == values.max():
        raise Rejected(Reason.CONSTANT, "blank around the source; fetch the stamp again")
    widths = np.empty(0) if np.isfinite(light.told) else stars(light)
    fwhm = light.told if np.isfinite(light.told) else np.median(widths) * cut.pixscale if len(widths) else np.nan
    flags = light.near(cut.x0, cut.y0) | (StampFlag.RESAMPLED if cut.is_resampled else 0)
    flags |= (0 if light.snr >= 5 else StampFlag.FAINT) | (0 if able(survey) else StampFlag.UNABLE)
    flags |= StampFlag.NOMINAL_FWHM if np.isnan(fwhm) else 0
    row = {name: told[name] for name in ("source_id", "ra", "dec", "filter", "file", "mjd", "exptime_s", "saturation",
                                         "zeropoint")}  # fmt: skip
    row |= {
        "survey": survey.name,
        "x0": cut.x0,
        "y0": cut.y0,
        "pixscale": cut.pixscale,
        "pixscale_file": pixscale_file,
        "fwhm_arcsec": float(fwhm),
        "noise": light.noise,
        "sky": light.level,
        "flags": int(flags),
    }
    beyond = np.where(light.distance > max(REACH / cut.pixscale, 2 * light.fwhm), light.smooth, -np.inf)
    at = np.unravel_index(int(np.argmax(beyond)), beyond.shape)
    away = float(light.distance[at]) * cut.pixscale
    return _Stamp(cut, row, light.snr, float(beyond[at]) / light.error, away)


def _missed(stamps: list[_Stamp]) -> dict[str, InputOutcome]:
    """Return the files of a source that is in none of them, while something bright is further away."""
    if not all(one.here < _NOTHING and one.elsewhere > _SOMETHING for one in stamps):
        return {}
    found = {}
    for one in stamps:
        what = f"nothing within {REACH} arcsec of the place asked for (S/N {one.here:.1f})"
        text = f"{what}, the brightest is {one.away:.1f} arcsec away (S/N {one.elsewhere:.0f}); check RA and Dec"
        file = one.row["file"]
        found[file] = InputOutcome.rejected(file, Rejected(Reason.OFF_CENTRE, text))
    return found
