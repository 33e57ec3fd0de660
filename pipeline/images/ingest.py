"""Images of an archive → ``images/<survey>/<image_id>.zarr`` with variance and mask, and the sources in them."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from catalogs import write
from catalogs.folder import Folder
from catalogs.images import IMAGE_SOURCES, IMAGES
from pipeline import stores
from pipeline.errors import Missing, Reason, Rejected, UsageError
from pipeline.fits import unprintable
from pipeline.images import coordinates, plan, sources
from pipeline.images.calibrate import References
from pipeline.images.exposure import Exposure
from pipeline.images.frame import UNUSABLE
from pipeline.images.image import INDEX, STAGE, Image, index, key_of, load, sources_path, store_path
from pipeline.images.reading import opened
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import ImageSettings, digest
from pipeline.stage import InputOutcome, Product, Stage, State
from pipeline.stores import Array, Template

__all__ = ["BAND", "Image", "IngestImages", "index", "load", "write_index"]

#: Rows of an image that are worked on, and lie in one object of its store, at a time.
BAND = 1024

#: Pixels of them, at most: what bounds a worker's memory on wide images.
_PIXELS = 6 << 20

#: Rows beyond a band that are worked on with it: sky, sources and trails do not end at its edge.
_MARGIN = 192

_NEFF = 4 * np.pi / (8 * np.log(2))  # noise pixels of a Gaussian PSF over FWHM²


def band_rows(shape: tuple[int, int]) -> int:
    """Return how many rows the bands of an image have, a multiple of 64.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    """
    return max(128, min(BAND, _PIXELS // shape[1] // 64 * 64))


def template(shape: tuple[int, int], title: str, compression: int) -> Template:
    """Return the layout of an image's store.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    title : str
        Name of the image.
    compression : int
        zstd level.
    """
    ny, nx = shape
    planes = (
        ("data", "float32", 0.0, "count", "counts, sky included; masked pixels are filled"),
        ("variance", "float32", 0.0, "count2", "variance of data"),
        ("mask", "uint16", 0, "", "1 bad, 2 saturated, 4 cosmic ray, 8 trail, 16 hot or dead, 32 edge, 64 weak"),
    )
    arrays = tuple(
        Array(name, dtype, ("y", "x"), fill, {"units": units, "long_name": text})
        for name, dtype, fill, units, text in planes
    )
    attrs = {"title": title, "rows": "y", "ny": ny, "nx": nx}
    return Template(
        arrays,
        {"x": nx},
        partition=min(band_rows(shape), -(-ny // 32) * 32),
        compression=compression,
        coords={},
        attrs=attrs,
    )


class IngestImages(Stage):
    """One image of an archive into its store.

    Parameters
    ----------
    workspace : Folder
        Where the plans are and the stores go.
    archive : Folder
        Top of the files.
    survey : str
        Whose plan is worked on.
    settings : ImageSettings
        What is looked for.
    references : mapping
        ``bias``, ``dark``, ``flat``, ``bad_pixels`` → file; none by default.
    """

    name = STAGE
    version = 1

    def __init__(
        self,
        workspace: Folder,
        archive: Folder,
        survey: str,
        settings: ImageSettings,
        references: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(workspace, settings)
        self.archive, self.survey = archive, survey
        self.references = dict(references or {})
        self._checksums: dict[str, str] = {}
        self._rows: dict[str, dict[str, Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_rows": None}

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """Accepted rows of the plan by image_id."""
        if self._rows is None:
            table = plan.load(self.workspace, self.survey)
            if table is None:
                where = self.workspace.url(plan.path(self.survey))
                raise Missing(f"{where}: no plan; run ingest_images")
            self._rows = {row["image_id"]: row for row in table.to_pylist() if row["verdict"] == plan.ACCEPTED}
        return self._rows

    @property
    def origin(self) -> dict[str, str]:
        """The archive that the files' paths are relative to."""
        return {"archive": self.archive.root}

    def _row(self, key: Key) -> dict[str, Any]:
        return self.rows[key.where.rsplit("/", 1)[1]]

    def keys(self) -> list[Key]:
        """Return one key an image, sorted."""
        return [key_of(f"{self.survey}/{image_id}") for image_id in sorted(self.rows)]

    def inputs(self, key: Key) -> list[str]:
        """Return the image: file and extension."""
        return [self._row(key)["input"]]

    def prepare(self) -> None:
        """Take the checksums of the calibration frames, once for all images."""
        for name, file in sorted(self.references.items()):
            folder, path = _apart(file)
            try:
                with opened(folder, path, self._limit) as found:
                    self._checksums[name] = found.sha256
            except Rejected as error:
                raise UsageError(f"--{name.replace('_', '-')} {file}: {error}") from error

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the plan's row of an image, and the calibration frames, by digest."""
        row = self._row(key)
        fields = ("file", "extension", "size", "sha256")
        identity = digest([row[name] for name in fields])
        frames = {f"calibration/{name}": checksum for name, checksum in self._checksums.items()}
        return {f"{plan.path(self.survey)}#{row['image_id']}": identity} | frames

    @property
    def _images(self) -> ImageSettings:
        assert isinstance(self.settings, ImageSettings)
        return self.settings

    @property
    def _limit(self) -> int:
        return int(self._images.max_gib * 2**30)

    def probe(self, key: Key, name: str) -> None:
        """Read and work on an image, writing nothing."""
        with ExitStack() as stack:
            exposure = self._open(stack, self._row(key))
            rows = band_rows(exposure.shape)
            exposure.survey(rows)
            for y0 in range(0, exposure.shape[0], rows):
                exposure.band(y0, min(exposure.shape[0], y0 + rows))

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Make one image's store."""
        row = self._row(key)
        if row["input"] in skip:
            return Product([], 0, [skip[row["input"]]])
        try:
            with ExitStack() as stack:
                exposure = self._open(stack, row)
                exposure.survey(band_rows(exposure.shape))
                objects, found, masked, noise = self._write(key.where, exposure)
        except Rejected as error:
            self.workspace.remove_tree(store_path(key.where))
            return Product([], 0, [InputOutcome.rejected(row["input"], error)])
        details = _details(row, exposure, found, masked, noise)
        objects.append(self._write_sources(key.where, found[0]))
        outcome = InputOutcome(row["input"], State.DONE, None, details["notes"] or None)
        return Product(objects, 1, [outcome], {"image": details})

    def _open(self, stack: ExitStack, row: Mapping[str, Any]) -> Exposure:
        file = stack.enter_context(opened(self.archive, unprintable(row["file"]), self._limit, planned=True))
        if file.sha256 != row["sha256"]:
            raise Rejected(Reason.CHANGED, f"not the file that was planned: sha256 {file.sha256[:12]}…")
        frames: dict[str, Any] = {}
        for name, path in self.references.items():
            folder, base = _apart(path)
            other = stack.enter_context(opened(folder, base, self._limit))
            number = next(iter(other.images()), 0)
            frames[name] = other.plane(number)
            if name == "dark":
                frames["dark_s"] = float(other.cards(number).get("EXPTIME", 0)) or 1.0
        return Exposure(file, int(row["extension"]), self._images, References(**frames))

    def _write(
        self, where: str, exposure: Exposure
    ) -> tuple[list[Object], tuple[pd.DataFrame, float | None], float, float]:
        """Write the bands; return objects, sources with the width of stars, share of masked pixels, sky noise."""
        ny, nx = exposure.shape
        path = store_path(where)
        layout = template(exposure.shape, where, self._images.compression)
        stores.create(self.workspace, path, layout, -(-ny // layout.partition))
        objects: list[Object] = []
        tables, widths, noises, unusable = [], [], [], 0
        for part, y0 in enumerate(range(0, ny, layout.partition)):
            y1 = min(ny, y0 + layout.partition)
            low, high = max(0, y0 - _MARGIN), min(ny, y1 + _MARGIN)
            band = exposure.band(low, high)
            core = slice(y0 - low, y1 - low)
            frame = band.frame
            arrays: dict[str, NDArray[Any]] = {
                "data": frame.data[core],
                "variance": frame.variance[core],
                "mask": frame.mask[core],
            }
            objects += stores.write(self.workspace, path, part, arrays)
            unusable += int(np.count_nonzero(arrays["mask"] & np.uint16(UNUSABLE)))
            noises.append(band.rms[core][8::16, 8::16].ravel())
            table = sources.detect(frame, band.level, band.rms, self._images.detection)
            width, fitted = sources.width_of_stars(frame, band.level, table)
            widths += [] if width is None else [(width, fitted)]
            table["y"] += low
            tables.append(table[(table["y"] >= y0 - 0.5) & (table["y"] < y1 - 0.5)])
        # Bands with more stars count more.
        width = _weighted_median(widths)
        table = pd.concat(tables, ignore_index=True)
        objects += [Object.of(f"{path}/{name}", self.workspace.read(f"{path}/{name}")) for name in _METADATA]
        return (
            objects,
            (sources.classify(table, width), width),
            unusable / (ny * nx),
            float(np.median(np.concatenate(noises))),
        )

    def _write_sources(self, where: str, table: pd.DataFrame) -> Object:
        rows = pa.Table.from_pandas(table.drop_duplicates(["y", "x"]), preserve_index=False)
        return Object(*write.write(self.workspace, sources_path(where), rows, IMAGE_SOURCES))


_METADATA = ("zarr.json", "data/zarr.json", "variance/zarr.json", "mask/zarr.json")


def _apart(file: str) -> tuple[Folder, str]:
    """Return the folder and the name of a file given on its own."""
    text = str(file)
    top, _, name = text.rpartition("/")
    return Folder(top or "."), name


def _weighted_median(pairs: list[tuple[float, int]]) -> float | None:
    if not pairs:
        return None
    values = np.repeat([value for value, _ in pairs], [count for _, count in pairs])
    return float(np.median(values))


def _details(
    row: Mapping[str, Any], exposure: Exposure, found: tuple[pd.DataFrame, float | None], masked: float, noise: float
) -> dict[str, Any]:
    """Return every fact of an image, as in the table IMAGES, in numbers that JSON knows."""
    table, width = found
    wcs, facts, shape = exposure.wcs, exposure.facts, exposure.shape
    ra, dec = wcs.all_pix2world((shape[1] - 1) / 2, (shape[0] - 1) / 2, 0)
    depth = None if width is None else 5 * noise * width * float(np.sqrt(_NEFF))
    limit = None if depth is None or facts.zp_ab is None else facts.zp_ab - 2.5 * float(np.log10(depth))
    details = asdict(facts) | {
        "image_id": row["image_id"],
        "file": row["file"],
        "extension": row["extension"],
        "sha256": row["sha256"],
        "estimated": ",".join(facts.estimated),
        "ny": shape[0],
        "nx": shape[1],
        "ra": float(ra) % 360,
        "dec": float(dec),
        "footprint": coordinates.footprint(wcs, shape),
        "pixscale": coordinates.pixel_scale(wcs),
        "sky": exposure.level,
        "sky_rms": noise,
        "fwhm": width,
        "n_stars": int(table["is_star"].sum()),
        "maglim_5sigma": limit,
        "depth": depth,
        "masked": masked,
        "undersampled": width is not None and width < 2,
        "sky_subtracted": exposure.subtracted,
        "wcs": coordinates.text_of(wcs),
        "notes": "; ".join(exposure.notes),
    }
    return json.loads(json.dumps({name: details[name] for name in IMAGES.names}))


def write_index(workspace: Folder) -> int:
    """Write the index of all committed images to ``catalogs/images.parquet``; return how many there are."""
    table = IMAGES.of(index(workspace).to_dict("records"))
    write.write(workspace, INDEX, table, IMAGES)
    return len(table)
