"""Pairs of images → matches, then differences, significances, candidates and triplets, band by band of rows."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from catalogs import write
from catalogs.candidates import CANDIDATES, Flag
from catalogs.folder import Folder
from pipeline import manifest, stores
from pipeline.errors import Missing, Reason, Rejected
from pipeline.images import image, triplets
from pipeline.images.frame import UNUSABLE
from pipeline.images.harvest import Pair, harvest
from pipeline.images.match import Match, match
from pipeline.images.selftest import SelfTest, Zero, both, calibrated, examine
from pipeline.images.subtract import Band, subtract
from pipeline.images.view import Image
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import DifferenceSettings, MatchSettings, digest
from pipeline.stage import InputOutcome, Product, Stage, State
from pipeline.stores import Array, Template

__all__ = [
    "DIFFERENCE",
    "MATCH",
    "DifferenceImages",
    "MatchImages",
    "band_rows",
    "difference_path",
    "matched",
    "part_path",
]

MATCH, DIFFERENCE = "match_images", "difference_images"

#: Rows of the reference that one task subtracts, at most.
_ROWS = 1024

#: Pixels of them, at most: what bounds a worker's memory on wide images.
_PIXELS = 6 << 20


def band_rows(shape: tuple[int, int]) -> int:
    """Return how many rows the bands of an image have: all as many, none thin.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the reference.
    """
    ny, nx = shape
    bands = -(-ny // max(128, min(_ROWS, _PIXELS // nx)))
    return -(-ny // bands // 32) * 32


def match_path(pair_id: str) -> str:
    """Return where the match of a pair lies in the workspace."""
    return f"differences/{pair_id}.match.json"


def difference_path(pair_id: str) -> str:
    """Return where the difference of a pair lies in the workspace."""
    return f"differences/{pair_id}.zarr"


def part_path(pair_id: str, band: int) -> str:
    """Return where the candidates of a band of a pair lie in the workspace."""
    return f"differences/{pair_id}.candidates/part-{band:05d}.parquet"


def matched(workspace: Folder, pair_id: str) -> Match | None:
    """Return the match of a pair, or None if it was rejected or is not there."""
    try:
        return Match.from_json(workspace.read(match_path(pair_id)).decode())
    except FileNotFoundError:
        return None


class _OfPairs(Stage):
    """What both stages know of the pairs: one row each, science_id and reference_id with their folders.

    Parameters
    ----------
    workspace : Folder
        Holds images and receives differences.
    pairs : mapping
        pair_id → row of the plan of pairs: science, reference (``<survey>/<image_id>``), ref_after_event.
    settings : MatchSettings
        How.
    psfs : mapping
        ``science``, ``reference`` → stamp of a PSF that is known; none by default.
    """

    def __init__(
        self,
        workspace: Folder,
        pairs: Mapping[str, Mapping[str, Any]],
        settings: MatchSettings,
        psfs: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        super().__init__(workspace, settings)
        self.pairs = dict(pairs)
        self.psfs = dict(psfs or {})

    def images(self, pair_id: str) -> tuple[image.Image, image.Image]:
        """Return science image and reference of a pair."""
        row = self.pairs[pair_id]
        return image.load(self.workspace, row["science"]), image.load(self.workspace, row["reference"])

    def _of_images(self, pair_id: str) -> dict[str, str]:
        row = self.pairs[pair_id]
        found: dict[str, str] = {}
        for where in (row["science"], row["reference"]):
            found |= self.require(image.STAGE, image.key_of(where))
        found[f"pairs#{pair_id}"] = digest([row["science"], row["reference"], row["ref_after_event"]])
        for name, stamp in sorted(self.psfs.items()):
            found[f"psf/{name}"] = digest(np.asarray(stamp, float).tolist())
        return found


class MatchImages(_OfPairs):
    """Registration, PSFs and flux ratio of every pair."""

    name = MATCH
    version = 1
    settings: MatchSettings

    def __init__(
        self,
        workspace: Folder,
        pairs: Mapping[str, Mapping[str, Any]],
        settings: DifferenceSettings,
        psfs: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        super().__init__(workspace, pairs, settings.matching, psfs)

    def keys(self) -> list[Key]:
        """Return one key a pair, sorted."""
        return [Key("matches", pair_id, 0) for pair_id in sorted(self.pairs)]

    def inputs(self, key: Key) -> list[str]:
        """Return the pair."""
        return [key.where]

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the two images."""
        return self._of_images(key.where)

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Match one pair."""
        if key.where in skip:
            return Product([], 0, [skip[key.where]])
        try:
            found = self._match(key.where)
        except Rejected as error:
            self.workspace.remove(match_path(key.where))
            return Product([], 0, [InputOutcome.rejected(key.where, error)])
        data = found.to_json().encode()
        self.workspace.write(match_path(key.where), data)
        return Product(
            [Object.of(match_path(key.where), data)], 1, [InputOutcome(key.where, State.DONE)], _figures(found)
        )

    def probe(self, key: Key, name: str) -> None:
        """Match one pair and forget it."""
        self._match(key.where)

    def _match(self, pair_id: str) -> Match:
        science, reference = self.images(pair_id)
        found = match(
            science, reference, science.sources(), reference.sources(), self.psfs.get("science"),
            self.psfs.get("reference"), self.settings.reach, self.settings.max_stars,
        )  # fmt: skip
        if found.overlap < self.settings.min_overlap:
            raise Rejected(
                Reason.OVERLAP,
                f"the reference covers {found.overlap:.3f} of the science image, less than {self.settings.min_overlap}",
            )
        if not np.isfinite(found.flux_ratio_err):
            raise Rejected(
                Reason.NO_STARS, "no star is in both images, no zero point in both headers: flux ratio unknown"
            )
        if found.n_stars == 0 and len(self.psfs) < 2:
            raise Rejected(Reason.NO_STARS, "no star is in both images: give both PSFs, and the WCSs are believed")
        return found


def _figures(found: Match) -> dict[str, Any]:
    """Return what a person wants to know of a match."""
    ny, nx = found.reference_psf.shape
    return {
        "n_stars": found.n_stars, "offset_px": found.offset.tolist(), "align_rms_px": found.rms.tolist(),
        "jitter_px": found.jitter.tolist(), "overlap": found.overlap, "flux_ratio": found.flux_ratio,
        "flux_ratio_err": min(found.flux_ratio_err, 1e9), "science_fwhm_px": found.science_psf.fwhm(nx / 2, ny / 2),
        "reference_fwhm_px": found.reference_psf.fwhm(nx / 2, ny / 2), "psf_variation": found.science_psf.variation,
        "psf_stars": [found.science_psf.n_stars, found.reference_psf.n_stars], "smoothing_px": found.smoothing,
    }  # fmt: skip


class DifferenceImages(_OfPairs):
    """Every matched pair, subtracted band by band."""

    name = DIFFERENCE
    version = 1
    settings: DifferenceSettings

    def keys(self) -> list[Key]:
        """Return one key a band of a pair that is matched, sorted."""
        found = []
        for pair_id in sorted(self.pairs):
            if self.workspace.exists(match_path(pair_id)):
                found += self.bands(pair_id)
        return found

    def bands(self, pair_id: str) -> list[Key]:
        """Return the keys of the bands of a pair, whether it is matched or not."""
        shape = self.images(pair_id)[1].shape
        return [Key("differences", pair_id, band) for band in range(-(-shape[0] // band_rows(shape)))]

    def inputs(self, key: Key) -> list[str]:
        """Return the band."""
        return [f"{key.where} band {key.part}"]

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the match and the two images."""
        return self.require(MATCH, Key("matches", key.where, 0)) | self._of_images(key.where)

    def prepare(self) -> None:
        """Create the stores of all pairs."""
        for pair_id in dict.fromkeys(key.where for key in self.keys()):
            _, reference = self.images(pair_id)
            ny, nx = reference.shape
            rows = band_rows((ny, nx))
            layout = _template(pair_id, (ny, nx), rows, reference.details["wcs"], self.settings.compression)
            stores.create(self.workspace, difference_path(pair_id), layout, -(-ny // rows))
            layout = triplets.template(self.settings.triplet, compression=self.settings.compression)
            stores.create(self.workspace, triplets.path(pair_id), layout, -(-ny // rows))

    def probe(self, key: Key, name: str) -> None:
        """Subtract a band and forget it."""
        self.subtracted(key)

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Subtract one band."""
        name = self.inputs(key)[0]
        if name in skip:
            return Product([], 0, [skip[name]])
        band, pair, tested, zero = self.subtracted(key)
        table = harvest(band, pair, self.settings.threshold)
        table = triplets.assign(table, key.part)
        kept = table[table["triplet_row"].notna()]
        cut = triplets.cut(
            (band.science, band.reference, band.difference), kept["x"].to_numpy(), kept["y"].to_numpy(),
            self.settings.triplet, origin=(0, band.top), frame=band.tiles.shape,
        )  # fmt: skip
        table.loc[kept.index[cut.padded], "flags"] |= int(Flag.PADDED)
        objects = triplets.write(self.workspace, triplets.path(key.where), key.part, cut.pixels)
        rows = slice(band.y0 - band.top, band.y1 - band.top)
        planes = {name: getattr(band, name)[rows] for name in ("difference", "significance", "flux_err", "mask")}
        objects += stores.write(self.workspace, difference_path(key.where), key.part, planes)
        objects += [
            self._object(f"{path}/zarr.json") for path in (difference_path(key.where), triplets.path(key.where))
        ]
        objects.append(self._write_rows(key, table))
        details = {
            "selftest": tested.to_dict(),
            "noise_scale": zero.noise,
            "sky_offset": zero.offset,
            "psf_error": zero.psf_error,
            "rows": [band.y0, band.y1],
        }
        return Product(objects, len(table), [InputOutcome(name, State.DONE)], details)

    def _object(self, path: str) -> Object:
        return Object.of(path, self.workspace.read(path))

    def subtracted(
        self, key: Key, shown: Image | None = None, new: pd.DataFrame | None = None
    ) -> tuple[Band, Pair, SelfTest, Zero]:
        """Subtract a band, and write nothing.

        Parameters
        ----------
        key : Key
            The band.
        shown : Image, optional
            What stands for the science image, with something put into it.
        new : pandas.DataFrame, optional
            x, y (px of the reference) and snr of what was put there: no blank sky.

        Returns
        -------
        tuple
            The band, calibrated; its pair; its self-test; what was made right.

        Raises
        ------
        Missing
            If the pair is not matched.
        """
        science, reference = self.images(key.where)
        found = matched(self.workspace, key.where)
        if found is None:
            raise Missing(f"{key.where}: not matched; run difference_images")
        ny, nx = reference.shape
        rows = band_rows((ny, nx))
        y0, y1 = key.part * rows, min(ny, (key.part + 1) * rows)
        pad = self.settings.triplet // 2 + 1
        band = subtract(shown or science, reference, found, y0, y1, self.settings.tile, self.settings.mesh, pad)
        theirs = reference.sources()
        sources = both(science, reference, found, science.sources(), theirs)
        if new is not None:
            sources = pd.concat([sources, new.assign(bright=False, star=False)], ignore_index=True)
        fwhm = max(psf.fwhm(nx / 2, ny / 2) for psf in (found.science_psf, found.reference_psf))
        band, zero = calibrated(band, sources, fwhm, self.settings.mesh)
        row = self.pairs[key.where]
        pair = Pair(
            key.where, science.details, reference.details, found, found.warp(science, reference), theirs,
            row["ref_after_event"],
        )  # fmt: skip
        return band, pair, examine(band, sources, fwhm), zero

    def _write_rows(self, key: Key, table: pd.DataFrame) -> Object:
        own = {
            "catalog_release": "draft", "stage_version": self.version, "settings_hash": self.settings.hash,
            "manifest_key": manifest.path(self.name, key),
        }  # fmt: skip
        rows = pa.Table.from_pandas(table.assign(**own), preserve_index=False)
        return Object(
            *write.write(self.workspace, part_path(key.where, key.part), CANDIDATES.conform(rows), CANDIDATES)
        )


@lru_cache(maxsize=8)
def _template(pair_id: str, shape: tuple[int, int], rows: int, wcs: str, compression: int) -> Template:
    """Return the layout of a difference's store."""
    nan = float("nan")
    planes = (
        ("difference", "float32", nan, "count", "D / F_D, counts of the science image (ZOGY eq. 13)"),
        ("significance", "float32", nan, "", "S_corr (ZOGY eq. 25), in sigmas"),
        ("flux_err", "float32", nan, "count", "error of a point source's flux; significance × flux_err is the flux"),
        ("mask", "uint16", 0, "", "bits of both images: 1 bad, 2 saturated, 4 cosmic ray, 8 trail, 16 hot or dead, "
         "32 edge, 64 weak"),
    )  # fmt: skip
    arrays = tuple(
        Array(name, dtype, ("y", "x"), fill, {"units": units, "long_name": text})
        for name, dtype, fill, units, text in planes
    )
    attrs = {"title": pair_id, "rows": "y", "rows_per_partition": rows, "ny": shape[0], "nx": shape[1], "wcs": wcs,
             "unusable": int(UNUSABLE)}  # fmt: skip
    return Template(arrays, {"x": shape[1]}, rows, compression, {}, attrs)
