"""The results of one pair as files that stand alone: FITS images, candidates, triplets and a picture.

The images are written band by band; no image is ever in memory whole.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits
from numpy.typing import NDArray

from catalogs import write
from catalogs.candidates import CANDIDATES, FrameFlag, is_good
from catalogs.folder import Folder
from catalogs.pages import Picture
from pipeline import stores
from pipeline.images import coordinates, image, panel, triplets
from pipeline.images.assessment import Assessment, assess
from pipeline.images.combine import SERIES
from pipeline.images.difference import DifferenceImages, difference_path, matched
from pipeline.images.frame import Bit
from pipeline.images.harvest import Pair, frame_flags
from pipeline.images.match import Match
from pipeline.images.subtract import Tiles
from pipeline.images.thumbnails import Thumbnail, aligned

__all__ = ["FILES", "Result", "deliver", "picture", "survey"]

#: What is written, in the order in which it is put in place.
FILES = ("significance.fits", "footprint.fits", "candidates.parquet", "triplets.zarr", "panel.png", "difference.fits")

_STORE = "triplets.zarr"

#: Pixels from the middle of P_D to the edge of its extension, at most.
_HALF = 64

#: Rows that are read at a time.
_ROWS = 512

#: Triplets that the picture shows, at most.
_SHOWN = 12


@dataclass(frozen=True, eq=False)
class Result:
    """What is known of a pair that was subtracted.

    Parameters
    ----------
    workspace : Folder
        Holds it.
    stage : DifferenceImages
        That made it; of this pair alone.
    identity : str
        All that it follows from.
    """

    workspace: Folder
    stage: DifferenceImages
    identity: str

    @cached_property
    def pair_id(self) -> str:
        """The pair."""
        return next(iter(self.stage.pairs))

    @cached_property
    def images(self) -> tuple[image.Image, image.Image]:
        """Science image and reference."""
        row = self.stage.pairs[self.pair_id]
        return image.load(self.workspace, row["science"]), image.load(self.workspace, row["reference"])

    @cached_property
    def match(self) -> Match:
        """What was measured of the pair."""
        found = matched(self.workspace, self.pair_id)
        assert found is not None
        return found

    @cached_property
    def assessment(self) -> Assessment:
        """The self-test."""
        found = assess(self.workspace, self.stage.keys())
        assert found is not None
        return found

    @cached_property
    def flags(self) -> FrameFlag:
        """What there is to say of the pair."""
        science, reference = self.images
        after = self.stage.pairs[self.pair_id]["ref_after_event"]
        warp = self.match.warp(science, reference)
        pair = Pair(self.pair_id, science.details, reference.details, self.match, warp, pd.DataFrame(), after)
        return frame_flags(pair) | self.assessment.flags

    @cached_property
    def candidates(self) -> pd.DataFrame:
        """The candidates, with what the whole pair knows."""
        table = write.read(self.workspace, SERIES.current, CANDIDATES).to_pandas()
        return table[table["pair_id"] == self.pair_id].reset_index(drop=True)

    @cached_property
    def noise(self) -> float:
        """Median over bands of the factor by which correlation has made the noise larger."""
        return float(np.median(self.assessment.noise))

    @property
    def fwhm(self) -> tuple[float, float]:
        """FWHM of the PSFs of science image and reference in the middle of the reference, its px."""
        ny, nx = self.images[1].shape
        science, reference = (psf.fwhm(nx / 2, ny / 2) for psf in (self.match.science_psf, self.match.reference_psf))
        return science, reference

    def summary(self, out: Path) -> str:
        """Return what there is to say in lines that people read."""
        m, table, found = self.match, self.candidates, self.assessment
        scale = float(self.images[1].details["pixscale"])
        good = is_good(table["flags"])
        positive = table["is_positive"].to_numpy(bool)
        dx, dy = m.offset
        widths = ", ".join(
            f'{name} {width:.2f} px = {width * scale:.2f}"' for name, width in zip(_SIDES, self.fwhm, strict=True)
        )
        low, high = min(found.noise), max(found.noise)
        noise = f"{low:.3f}" if high - low < 0.0005 else f"{low:.3f} to {high:.3f} by band"
        lines = {
            "alignment": f"offset ({dx:+.3f}, {dy:+.3f}) px, residual ({m.rms[0]:.3f}, {m.rms[1]:.3f}) px RMS of "
            f"{m.n_stars} stars, degree {m.order}; the reference covers {m.overlap:.1%} of the science image",
            "registration": f"sigma ({m.jitter[0]:.4f}, {m.jitter[1]:.4f}) px in the noise of sources",
            "PSF (FWHM)": f"{widths}, of {m.science_psf.n_stars} and {m.reference_psf.n_stars} stars"
            + (f"; both smoothed by sigma {m.smoothing:.2f} px first" if m.smoothing else ""),
            "flux ratio": f"{m.flux_ratio:.5g} ± {m.flux_ratio_err:.2g} reference counts a science count",
            "noise": f"{noise} times what pixels scatter by: their correlation, and sources in them",
            "self-test": str(found),
            "remarks": "; ".join(flag.text for flag in FrameFlag if flag in self.flags & ~found.flags) or "none",
            "candidates": f"{len(table)}: {int((good & positive).sum())} good positive, "
            f"{int((good & ~positive).sum())} good negative, {int((~good).sum())} flagged",
            "files": f"{out}: {', '.join(sorted(FILES))}",
        }
        return "\n".join(f"  {name:<13}{text}" for name, text in lines.items())


_SIDES = ("science", "reference")


def deliver(result: Result, out: Path, work: Path) -> None:
    """Write the results of a pair.

    Parameters
    ----------
    result : Result
        What there is.
    out : Path
        Where they go; `difference.fits` comes last.
    work : Path
        Folder on the same disk to make them in: each appears whole.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    _write_images(result, work)
    (work / "candidates.parquet").write_bytes(result.workspace.read(SERIES.current))
    shutil.copytree(result.workspace.local(triplets.path(result.pair_id)), work / "triplets.zarr")
    (work / "panel.png").write_bytes(picture(result, *survey(result)).png)
    for name in FILES:
        target = out / name
        # A store is a folder, which nothing can be put over: `OnePair.claimed` has seen that it is ours.
        if name == _STORE and target.is_dir():
            shutil.rmtree(target)
        os.replace(work / name, target)
    shutil.rmtree(work)


