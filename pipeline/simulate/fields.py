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
from pipeline.simulate.exposure import Exposure, background, expose, noise_of, optics_of
from pipeline.simulate.optics import Floats, Optics, render
from pipeline.simulate.pointing import Pointing, tangent
from pipeline.simulate.scene import Population, draw_scene, light, snr
from pipeline.simulate.transients import View, fluxes, places

__all__ = ["REFERENCE", "SCIENCE", "Field", "FieldSettings", "draw"]

#: The frames of a pair unless others are asked for.
SCIENCE = Exposure(fwhm=4.0, scale=0.9)
REFERENCE = Exposure(fwhm=2.5, sky=150.0, gain=6.0, read_noise=4.0, exptime=600.0, mjd=59900.25)

# Sources this far outside both frames still shine into them, px.
_MARGIN = 40.0


@dataclass(frozen=True)
class FieldSettings:
    """What a pair of images shall be like.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of both frames.
    science, reference : Exposure
        The frames; the reference is deeper and sharper.
    population : Population
        Stars and galaxies.
    transients : int
        How many, a third in each environment.
    snr : tuple of float
        Limits of S/N_opt.
    spacing : str
        ``log`` or ``linear``: in what S/N_opt is uniform.
    negative : float
        Share that fade: only in the reference.
    pixel_scale : float
        Of the reference, arcsec.
    zoom : float
        Pixel scale of the science frame over that.
    rotation : float
        Of the science frame against the reference, degrees.
    dither : float
        Largest offset of the science frame in x and y, px; drawn at random. 0: the same grid.
    misregistration, warp : float
        How far the science frame's WCS is off, px: a shift in a random direction, and a quadratic in the place.
    distortion : float
        Of both frames' optics at the edges, px, told in their headers (SIP).
    centre : tuple of float
        Degrees.
    missing : tuple of str
        Words left out of the headers.
    """

    shape: tuple[int, int] = (1024, 1024)
    science: Exposure = SCIENCE
    reference: Exposure = REFERENCE
    population: Population = field(default_factory=Population)
    transients: int = 60
    snr: tuple[float, float] = (3.0, 10.0)
    spacing: str = "log"
    negative: float = 0.0
    pixel_scale: float = 0.5
    zoom: float = 1.0
    rotation: float = 0.0
    dither: float = 3.0
    misregistration: float = 0.0
    warp: float = 0.0
    distortion: float = 0.0
    centre: tuple[float, float] = (150.0, 2.2)
    missing: tuple[str, ...] = ()


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
        exposure: Exposure = getattr(self.settings, name)
        wcs: WCS = getattr(self.pointing, name)
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
            reference_mask.fits, truth.parquet, sources.parquet.
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
        return folder


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
    streams = [np.random.default_rng(one) for one in np.random.SeedSequence(seed).spawn(6)]
    pointing = _point(settings, streams[0])
    exposures = (settings.science, settings.reference)
    optics = tuple(optics_of(one, settings.shape, streams[1]) for one in exposures)
    box = _box(settings, pointing)
    scene = draw_scene(settings.population, box, (exposures[0], optics[0]), (exposures[1], optics[1]), streams[2])
    scene = _described(scene, pointing, exposures, optics)
    views, counts = [], []
    for exposure, blur, place, jacobian in zip(exposures, optics, *_placed(scene, pointing), strict=True):
        sky = background(exposure, settings.shape, streams[3])
        counts.append(sky + light(scene, *place, jacobian, exposure, blur))
        views.append(View(exposure, blur, sky, noise_of(counts[-1], exposure)))
    truth = _transients(settings, scene, pointing, (views[0], views[1]), streams[4])
    _add(counts, truth, views)
    images = [expose(light_, one, streams[5]) for light_, one in zip(counts, exposures, strict=True)]
    masks = [
        np.where(i >= e.saturation, np.uint16(Bit.SATURATED), np.uint16(0))
        for i, e in zip(images, exposures, strict=True)
    ]
    inside = _visible(scene, settings.shape)
    return Field(settings, *images, pointing, (views[0], views[1]), truth, scene[inside].reset_index(drop=True), *masks)


def _point(settings: FieldSettings, rng: np.random.Generator) -> Pointing:
    dx, dy = rng.uniform(-settings.dither, settings.dither, 2)
    angle = rng.uniform(0, 2 * np.pi)
    reference = tangent(settings.centre, settings.shape, settings.pixel_scale, distortion=settings.distortion)
    scale = settings.pixel_scale * settings.zoom
    science = tangent(settings.centre, settings.shape, scale, settings.rotation, (dx, dy), settings.distortion)
    off = settings.misregistration * np.cos(angle), settings.misregistration * np.sin(angle)
    return Pointing(reference, science, off, settings.warp)


def _box(settings: FieldSettings, pointing: Pointing) -> tuple[float, float, float, float]:
    """Return the part of the reference's plane that shines into either frame."""
    ny, nx = settings.shape
    x, y = np.array([0.0, nx, nx, 0.0]), np.array([0.0, 0.0, ny, ny])
    other = pointing.reference.all_world2pix(*pointing.science.all_pix2world(x, y, 0), 0)
    xs, ys = np.concatenate([x, other[0]]), np.concatenate([y, other[1]])
    return xs.min() - _MARGIN, xs.max() + _MARGIN, ys.min() - _MARGIN, ys.max() + _MARGIN


def _placed(scene: pd.DataFrame, pointing: Pointing) -> tuple[list[tuple[Floats, Floats]], list[Floats]]:
    x, y, x_sci, y_sci = (scene[name].to_numpy() for name in ("x", "y", "x_sci", "y_sci"))
    here = np.broadcast_to(np.eye(2), (len(scene), 2, 2))
    return [(x_sci, y_sci), (x, y)], [pointing.jacobian(x, y), here]


def _described(
    scene: pd.DataFrame, pointing: Pointing, exposures: tuple[Exposure, ...], optics: tuple[Optics, ...]
) -> pd.DataFrame:
    """Say where sources are in the science frame, and how bright in both."""
    scene["x_sci"], scene["y_sci"] = pointing.to_science(scene["x"].to_numpy(), scene["y"].to_numpy())
    scene["saturated"] = False
    for name, exposure, blur in zip(("science", "reference"), exposures, optics, strict=True):
        flux = scene["flux"].to_numpy() * exposure.scale
        scene[f"snr_{name}"] = snr(flux, scene["half_light"].to_numpy(), blur, exposure)
        peak = blur.stamp(*(size / 2 for size in blur.shape), 9).max()
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
    truth = places(scene, settings.transients, pointing, blur, rng)
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
