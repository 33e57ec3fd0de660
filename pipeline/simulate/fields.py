"""Pairs of images of one field at two times, with everything that is true of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from numpy.typing import NDArray

from pipeline.images.frame import Bit, Pixels
from pipeline.simulate.conditions import FieldSettings
from pipeline.simulate.defects import Defects, damage, passing
from pipeline.simulate.drawing import render
from pipeline.simulate.exposure import Exposure, background, expose, noise_of, optics_of
from pipeline.simulate.optics import Optics
from pipeline.simulate.pointing import Pointing, tangent
from pipeline.simulate.profiles import Floats
from pipeline.simulate.scene import draw_scene, light, snr
from pipeline.simulate.transients import View, fluxes, further, places

__all__ = ["MARGIN", "Field", "FieldSettings", "described", "draw", "header_of", "placed", "point"]

#: Sources this far outside both frames still shine into them, px.
MARGIN = 40.0


@dataclass(eq=False)
class Field:
    """A pair of images and the truth about it.

    Parameters
    ----------
    settings : FieldSettings
        What was asked for.
    science, reference : (ny, nx) float32
        Counts.
    pointing : Pointing
        The WCS of both, as claimed, and where light really falls.
    views : tuple of View
        Science and reference before chance and without transients: optics, sky, variances.
    truth : pandas.DataFrame
        Transients: id, x, y (0-based, reference), x_sci, y_sci (where they really are), ra, dec (degrees), flux (counts
        of the science frame, above 0), snr_opt (signed), environment, sign.
    sources : pandas.DataFrame
        Stars and galaxies: as of `pipeline.simulate.scene.draw_scene`, and x_sci, y_sci, snr_science, snr_reference,
        saturated.
    defects : pandas.DataFrame
        Cosmic rays, bad pixels, trails and movers of both frames, as of `pipeline.simulate.defects.KINDS`.
    science_mask, reference_mask : (ny, nx) uint16
        `pipeline.images.frame.Bit`: which pixels show something else than the sky.
    """

    settings: FieldSettings
    science: Pixels
    reference: Pixels
    pointing: Pointing
    views: tuple[View, View]
    truth: pd.DataFrame
    sources: pd.DataFrame
    defects: pd.DataFrame
    science_mask: NDArray[np.uint16] = field(repr=False)
    reference_mask: NDArray[np.uint16] = field(repr=False)

    def psf(self, name: str, size: int = 65, x: float | None = None, y: float | None = None) -> Floats:
        """Return a true point-spread function.

        Parameters
        ----------
        name : str
            ``science`` or ``reference``.
        size : int
            Odd number of pixels.
        x, y : float, optional
            0-based pixel of that frame; its middle by default.

        Returns
        -------
        (size, size) float64
            Integrated over pixels, centred, sum 1.
        """
        ny, nx = self.settings.shape
        optics = self.views[name == "reference"].optics
        return optics.stamp((nx - 1) / 2 if x is None else x, (ny - 1) / 2 if y is None else y, size)

    def shown(self) -> pd.DataFrame:
        """Return the stars and galaxies that can be seen in the reference.

        Returns
        -------
        pandas.DataFrame
            x, y (0-based px of the reference), snr (the smaller of those in the two frames; 0 where saturated).
        """
        rows = self.sources[self.sources["snr_reference"] > 5]
        least = rows[["snr_science", "snr_reference"]].min(axis=1).where(~rows["saturated"], 0.0)
        return rows[["x", "y"]].assign(snr=least).reset_index(drop=True)

    def movers(self) -> pd.DataFrame:
        """Return asteroids: changes that are real, but no transients.

        Returns
        -------
        pandas.DataFrame
            x, y (0-based px of the reference), radius (px) around all their light.
        """
        rows = self.defects[self.defects["kind"] == "mover"]
        x, y, length = (rows[name].to_numpy(float) for name in ("x", "y", "length"))
        there = (rows["frame"] == "science").to_numpy()
        shift = self.pointing.shift
        sky = self.pointing.science.all_pix2world(x - shift[0], y - shift[1], 0)
        moved = self.pointing.reference.all_world2pix(*sky, 0)
        x, y = (np.where(there, new, old) for new, old in zip(moved, (x, y), strict=True))
        blur = 1.5 * max(self.settings.science.fwhm, self.settings.reference.fwhm)
        return pd.DataFrame({"x": x, "y": y, "radius": length / 2 + blur})

    def header(self, name: str) -> fits.Header:
        """Return what a camera would write.

        Parameters
        ----------
        name : str
            ``science`` or ``reference``.

        Returns
        -------
        astropy.io.fits.Header
            WCS and facts, without those in `FieldSettings.missing`.
        """
        header = header_of(getattr(self.pointing, name), getattr(self.settings, name))
        for word in self.settings.missing:
            header.remove(word, ignore_missing=True)
        return header

    def write(self, folder: Path | str) -> Path:
        """Write the pair and its truth.

        Parameters
        ----------
        folder : path
            Made if it is not there.

        Returns
        -------
        Path
            The folder: science.fits, reference.fits, science_psf.fits, reference_psf.fits, science_mask.fits,
            reference_mask.fits, truth.parquet, sources.parquet, defects.parquet.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("science", "reference"):
            image = fits.PrimaryHDU(getattr(self, name), self.header(name))
            image.writeto(folder / f"{name}.fits", overwrite=True)
            psf = fits.PrimaryHDU(self.psf(name).astype(np.float32))
            psf.writeto(folder / f"{name}_psf.fits", overwrite=True)
            mask = fits.PrimaryHDU(getattr(self, f"{name}_mask"))
            mask.writeto(folder / f"{name}_mask.fits", overwrite=True)
        self.truth.to_parquet(folder / "truth.parquet", index=False)
        self.sources.to_parquet(folder / "sources.parquet", index=False)
        self.defects.to_parquet(folder / "defects.parquet", index=False)
        return folder