def _write_images(result: Result, work: Path) -> None:
    """Write the three FITS images."""
    ny, _ = shape = result.images[1].shape
    sky = coordinates.wcs_from(result.images[1].details["wcs"]).to_fits(relax=True)
    facts = _facts(result)
    kinds: dict[str, tuple[int, dict[str, Any]]] = {
        "difference": (-32, _units(result)),
        "significance": (-32, {"BUNIT": ("", "sigmas"), "CONTENT": ("S_corr", "ZOGY 2016, eq. 25")}),
        "footprint": (16, {"BZERO": 32768, "BSCALE": 1, "CONTENT": ("mask bits of both images", "")} | _bits()),
    }
    streams = {
        name: fits.StreamingHDU(
            str(work / f"{name}.fits"), _header(shape, bitpix, sky[0].header, own | facts, result.flags)
        )
        for name, (bitpix, own) in kinds.items()
    }
    for y0 in range(0, ny, _ROWS):
        rows = slice(y0, min(ny, y0 + _ROWS))
        path = difference_path(result.pair_id)
        planes = stores.read(result.workspace, path, ("difference", "significance", "mask"), rows)
        mask = planes["mask"]
        outside = (mask & np.uint16(Bit.EDGE)) != 0
        for name in ("difference", "significance"):
            streams[name].write(np.where(outside, np.float32(np.nan), planes[name]))
        # Unsigned integers stand in FITS as signed ones less BZERO.
        streams["footprint"].write((mask.astype(np.int32) - 32768).astype(np.int16))
    for stream in streams.values():
        stream.close()
    for name in kinds:
        with fits.open(work / f"{name}.fits", mode="append", memmap=True) as file:
            if name == "difference":
                file.append(_psf(result))
            for table in sky[1:]:
                file.append(table.copy())


