"""What a simulated stamp shows, drawn: the stars and galaxies around a source, and how each filter sees them.

A description says in a TOML file how widely everything is drawn (``stamps.toml`` beside this module is what networks
are trained on); its values read as those of `pipeline.simulate.nights`.
"""

import re
import tomllib
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from catalogs.stamps import NOT_DOUBLE
from pipeline.errors import UsageError
from pipeline.simulate.profiles import Floats
from pipeline.simulate.telescopes import TELESCOPES, Air
from pipeline.stamps import surveys

__all__ = ["Description", "Exposure", "Galaxy", "Scene", "Sky", "described"]

_DEFAULT = Path(__file__).with_name("stamps.toml")

#: What a description has to say, section by section; a survey may differ in [source] and [exposure].
_SECTIONS = {
    "kinds": tuple(NOT_DOUBLE),
    "also": tuple(kind for kind in NOT_DOUBLE if kind != "single"),
    "source": (
        "snr", "separation", "separation_even", "delta_mag", "third", "slope", "redder", "scatter", "density", "faint",
        "offset", "motion", "near", "neighbour", "neighbour_mag", "double_neighbour",
    ),
    "galaxy": ("alone", "radius", "ratio", "bulge", "mag", "offset", "knots"),
    "exposure": (
        "single", "depth", "seeing", "filters", "beta", "halo", "ellipticity", "twist", "skew", "sky", "read_noise",
        "saturation", "saturated", "gradient", "registration", "misregistered", "resampled", "smoothed", "unit",
        "pedestal", "plain", "cosmic_rays", "cut", "told",
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Description:
    """How a set of simulated stamps is drawn.

    Parameters
    ----------
    name, seed : str, int
        Of the set.
    double : float
        Share of pairs.
    weightless : dict
        ``fwhm`` and ``sigmas`` below which a pair counts nothing in training.
    stacks : dict
        Survey → how many.
    kinds, also, source, galaxy, exposure : dict
        What is drawn, by name.
    surveys : dict
        Survey → ``fwhm`` by filter, ``telescope``, and what of `source` and `exposure` is different there.
    sha256 : str
        Of the file.
    """

    name: str
    seed: int
    double: float
    weightless: dict[str, float]
    stacks: dict[str, int]
    kinds: dict[str, float]
    also: dict[str, float]
    source: dict[str, Any]
    galaxy: dict[str, Any]
    exposure: dict[str, Any]
    surveys: dict[str, dict[str, Any]]
    sha256: str

    def with_seed(self, seed: int) -> "Description":
        """Return it with another seed."""
        return replace(self, seed=seed)


@dataclass(frozen=True)
class Galaxy:
    """An extended source.

    Parameters
    ----------
    east, north : float
        From the primary, arcsec.
    mag : float
        Fainter than the primary by so much.
    radius, ratio, angle : float
        Half-light radius (arcsec), ratio of its axes, angle from +x to +y (rad).
    bulge : float
        Share of the light in a de Vaucouleurs profile; the rest is exponential.
    knots, seed : float, int
        Share of the light in clumps, and what they are drawn with.
    """

    east: float
    north: float
    mag: float
    radius: float
    ratio: float
    angle: float
    bulge: float
    knots: float
    seed: int


@dataclass(frozen=True, eq=False)
class Sky:
    """A source and what is around it, the same for all who look.

    Parameters
    ----------
    label, kind : int, str
        1 and ``pair``, or 0 and one of `catalogs.stamps.NOT_DOUBLE`.
    troubles : frozenset of str
        What happens to it: its kind, if it is not double, and others.
    east, north : (n,) float64
        Of the stars, from the primary, arcsec; the primary is the first, a companion the second.
    mag, slope : (n,) float64
        Fainter than the primary at the pivot, and what comes on top of it for each e-fold of wavelength.
    galaxy : Galaxy or None
        Under the primary, or in its place.
    alone : bool
        The galaxy is in the primary's place, which is none of a star.
    rank : float
        How bright the source is among all, from 0 to 1.
    pivot : float
        Wavelength of the magnitudes, µm.
    """

    label: int
    kind: str
    troubles: frozenset[str]
    east: Floats
    north: Floats
    mag: Floats
    slope: Floats
    galaxy: Galaxy | None
    alone: bool
    rank: float
    pivot: float

    @property
    def separation(self) -> float:
        """Arcsec from the primary to its companion."""
        return float(np.hypot(self.east[1], self.north[1]))

    def light(self, wavelength: float) -> Floats:
        """Return the stars' light relative to the primary's at a wavelength (µm), (n,) float64."""
        return 10 ** (-0.4 * (self.mag + self.slope * np.log(wavelength / self.pivot)))


@dataclass(frozen=True)
class Exposure:
    """How a filter sees a source.

    Parameters
    ----------
    wavelength : float
        Micrometre.
    snr : float
        Of the primary, with the PSF known.
    air : Air or None
        The point-spread function on the ground.
    telescope, number : str or None, int
        The same in space, by its bank.
    native : float
        Side of the detector's pixels, arcsec.
    jitter : float
        σ of what widens it besides, arcsec.
    fwhm : float
        True, of what is delivered, arcsec.
    centre : tuple of float
        Where the source is looked for, from the middle of the grid, px.
    shift : tuple of float
        By what the registration is off, east and north, arcsec.
    moved : tuple of float
        How far the source has moved, and nothing else, arcsec.
    sky, read_noise, saturation, unit : float
        Electrons a pixel; counts of an electron.
    saturated : float
        Level of saturation in units of the peak, 0: as `saturation` says.
    style : str
        Of saturation.
    gradient : tuple of float
        Over the stamp in x and y, in units of the noise.
    resampled : tuple of float
        Parts of a pixel that the image is moved by in x and y to lie on the grid.
    smoothed : float
        σ of what it is smoothed with, px.
    pedestal, told : bool
        The sky is still in; a mask tells of what is wrong.
    cosmic_rays : int
        Hits.
    artefact : bool
        A hit, a trail or a bad column near the source.
    cut : float
        Share of the side that is missing.
    mjd : float
        Of the middle.
    """

    wavelength: float
    snr: float
    air: Air | None
    telescope: str | None
    number: int
    native: float
    jitter: float
    fwhm: float
    centre: tuple[float, float]
    shift: tuple[float, float]
    moved: tuple[float, float]
    sky: float
    read_noise: float
    saturation: float
    unit: float
    saturated: float
    style: str
    gradient: tuple[float, float]
    resampled: tuple[float, float]
    smoothed: float
    pedestal: bool
    told: bool
    cosmic_rays: int
    artefact: bool
    cut: float
    mjd: float


@dataclass(frozen=True, eq=False)
class Scene:
    """A source as a survey sees it.

    Parameters
    ----------
    survey, name : str
        Which; of the source.
    sky : Sky
        What there is.
    offset : tuple of float
        Where the primary is from where it is looked for, east and north, arcsec.
    exposures : dict
        Filter → how it sees it, by wavelength.
    """

    survey: str
    name: str
    sky: Sky
    offset: tuple[float, float]
    exposures: dict[str, Exposure]


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
        about, told = raw["set"], raw["survey"]
        found = Description(
            str(about["name"]), int(about["seed"]), float(about["double"]), dict(about["weightless"]),
            dict(about["stacks"]), **{name: raw[name] for name in _SECTIONS}, surveys=told,
            sha256=sha256(text).hexdigest(),
        )  # fmt: skip
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    except KeyError as error:
        raise UsageError(f"{path}: no {error.args[0]!r}; give it as stamps.toml of pipeline/simulate does") from error
    if not re.fullmatch(r"\w[\w.-]*", found.name):
        raise UsageError(f"{path}: the name {found.name!r} is none of a folder; give letters, digits, '.', '_' and '-'")
    for name, wanted in _SECTIONS.items():
        if odd := sorted(set(wanted) ^ set(getattr(found, name))):
            cure = "give all, and no others, of " + ", ".join(wanted)
            raise UsageError(f"{path}: [{name}] lacks or has too much: {', '.join(odd)}; {cure}")
    for survey in sorted({*found.stacks, *told}):
        _check(path, survey, told.get(survey))
    return found


def _check(path: Path, survey: str, told: dict[str, Any] | None) -> None:
    """Check what is said of a survey."""
    if told is None or not told.get("fwhm"):
        raise UsageError(f"{path}: [survey.{survey}] has no `fwhm`; give its filters and their FWHM, arcsec")
    known = {"fwhm", "telescope", "native", *_SECTIONS["source"], *_SECTIONS["exposure"]}
    if odd := sorted(set(told) - known):
        raise UsageError(
            f"{path}: [survey.{survey}] has unknown {', '.join(odd)}; there are {', '.join(sorted(known))}"
        )
    if (telescope := told.get("telescope")) is not None and telescope not in TELESCOPES:
        raise UsageError(f"{path}: no telescope is called {telescope!r}; there are {', '.join(TELESCOPES)}")
    if odd := [name for name in told["fwhm"] if not surveys.get(survey).knows(name)]:
        raise UsageError(f"{path}: {survey} has no filter {', '.join(odd)}; add it to pipeline/stamps/surveys.toml")