def header_of(wcs: WCS, exposure: Exposure) -> fits.Header:
    """Return what a camera would write of a frame.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        As claimed.
    exposure : Exposure
        Facts.
    """
    header = wcs.to_header(relax=True)
    facts: dict[str, Any] = {
        "GAIN": exposure.gain,
        "RDNOISE": exposure.read_noise,
        "EXPTIME": exposure.exptime,
        "FILTER": "r",
        "DATE-OBS": Time(exposure.mjd, format="mjd").isot,
        "MJD-OBS": exposure.mjd,
        "SATURATE": exposure.saturation,
        "TELESCOP": "SIMULATED",
        "INSTRUME": "fields",
        "BUNIT": "adu",
    }
    header.update(facts)
    return header


def draw(seed: int, settings: FieldSettings | None = None) -> Field:
    """Draw a pair of images.

    Parameters
    ----------
    seed : int
        The same seed and settings give the same pair.
    settings : FieldSettings, optional
        What it shall be like.

    Returns
    -------
    Field
        Images and truth.
    """
    settings = settings or FieldSettings()
    streams = [np.random.default_rng(one) for one in np.random.SeedSequence(seed).spawn(7)]
    pointing = point(settings, streams[0])
    exposures = (settings.science, settings.reference)
    optics = (
        optics_of(settings.science, settings.shape, streams[1]),
        optics_of(settings.reference, settings.shape, streams[1]),
    )
    box = pointing.extent(MARGIN)
    scene = draw_scene(settings.population, box, (exposures[0], optics[0]), (exposures[1], optics[1]), streams[2])
    scene = described(scene, pointing, exposures, optics)
    views, counts = [], []
    for exposure, blur, place, jacobian in zip(exposures, optics, *placed(scene, pointing), strict=True):
        sky = background(exposure, settings.shape, streams[3])
        counts.append(sky + light(scene, *place, jacobian, exposure, blur))
        views.append(View(exposure, blur, sky.astype(np.float32), noise_of(counts[-1], exposure).astype(np.float32)))
    truth = _transients(settings, scene, pointing, (views[0], views[1]), streams[4])
    _add(counts, truth, views)
    images, defects = zip(
        *(_shown(*one, streams[5], streams[6]) for one in zip(counts, views, strict=True)), strict=True
    )
    tables = [one.table(name) for one, name in zip(defects, ("science", "reference"), strict=True)]
    return Field(
        settings,
        images[0],
        images[1],
        pointing,
        (views[0], views[1]),
        truth,
        scene[_visible(scene, settings.shape)].reset_index(drop=True),
        pd.concat(tables, ignore_index=True),
        defects[0].mask,
        defects[1].mask,
    )


def _shown(counts: Floats, view: View, chance: np.random.Generator, rng: np.random.Generator) -> tuple[Pixels, Defects]:
    """Expose a frame, with what passes before it and what its detector adds."""
    defects = Defects(np.zeros(counts.shape, np.uint16), [])
    passing(counts, view.exposure, view.optics, rng, defects)
    image = expose(counts, view.exposure, chance)
    damage(image, view.exposure, rng, defects)
    defects.mask[image >= view.exposure.saturation] |= np.uint16(Bit.SATURATED)
    return image, defects