def _header(
    shape: tuple[int, int], bitpix: int, sky: fits.Header, cards: Mapping[str, Any], flags: FrameFlag
) -> fits.Header:
    header = fits.Header()
    for key, value in (("SIMPLE", True), ("BITPIX", bitpix), ("NAXIS", 2), ("NAXIS1", shape[1]), ("NAXIS2", shape[0])):
        header[key] = value
    header["EXTEND"] = True
    for key, value in cards.items():
        if key in ("BZERO", "BSCALE", "BUNIT"):
            header[key] = value
    header.extend((card for card in sky.cards if card.keyword not in _OWN), unique=True)
    for key, value in cards.items():
        header[key] = value
    for flag in FrameFlag:
        if flag in flags:
            header.add_comment(f"{int(flag)}: {flag.text}")
    return header


#: Cards of a WCS's header that say something of a file, or of an exposure, and not where it looks.
_OWN = ("SIMPLE", "BITPIX", "NAXIS", "EXTEND", "DATE-OBS", "MJD-OBS", "COMMENT", "HISTORY", "")


def _units(result: Result) -> dict[str, Any]:
    science = result.images[0]
    cards: dict[str, Any] = {
        "BUNIT": (science.facts.unit, "counts of the science image"),
        "CONTENT": ("D / F_D", "ZOGY 2016, eq. 13; P_D is extension PSF"),
    }
    if science.facts.zp_ab is not None:
        text = "AB magnitude of one count"
        cards |= {"MAGZP": (science.facts.zp_ab, text), "ZP_AB": (science.facts.zp_ab, text)}
    return cards


def _bits() -> dict[str, Any]:
    return {f"BIT{int(bit).bit_length() - 1:02d}": (bit.name, f"meaning of bit {int(bit)}") for bit in Bit}


