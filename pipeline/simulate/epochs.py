"""One field at many times: what does not change is drawn once, and seen with transients that brighten and fade.

Transients follow Bazin et al. (2009, A&A 499, 653, eq. 1); beside them a star varies, and a body of the solar system
moves through.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits

from pipeline.images.frame import Pixels
from pipeline.simulate.conditions import REFERENCE, FieldSettings
from pipeline.simulate.drawing import render
from pipeline.simulate.exposure import Exposure, background, expose, noise_of, optics_of
from pipeline.simulate.fields import MARGIN, described, header_of, placed, point
from pipeline.simulate.optics import Optics
from pipeline.simulate.pointing import Pointing
from pipeline.simulate.profiles import Floats
from pipeline.simulate.scene import draw_scene, light
from pipeline.simulate.transients import View, fluxes, places

__all__ = ["EpochSettings", "Epochs", "draw_epochs", "light_curve"]

#: AB magnitude of one count of the scene.
ZERO_POINT = 30.0


@dataclass(frozen=True)
class EpochSettings:
    """What a field at many times shall be like.

    Parameters
    ----------
    field : FieldSettings
        The reference, and one of the science frames: the others differ in seeing, pointing and date. Transients have
        their S/N_opt at their brightest.
    days : tuple of float
        When science frames are taken, d after the first.
    rise, fade : float
        Times of a transient's light curve, d.
    movers : int
        Bodies of the solar system.
    speed : float
        Of these, arcsec a day.
    variables : int
        Stars that vary, by a third.
    """

    field: FieldSettings = field(
        default_factory=lambda: FieldSettings(shape=(512, 512), transients=6, snr=(15.0, 60.0), reference=REFERENCE)
    )
    days: tuple[float, ...] = (0.0, 5.0, 12.0)
    rise: float = 3.0
    fade: float = 25.0
    movers: int = 1
    speed: float = 6.0
    variables: int = 1


@dataclass(frozen=True, eq=False)
class Epochs:
    """Images of a field, and the truth.

    Parameters
    ----------
    images : dict
        Name → counts, (ny, nx) float32; ``reference`` first, then ``epoch-1``, ….
    headers : dict
        Name → what a camera would write.
    truth : pandas.DataFrame
        What changes, a row a frame: id, kind (``transient``, ``mover``, ``variable``), environment, epoch (name), mjd
        (middle of the exposure), ra, dec (deg), flux (science counts, of the difference).
    """

    images: dict[str, Pixels]
    headers: dict[str, fits.Header]
    truth: pd.DataFrame

    def write(self, folder: Path | str) -> Path:
        """Write the images and lists of what is in them.

        Parameters
        ----------
        folder : path
            Made if it is not there.

        Returns
        -------
        Path
            The folder: reference.fits, epoch-1.fits, …, truth.csv; variables.csv and movers.csv as an observer would
            have them: stars known to vary, and ephemerides.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in self.images.items():
            fits.PrimaryHDU(image, self.headers[name]).writeto(folder / f"{name}.fits", overwrite=True)
        stars = self.truth[self.truth["kind"] == "variable"].drop_duplicates("id")
        stars.rename(columns={"id": "name"})[["name", "ra", "dec"]].to_csv(folder / "variables.csv", index=False)
        self.ephemerides().to_csv(folder / "movers.csv", index=False)
        self.truth.to_csv(folder / "truth.csv", index=False)
        return folder

    def ephemerides(self) -> pd.DataFrame:
        """Return where bodies are every quarter of a day: name, mjd, ra, dec."""
        tables = []
        for name, rows in self.truth[self.truth["kind"] == "mover"].groupby("id"):
            mjd = np.arange(rows["mjd"].min() - 0.5, rows["mjd"].max() + 0.75, 0.25)
            ra, dec = (
                np.polyval(np.polyfit(rows["mjd"] - mjd[0], rows[axis], 1), mjd - mjd[0]) for axis in ("ra", "dec")
            )
            tables.append(pd.DataFrame({"name": name, "mjd": mjd, "ra": ra, "dec": dec}))
        return pd.concat(tables) if tables else pd.DataFrame(columns=["name", "mjd", "ra", "dec"])