def point(settings: FieldSettings, rng: np.random.Generator) -> Pointing:
    """Draw where two frames look.

    Parameters
    ----------
    settings : FieldSettings
        Dither, rotation and errors of the science frame.
    rng : numpy.random.Generator
        Source of chance.
    """
    dx, dy, angle = *rng.uniform(-settings.dither, settings.dither, 2), rng.uniform(0, 2 * np.pi)
    reference = tangent(settings.centre, settings.shape, settings.pixel_scale, distortion=settings.distortion)
    scale = settings.pixel_scale * settings.zoom
    science = tangent(settings.centre, settings.shape, scale, settings.rotation, (dx, dy), settings.distortion)
    off = settings.misregistration * np.cos(angle), settings.misregistration * np.sin(angle)
    return Pointing(reference, science, off, settings.warp)


def placed(scene: pd.DataFrame, pointing: Pointing) -> tuple[list[tuple[Floats, Floats]], list[Floats]]:
    """Return where sources are in the science frame and in the reference, and how their shapes lie there.

    Parameters
    ----------
    scene : pandas.DataFrame
        As of `described`.
    pointing : Pointing
        The frames.
    """
    x, y, x_sci, y_sci = (scene[name].to_numpy() for name in ("x", "y", "x_sci", "y_sci"))
    here = np.broadcast_to(np.eye(2), (len(scene), 2, 2))
    return [(x_sci, y_sci), (x, y)], [pointing.jacobian(x, y), here]


def described(
    scene: pd.DataFrame, pointing: Pointing, exposures: tuple[Exposure, ...], optics: tuple[Optics, ...]
) -> pd.DataFrame:
    """Say where sources are in the science frame, and how bright in both.

    Parameters
    ----------
    scene : pandas.DataFrame
        As of `pipeline.simulate.scene.draw_scene`; it is changed.
    pointing : Pointing
        The frames.
    exposures, optics : tuple
        Of science frame and reference.
    """
    scene["x_sci"], scene["y_sci"] = pointing.to_science(scene["x"].to_numpy(), scene["y"].to_numpy())
    scene["saturated"] = False
    for name, exposure, blur in zip(("science", "reference"), exposures, optics, strict=True):
        flux = scene["flux"].to_numpy() * exposure.scale
        scene[f"snr_{name}"] = snr(flux, scene["half_light"].to_numpy(), blur, exposure)
        peak = blur.stamp(blur.shape[1] / 2, blur.shape[0] / 2, 9).max()
        scene["saturated"] |= (scene["kind"] == "star") & (flux * peak * 1.1 > exposure.saturation - exposure.sky)
    return scene


def _visible(scene: pd.DataFrame, shape: tuple[int, int]) -> NDArray[np.bool_]:
    ny, nx = shape
    here = scene["x"].between(-0.5, nx - 0.5) & scene["y"].between(-0.5, ny - 0.5)
    there = scene["x_sci"].between(-0.5, nx - 0.5) & scene["y_sci"].between(-0.5, ny - 0.5)
    return np.asarray(here | there)


def _transients(
    settings: FieldSettings, scene: pd.DataFrame, pointing: Pointing, views: tuple[View, View], rng: np.random.Generator
) -> pd.DataFrame:
    blur = max(settings.science.fwhm / settings.zoom, settings.reference.fwhm)
    truth = places(scene, settings.transients, pointing, blur, rng, settings.edge)
    if settings.scattered or settings.variables:
        truth = further(truth, scene, (settings.scattered, settings.variables), pointing, rng, settings.edge)
    low, high = settings.snr
    chance = rng.random(len(truth))
    log = settings.spacing == "log"
    truth["snr_opt"] = low * (high / low) ** chance if log else low + (high - low) * chance
    truth["sign"] = np.where(rng.random(len(truth)) < settings.negative, -1, 1)
    truth = fluxes(truth, pointing, *views)
    truth["snr_opt"] *= truth["sign"]
    truth.insert(0, "id", np.arange(len(truth)))
    return truth[["id", "x", "y", "x_sci", "y_sci", "ra", "dec", "flux", "snr_opt", "environment", "sign"]]


def _add(counts: list[Floats], truth: pd.DataFrame, views: list[View]) -> None:
    """Add transients to the frame that they are in."""
    ratio = views[1].exposure.scale / views[0].exposure.scale
    for image, view, sign, scale, suffix in zip(counts, views, (1, -1), (1.0, ratio), ("_sci", ""), strict=True):
        rows = truth[truth["sign"] == sign]
        x, y = rows[f"x{suffix}"].to_numpy(), rows[f"y{suffix}"].to_numpy()
        render(image, x, y, rows["flux"].to_numpy() * scale, view.optics.profile, view.optics.matrices(x, y), 1e-4)
