"""What a simulated survey meets in its nights: conditions of fields, and the faults of whoever subtracts them, drawn.

A description says in a small TOML file how widely everything is drawn; ``nights.toml`` beside this module is what
networks are trained on. A value of it is a number, ``[low, high]`` (uniform), ``{log = [low, high]}`` (uniform in the
logarithm), ``{any = [...]}`` (one of these) or ``{chance = p, of = value}`` (0 otherwise).
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import UsageError
from pipeline.simulate.conditions import FieldSettings
from pipeline.simulate.exposure import Exposure
from pipeline.simulate.scene import Population

__all__ = ["BRIGHT", "Description", "Flaws", "Night", "described", "draw_night", "value"]

_DEFAULT = Path(__file__).with_name("nights.toml")

#: Fields full of bright changes, which networks are trained on besides.
BRIGHT = Path(__file__).with_name("bright.toml")

#: Wavelengths of the filters, nm, and brightness of the sky in them, relative to r.
_FILTERS = {"g": (480.0, 0.6), "r": (640.0, 1.0), "i": (780.0, 1.8)}

#: Places of fields on a sphere, and how many belong to a seed; they are a degree apart.
_PLACES, _EACH = 40_000, 5_000

_FIELD = (
    "pixel_scale", "fwhm", "reference_fwhm", "beta", "ellipticity", "variation", "shear", "sky", "gradient", "gain",
    "reference_depth", "read_noise", "saturation", "stars", "galaxies", "cosmic_rays", "hot_pixels", "dead_pixels",
    "dead_columns", "trails", "movers", "dither", "rotation", "warp", "transients", "scattered", "variables",
    "negative", "zoom", "scale",
)  # fmt: skip
_FLAWS = (
    "cosmic_rays", "trails", "hot_pixels", "saturated", "measured", "psf_error", "beta_error", "shift", "tilt",
    "flux_ratio", "no_jitter", "uncalibrated", "crossed", "matched",
)  # fmt: skip
_SEASON = ("seeing", "cosmic_rays", "drift", "start", "days")


@dataclass(frozen=True, eq=False)
class Description:
    """How a set of simulated fields is drawn.

    Parameters
    ----------
    name, seed, fields : str, int, int
        Of the set.
    snr : tuple of float
        Limits of S/N of transients, uniform in the logarithm.
    shape : tuple of int
        Rows and columns of a field.
    most, most_of_a_kind : int
        Candidates, and bogus ones of one kind, that are kept of a field: a trail makes hundreds.
    field, flaws, season : dict
        What is drawn, by name.
    surveys : tuple of dict
        Each with name, share, and what of `field` and `flaws` is different there.
    sha256 : str
        Of the file.
    """

    name: str
    seed: int
    fields: int
    snr: tuple[float, float]
    shape: tuple[int, int]
    most: int
    most_of_a_kind: int
    field: dict[str, Any]
    flaws: dict[str, Any]
    season: dict[str, float]
    surveys: tuple[dict[str, Any], ...]
    sha256: str


@dataclass(frozen=True)
class Flaws:
    """What goes wrong with a subtraction, beyond what the images do to it.

    Parameters
    ----------
    unmasked : tuple of float
        Share of the cosmic rays, trails, hot pixels and saturated cores that no mask knows.
    measured : bool
        The PSFs are measured on the images, else the true ones of the middle are given.
    psf_error : tuple of float
        By what the FWHM of science image and reference are wrong, relative; not where they are measured.
    beta_error : float
        By what the exponents of both profiles are wrong, not where they are measured.
    shift : tuple of float
        By what the registration is off in x and y, px.
    tilt : float
        By what it is off at the edges besides, px.
    flux_ratio : float
        By what the flux ratio is wrong, relative.
    no_jitter, uncalibrated : bool
        The significance knows nothing of the registration's noise; it is not made to be one.
    style : str
        What the triplets' difference is: ``zogy``, ``crossed`` (convolved with each other's PSF) or ``matched`` (the
        sharper one made as wide as the other).
    """

    unmasked: tuple[float, float, float, float]
    measured: bool
    psf_error: tuple[float, float]
    beta_error: float
    shift: tuple[float, float]
    tilt: float
    flux_ratio: float
    no_jitter: bool
    uncalibrated: bool
    style: str


@dataclass(frozen=True)
class Night:
    """A field as it is looked at and subtracted.

    Parameters
    ----------
    number, seed : int
        Of the field in its set, and what its images are drawn with.
    survey, ccd, filter : str
        What it is seen by.
    settings : FieldSettings
        What it is like.
    flaws : Flaws
        What is done to it.
    """

    number: int
    seed: int
    survey: str
    ccd: str
    filter: str
    settings: FieldSettings
    flaws: Flaws


def described(path: Path | str | None = None) -> Description:
    """Read a description.

    Parameters
    ----------
    path : path, optional
        A TOML file; by default what networks are trained on.

    Raises
    ------
    UsageError
        If it does not parse, or lacks something, or has something unknown.
    """
    path = Path(path or _DEFAULT)
    try:
        text = path.read_bytes()
        raw = tomllib.loads(text.decode())
        about, tables = raw["set"], {name: raw[name] for name in ("field", "flaws", "season")}
        found = Description(
            str(about["name"]), int(about["seed"]), int(about["fields"]), tuple(about["snr"]), tuple(about["shape"]),
            int(about["most"]), int(about["most_of_a_kind"]),
            **tables, surveys=tuple(raw["survey"]), sha256=sha256(text).hexdigest(),
        )  # fmt: skip
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    except KeyError as error:
        raise UsageError(f"{path}: no {error.args[0]!r}; give it as nights.toml of pipeline/simulate does") from error
    if not re.fullmatch(r"\w[\w.-]*", found.name):
        raise UsageError(f"{path}: the name {found.name!r} is none of a folder; give letters, digits, '.', '_' and '-'")
    for name, wanted in (("field", _FIELD), ("flaws", _FLAWS), ("season", _SEASON)):
        if odd := sorted(set(wanted) ^ set(tables[name])):
            cure = "give all, and no others, of " + ", ".join(wanted)
            raise UsageError(f"{path}: [{name}] lacks or has too much: {', '.join(odd)}; {cure}")
    if odd := sorted(set().union(*found.surveys) - {"name", "share", *_FIELD, *_FLAWS}):
        raise UsageError(f"{path}: [[survey]] has unknown {', '.join(odd)}; it may have what [field] and [flaws] have")
    return found


def draw_night(description: Description, number: int) -> Night:
    """Draw a field's conditions.

    Parameters
    ----------
    description : Description
        How widely.
    number : int
        Of the field; the same number of the same description gives the same night.
    """
    rng = np.random.default_rng([description.seed, number])
    shares = np.array([float(one.get("share", 1.0)) for one in description.surveys])
    survey = description.surveys[int(rng.choice(len(shares), p=shares / shares.sum()))]
    own = {name: value for name, value in survey.items() if name not in ("name", "share")}
    field = {name: value((description.field | own)[name], rng) for name in _FIELD}
    second = {name: value((description.field | own)[name], rng) for name in _FIELD}
    filter_, ccd = str(rng.choice(list(_FILTERS))), int(rng.integers(1, 17))
    season = description.season
    day = season["days"] * rng.random()
    flaws = _flaws({name: (description.flaws | own)[name] for name in _FLAWS}, rng)
    settings = _settings(description, field, second, number)
    year, trend = np.sin(2 * np.pi * day / 365.25), 1 + season["drift"] * day / season["days"]
    wavelength, light = _FILTERS[filter_]
    # Seeing grows with λ^-0.2; a detector has hot pixels of its own, others than its neighbours'.
    seeing = float((wavelength / _FILTERS["r"][0]) ** -0.2 * (1 + season["seeing"] * year) * trend)
    hot = float(np.random.default_rng(ccd).lognormal(0, 0.5))
    science = replace(
        settings.science,
        fwhm=max(1.6, settings.science.fwhm * seeing),
        sky=settings.science.sky * light,
        cosmic_rays=settings.science.cosmic_rays * float(1 - season["cosmic_rays"] * year) * trend,
        hot_pixels=settings.science.hot_pixels * hot,
        mjd=season["start"] + day,
    )
    reference = replace(settings.reference, sky=settings.reference.sky * light, mjd=season["start"] - 300.0)
    settings = replace(settings, science=science, reference=reference)
    seed = description.seed * 1_000_000 + number
    return Night(number, seed, str(survey["name"]), f"{ccd:02d}", filter_, settings, flaws)


def value(given: Any, rng: np.random.Generator) -> float:
    """Draw a value; the same chances are used up whatever the description says.

    Parameters
    ----------
    given : float, list or dict
        As a description gives it: a number, ``[low, high]``, ``{log = ...}``, ``{any = ...}`` or ``{chance = ...}``.
    rng : numpy.random.Generator
        Source of chance.
    """
    chance, share = rng.random(2)
    if isinstance(given, Mapping) and "chance" in given:
        if share >= given["chance"]:
            return 0.0
        given = given["of"]
    if isinstance(given, Mapping) and "log" in given:
        low, high = given["log"]
        return float(low * (high / low) ** chance)
    if isinstance(given, Mapping):
        return float(given["any"][int(chance * len(given["any"]))])
    if isinstance(given, list):
        return float(given[0] + (given[1] - given[0]) * chance)
    return float(given)


def _settings(description: Description, one: dict[str, float], other: dict[str, float], number: int) -> FieldSettings:
    """Return what a field is like; `other` is what is drawn anew for the reference."""
    frames = []
    for drawn, fwhm in ((one, one["fwhm"]), (other, one["reference_fwhm"])):
        frames.append(
            Exposure(
                fwhm=fwhm, beta=drawn["beta"], ellipticity=drawn["ellipticity"], variation=drawn["variation"],
                shear=drawn["shear"], sky=drawn["sky"], gradient=drawn["gradient"], curvature=drawn["gradient"] / 2,
                gain=one["gain"], read_noise=one["read_noise"], saturation=one["saturation"],
                hot_pixels=drawn["hot_pixels"], dead_pixels=drawn["dead_pixels"], cosmic_rays=drawn["cosmic_rays"],
                trails=round(drawn["trails"]), movers=round(drawn["movers"]),
            )
        )  # fmt: skip
    # A reference is made of several exposures: its counts are theirs on average, which leaves it less noise.
    depth = one["reference_depth"]
    reference = replace(
        frames[1], gain=one["gain"] * depth, read_noise=one["read_noise"] * np.sqrt(depth), scale=1.0,
        cosmic_rays=other["cosmic_rays"] / 3, hot_pixels=other["hot_pixels"] / 2,
        trails=0, movers=int(frames[1].movers > 2),
    )  # fmt: skip
    science = replace(frames[0], scale=one["scale"], dead_columns=round(one["dead_columns"]))
    plain = Population()
    return FieldSettings(
        shape=description.shape, science=science, reference=reference,
        population=replace(plain, stars=plain.stars * one["stars"], galaxies=plain.galaxies * one["galaxies"]),
        transients=round(one["transients"]), scattered=round(one["scattered"]), variables=round(one["variables"]),
        edge=6.0, snr=description.snr, negative=one["negative"], pixel_scale=one["pixel_scale"], zoom=one["zoom"],
        rotation=one["rotation"], dither=one["dither"], warp=one["warp"], centre=_centre(description.seed, number),
    )  # fmt: skip


def _flaws(given: dict[str, Any], rng: np.random.Generator) -> Flaws:
    drawn, again = ({name: value(given[name], rng) for name in _FLAWS} for _ in range(2))
    angle = rng.uniform(0, 2 * np.pi)
    style = "crossed" if drawn["crossed"] else "matched" if drawn["matched"] else "zogy"
    return Flaws(
        unmasked=(drawn["cosmic_rays"], drawn["trails"], drawn["hot_pixels"], drawn["saturated"]),
        measured=bool(drawn["measured"]),
        psf_error=(drawn["psf_error"], again["psf_error"]),
        beta_error=drawn["beta_error"],
        shift=(drawn["shift"] * float(np.cos(angle)), drawn["shift"] * float(np.sin(angle))),
        tilt=drawn["tilt"],
        flux_ratio=drawn["flux_ratio"],
        no_jitter=bool(drawn["no_jitter"]),
        uncalibrated=bool(drawn["uncalibrated"]),
        style=style,
    )


def _centre(seed: int, number: int) -> tuple[float, float]:
    """Return a place on a sphere of its own: by Fibonacci's lattice, within 60° of the equator."""
    place = (seed % (_PLACES // _EACH)) * _EACH + number % _EACH
    height = np.sin(np.radians(60)) * (2 * (place + 0.5) / _PLACES - 1)
    return float(place * 137.50776405 % 360), float(np.degrees(np.arcsin(height)))