def light_curve(days: Floats, rise: float, fade: float) -> Floats:
    """Return the brightness of a transient over that at its brightest.

    Parameters
    ----------
    days : (n,) float64
        Time since its half-rise, d.
    rise, fade : float
        Times of the exponentials, d; fade is longer than rise.
    """
    highest = rise * np.log(fade / rise - 1) if fade > 2 * rise else 0.0
    return np.asarray(_bazin(days, rise, fade) / _bazin(np.array(highest), rise, fade))


def _bazin(days: Floats, rise: float, fade: float) -> Floats:
    return np.asarray(np.exp(-days / fade) / (1 + np.exp(-np.clip(days / rise, -50, 50))))


def draw_epochs(seed: int, settings: EpochSettings | None = None) -> Epochs:
    """Draw a field at many times.

    Parameters
    ----------
    seed : int
        The same seed and settings give the same images.
    settings : EpochSettings, optional
        What it shall be like.
    """
    settings = settings or EpochSettings()
    own, rng = settings.field, np.random.default_rng(seed)
    exposures = [
        replace(own.science, mjd=own.science.mjd + day, fwhm=own.science.fwhm * rng.uniform(0.9, 1.1))
        for day in settings.days
    ]
    optics = [optics_of(one, own.shape, rng) for one in exposures]
    blur = optics_of(own.reference, own.shape, rng)
    pointings = [point(own, rng) for _ in exposures]
    scene = draw_scene(
        own.population, pointings[0].extent(MARGIN), (exposures[0], optics[0]), (own.reference, blur), rng
    )
    here = np.broadcast_to(np.eye(2), (len(scene), 2, 2))
    still = light(scene, scene["x"].to_numpy(), scene["y"].to_numpy(), here, own.reference, blur)
    reference = _frame(still, own.reference, blur, own.shape, rng)
    frames = []
    for exposure, sharp, pointing in zip(exposures, optics, pointings, strict=True):
        seen = described(scene.copy(), pointing, (exposure, own.reference), (sharp, blur))
        (where, _), (jacobian, _) = placed(seen, pointing)
        frames.append(_frame(light(seen, *where, jacobian, exposure, sharp), exposure, sharp, own.shape, rng))
    seen = described(scene.copy(), pointings[0], (exposures[0], own.reference), (optics[0], blur))
    rows = _transients(settings, seen, pointings[0], (frames[0][1], reference[1]), rng)
    rows += _variables(settings, seen, pointings[0], rng) + _movers(settings, pointings[0], rows, rng)
    truth = pd.DataFrame(rows)
    for (counts, view), pointing, name in zip(frames, pointings, _names(settings), strict=True):
        _add(counts, view, pointing, truth[truth["epoch"] == name])
    names = ["reference", *_names(settings)]
    looks = [pointings[0].reference, *(pointing.science for pointing in pointings)]
    images = {
        name: expose(counts, view.exposure, rng)
        for name, (counts, view) in zip(names, [reference, *frames], strict=True)
    }
    headers = {
        name: _header(header_of(wcs, one), one)
        for name, wcs, one in zip(names, looks, [own.reference, *exposures], strict=True)
    }
    return Epochs(images, headers, truth)


def _names(settings: EpochSettings) -> list[str]:
    return [f"epoch-{number + 1}" for number in range(len(settings.days))]


def _header(header: fits.Header, exposure: Exposure) -> fits.Header:
    header["MAGZP"], header["MAGSYS"] = ZERO_POINT + 2.5 * np.log10(exposure.scale), "AB"
    return header