def _facts(result: Result) -> dict[str, Any]:
    """Return the cards that say where all of it is from, and how good it is."""
    m, found = result.match, result.assessment
    science, reference = result.images
    cards: dict[str, Any] = {"SKYSIFT": (result.identity, "identity of inputs and settings")}
    for key, side in (("SCI", science), ("REF", reference)):
        name = f"{side.details['file']}[{side.details['extension']}]"
        cards[f"{key}FILE"] = (_ascii(name), "")
        cards[f"{key}SHA"] = (side.details["sha256"], "")
        cards[f"{key}MJD"] = (side.facts.mjd_mid, f"middle of exposure, {side.facts.time_scale}")
    facts = science.facts
    widths = result.fwhm
    cards |= {
        "TELESCOP": (_ascii(facts.mission), ""),
        "INSTRUME": (_ascii(facts.instrument), ""),
        "FILTER": (_ascii(facts.filter), ""),
        "EXPTIME": (facts.exptime_s, "s, science image"),
        "FLUXRAT": (m.flux_ratio, "reference counts a science count"),
        "FLUXRERR": (_finite(m.flux_ratio_err), "its error"),
        "NOISESCL": (result.noise, "correction of the noise for its correlation"),
        "NALIGN": (m.n_stars, "stars in both images"),
        "ALIGNX": (m.rms[0], "px, RMS residual of stars"),
        "ALIGNY": (m.rms[1], "px, RMS residual of stars"),
        "OFFSETX": (m.offset[0], "px, correction of the WCSs in the middle"),
        "OFFSETY": (m.offset[1], "px, correction of the WCSs in the middle"),
        "SIGMAX": (m.jitter[0], "px, sigma of registration in S_corr"),
        "SIGMAY": (m.jitter[1], "px, sigma of registration in S_corr"),
        "OVERLAP": (m.overlap, "share of the science image that is covered"),
        "SCIFWHM": (widths[0], "px of the reference"),
        "REFFWHM": (widths[1], "px"),
        "SMOOTH": (m.smoothing, "px, sigma that both images were smoothed by"),
        "STDBLANK": (_finite(found.selftest.blank.std), "robust std of S_corr on blank sky"),
        "STDSRC": (_finite(found.selftest.sources.std), "robust std of S_corr on bright sources"),
        "OVER5": (found.selftest.blank.beyond[1], "pixels of blank sky over 5 sigma"),
        "UNDER5": (found.selftest.blank.beyond[0], "pixels of blank sky under -5 sigma"),
        "SELFTEST": ("failed" if found.flags else "passed", ""),
        "FRMFLAGS": (int(result.flags), "bits on the pair, see the comments"),
    }
    return cards


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _psf(result: Result) -> fits.ImageHDU:
    """Return P_D of the tile in the middle."""
    shape = result.images[1].shape
    filters = Tiles(result.match, shape, result.stage.settings.tile).near(shape[1] / 2, shape[0] / 2)
    full = filters.psf_d
    half = min(_HALF, min(full.shape) // 2 - 1)
    stamp = np.roll(full, (half, half), (0, 1))[: 2 * half + 1, : 2 * half + 1]
    hdu = fits.ImageHDU(np.ascontiguousarray(stamp, np.float32), name="PSF")
    hdu.header["CONTENT"] = ("P_D", "ZOGY 2016, eq. 14, in the middle of the image")
    return hdu


def survey(result: Result) -> tuple[Thumbnail, NDArray[np.int64]]:
    """Return a small copy of the difference and the counts of S_corr, as `picture` wants them.

    Parameters
    ----------
    result : Result
        What there is.
    """
    ny, _ = shape = result.images[1].shape
    small, histogram = Thumbnail(shape), np.zeros(len(panel.EDGES) - 1, np.int64)
    for y0 in range(0, ny, _ROWS):
        rows, path = slice(y0, min(ny, y0 + _ROWS)), difference_path(result.pair_id)
        planes = stores.read(result.workspace, path, ("difference", "significance", "mask"), rows)
        outside = (planes["mask"] & np.uint16(Bit.EDGE)) != 0
        small.add(y0, np.where(outside, np.float32(np.nan), planes["difference"]))
        histogram += panel.counts(np.where(outside, np.float32(np.nan), planes["significance"]), planes["mask"])
    return small, histogram


def picture(result: Result, difference: Thumbnail, histogram: NDArray[np.int64]) -> Picture:
    """Draw a pair that was subtracted.

    Parameters
    ----------
    result : Result
        What there is.
    difference : Thumbnail
        Small copy of the difference.
    histogram : (n,) int64
        Of S_corr, as `pipeline.images.panel.counts` gives it.
    """
    science, reference = result.images
    small = [_small(side) for side in (science, reference)]
    warp = result.match.warp(science, reference)
    images = (aligned(small[0], small[1], warp), small[1].image, difference.image)
    table = result.candidates
    order = np.lexsort([-table["snr"].abs().to_numpy(), ~is_good(table["flags"])])
    table = table.iloc[order].reset_index(drop=True)
    shown = table["triplet_row"].iloc[:_SHOWN].dropna().astype(int)
    size = result.stage.settings.triplet
    cut = [_triplet(result, row) for row in shown]
    pixels = np.concatenate(cut) if cut else np.zeros((0, len(triplets.CHANNELS), size, size), np.float32)
    m, found = result.match, result.assessment.selftest
    facts = {
        "alignment": f"{m.rms[0]:.3f}, {m.rms[1]:.3f} px RMS, {m.n_stars} stars",
        "flux ratio": f"{m.flux_ratio:.4g} ± {m.flux_ratio_err:.1g}",
        "FWHM": f"{result.fwhm[0]:.2f} and {result.fwhm[1]:.2f} px",
        "noise, correlated": f"× {result.noise:.3f}",
        "std of S_corr, blank sky": f"{found.blank.std:.3f}",
        "std of S_corr, sources": f"{found.sources.std:.3f}" if found.sources.size else "no bright source",
        "blank sky beyond ±5": f"{found.blank.beyond[1]} and {found.blank.beyond[0]} pixels",
        "self-test": "failed" if result.assessment.flags else "passed",
    }
    title = f"{science.details['file']} - {reference.details['file']}"
    return panel.panel(images, reference.shape, histogram, table, pixels, title, facts)


def _small(side: image.Image) -> Thumbnail:
    """Return a small copy of an image above its sky."""
    found = Thumbnail(side.shape)
    for y0 in range(0, side.shape[0], _ROWS):
        found.add(y0, side.read(y0, y0 + _ROWS).data - np.float32(side.sky))
    return found


def _triplet(result: Result, row: int) -> NDArray[np.float32]:
    path = triplets.path(result.pair_id)
    return stores.read(result.workspace, path, (triplets.NAME,), slice(row, row + 1))[triplets.NAME]