def _frame(
    still: Floats, exposure: Exposure, optics: Optics, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[Floats, View]:
    sky = background(exposure, shape, rng)
    counts = sky + still
    return counts, View(exposure, optics, sky.astype(np.float32), noise_of(counts, exposure).astype(np.float32))


def _add(counts: Floats, view: View, pointing: Pointing, truth: pd.DataFrame) -> None:
    x, y = pointing.to_science(*pointing.reference.all_world2pix(truth["ra"], truth["dec"], 0))
    render(counts, x, y, truth["flux"].to_numpy(), view.optics.profile, view.optics.matrices(x, y), 1e-4)


def _mid(settings: EpochSettings) -> Floats:
    science = settings.field.science
    return np.asarray(science.mjd + np.array(settings.days) + science.exptime / 2 / 86400)


def _told(
    name: str, kind: str, environment: str, settings: EpochSettings, ra: Floats, dec: Floats, flux: Floats
) -> list[dict[str, object]]:
    """Return the rows of one source, one a frame."""
    times = zip(_names(settings), _mid(settings), *np.broadcast_arrays(ra, dec, flux), strict=True)
    return [
        {"id": name, "kind": kind, "environment": environment, "epoch": epoch, "mjd": mjd, "ra": a, "dec": d, "flux": f}
        for epoch, mjd, a, d, f in times
    ]


def _transients(
    settings: EpochSettings, scene: pd.DataFrame, pointing: Pointing, views: tuple[View, View], rng: np.random.Generator
) -> list[dict[str, object]]:
    own = settings.field
    truth = places(scene, own.transients, pointing, max(view.optics.fwhm for view in views), rng)
    low, high = own.snr
    truth = fluxes(truth.assign(snr_opt=low * (high / low) ** rng.random(len(truth)), sign=1), pointing, *views)
    days, rows = np.array(settings.days), []
    for number, row in enumerate(truth.to_dict("records")):
        start = rng.uniform(-settings.rise, 2 * settings.rise)
        flux = row["flux"] * light_curve(days - start, settings.rise, settings.fade)
        ra, dec = np.array(row["ra"]), np.array(row["dec"])
        rows += _told(f"SIM{number:03d}", "transient", row["environment"], settings, ra, dec, flux)
    return rows


def _variables(
    settings: EpochSettings, scene: pd.DataFrame, pointing: Pointing, rng: np.random.Generator
) -> list[dict[str, object]]:
    ny, nx = settings.field.shape
    inside = scene["x"].between(40, nx - 40) & scene["y"].between(40, ny - 40)
    stars = scene[inside & (scene["kind"] == "star") & ~scene["saturated"] & scene["snr_science"].between(60, 200)]
    rows = []
    for number, star in enumerate(stars.iloc[rng.permutation(len(stars))[: settings.variables]].to_dict("records")):
        ra, dec = pointing.reference.all_pix2world(star["x"], star["y"], 0)
        flux = star["flux"] * settings.field.science.scale * rng.uniform(0.2, 0.4, len(settings.days))
        rows += _told(f"VAR{number:03d}", "variable", "star", settings, ra, dec, flux)
    return rows


def _movers(
    settings: EpochSettings, pointing: Pointing, others: list[dict[str, object]], rng: np.random.Generator
) -> list[dict[str, object]]:
    """Return bodies on straight ways through the middle of the field, as bright as the brightest transient."""
    ny, nx = settings.field.shape
    bright, days = max((float(str(row["flux"])) for row in others), default=1000.0), np.array(settings.days)
    rows = []
    for number in range(settings.movers):
        angle, along = rng.uniform(0, 2 * np.pi), settings.speed / settings.field.pixel_scale * (days - days.mean())
        x0, y0 = (rng.uniform(0.3, 0.7) * size for size in (nx, ny))
        ra, dec = pointing.reference.all_pix2world(x0 + along * np.cos(angle), y0 + along * np.sin(angle), 0)
        rows += _told(f"BODY{number:03d}", "mover", "blank", settings, ra, dec, np.array(bright))
    return rows
