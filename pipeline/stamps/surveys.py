"""What each survey resolves: aperture, filters, delivered FWHM, the grid its stamps are kept on, and groups by these.

The figures and their sources stand in ``surveys.toml`` beside this module; a user's file of the same shape adds to it.
"""

import math
import re
import tomllib
from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pipeline.errors import UsageError
from pipeline.settings import digest

__all__ = ["REACH", "Filter", "Survey", "able", "get", "group", "rayleigh", "recognised", "resolution", "surveys"]

#: Separation within which a second star counts, arcsec: what a survey has to resolve to tell.
REACH = 2.5

_OWN = Path(__file__).with_name("surveys.toml")

#: Apertures, m, at which the next group begins; Gezer et al. (poster): < 1, 1–1.5, 1.5–5, ≥ 5 m.
_APERTURES = (1.0, 1.5, 5.0)

#: The same of what is resolved, arcsec: above the first nothing within `REACH` is told from one star.
_RESOLUTIONS = (REACH, 1.5, 0.8)

_NEEDED = ("name", "aperture_m", "pixscale", "side", "filters")

SCHEMES = ("delivered", "aperture", "poster")


@dataclass(frozen=True)
class Filter:
    """A filter of a survey.

    Parameters
    ----------
    name : str
        As the survey calls it.
    wavelength_um : float
        Effective or pivot wavelength, µm.
    fwhm_arcsec : float
        FWHM of point sources in delivered images, arcsec.
    aliases : tuple of str
        Other names.
    """

    name: str
    wavelength_um: float
    fwhm_arcsec: float
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """A survey.

    Parameters
    ----------
    name : str
        As it is called here.
    aperture_m : float
        Diameter of the mirror, m.
    pixscale : float
        Arcsec a cell of the grid that its stamps are kept on.
    side : int
        Cells a side of that grid.
    filters : tuple of Filter
        By wavelength.
    source : str
        Where the figures are from.
    aliases : tuple of str
        Other names.
    poster_aperture_m : float
        Diameter as the poster of Gezer et al. prints it, m.
    telescopes : tuple of str
        Regular expressions that a header's words for it match.
    zeropoint : float
        Magnitude of one count of its published images, where no header says; NaN: nobody does.
    per_second : bool
        That is of one count a second, and images hold those of the whole exposure.
    numbers : tuple of (str, float)
        Regular expression of filters that are called by their wavelength, the number its group; µm that one of it is.
    """

    name: str
    aperture_m: float
    pixscale: float
    side: int
    filters: tuple[Filter, ...]
    source: str
    aliases: tuple[str, ...] = ()
    poster_aperture_m: float = math.nan
    telescopes: tuple[str, ...] = ()
    zeropoint: float = math.nan
    per_second: bool = False
    numbers: tuple[tuple[str, float], ...] = ()

    @property
    def field(self) -> float:
        """Side of what is kept around a source, arcsec."""
        return self.side * self.pixscale

    @cached_property
    def slug(self) -> str:
        """Name that is safe for folders and keys: ``pan-starrs``."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    @cached_property
    def sha256(self) -> str:
        """Checksum of its figures: what was made with them is not stale because a source is named better."""
        # Zero points are asked for by measures alone, which name them: pixels and stacks are the same with others.
        figures = asdict(self)
        for name in ("source", "zeropoint", "per_second"):
            del figures[name]
        return digest(figures if self.numbers else {name: figures[name] for name in figures if name != "numbers"})

    def magnitude(self, exptime_s: float) -> float:
        """Return the magnitude of one count of its published images; NaN where they have no fixed one.

        Parameters
        ----------
        exptime_s : float
            Exposure time, s; NaN: unknown.
        """
        if not self.per_second:
            return self.zeropoint
        return self.zeropoint + 2.5 * math.log10(exptime_s) if exptime_s > 0 else math.nan

    def filter(self, name: str) -> Filter:
        """Return a filter by its name or alias; one not known is like those of its wavelength, or the middle.

        Parameters
        ----------
        name : str
            Filter; letters' case counts only where two differ by nothing else.
        """
        for plain in (str, str.lower):
            for one in self.filters:
                if plain(name) in {plain(text) for text in (one.name, *one.aliases)}:
                    return one
        if (wave := self._named(name)) > 0:
            waves, widths = zip(*((one.wavelength_um, one.fwhm_arcsec) for one in self.filters), strict=True)
            # Beyond the longest it is diffraction that grows; below the shortest, pixels stay as they are.
            return Filter(name, wave, float(np.interp(wave, waves, widths)) * max(wave / waves[-1], 1.0))
        middle = self.filters[len(self.filters) // 2]
        return Filter(name, middle.wavelength_um, median(one.fwhm_arcsec for one in self.filters))

    def _named(self, name: str) -> float:
        """Return the wavelength, µm, that a filter is called by; 0 where it is not."""
        found = ((re.fullmatch(text, name, re.IGNORECASE), unit) for text, unit in self.numbers)
        return next((int(match[1]) * unit for match, unit in found if match), 0.0)

    def doubt(self, name: str) -> str | None:
        """Return what there is to say of a filter's figures, None where they stand in the table.

        Parameters
        ----------
        name : str
            Filter.
        """
        if self.knows(name):
            return None
        whose = "those that its name tells" if self._named(name) > 0 else "the middle ones of its survey"
        return f"filter {name} is not in the table of {self.name}: wavelength and nominal FWHM are {whose}"

    def knows(self, name: str) -> bool:
        """Return whether a filter stands in the table."""
        return self.filter(name) in self.filters


def surveys(path: str | Path | None = None) -> dict[str, Survey]:
    """Return all surveys by name.

    Parameters
    ----------
    path : str or Path, optional
        TOML file of further ones, as ``surveys.toml`` beside this module.

    Raises
    ------
    UsageError
        If the file does not parse or lacks something.
    """
    return dict(_surveys(None if path is None else str(path)))


@lru_cache(maxsize=8)
def _surveys(path: str | None) -> dict[str, Survey]:
    files = [_OWN] if path is None else [_OWN, Path(path)]
    return {survey.name: survey for file in files for survey in _parsed(file)}


def _parsed(file: Path) -> list[Survey]:
    cure = "give [[survey]] tables as pipeline/stamps/surveys.toml does"
    try:
        tables = tomllib.loads(file.read_text())["survey"]
    except OSError as error:
        raise UsageError(f"{file}: no table of surveys can be read there: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file}: {error}; {cure}") from error
    except KeyError as error:
        raise UsageError(f"{file}: no [[survey]] in it; {cure}") from error
    if not (isinstance(tables, list) and all(isinstance(table, dict) for table in tables)):
        raise UsageError(f"{file}: `survey` is {tables!r}, not one table or more; {cure}")
    found = []
    for number, table in enumerate(tables, 1):
        try:
            found.append(_survey(dict(table)))
        except (TypeError, ValueError, AttributeError, re.error) as error:
            raise UsageError(f"{file}: survey {table.get('name', number)}: {error}; {cure}") from error
    return found


def _survey(table: dict[str, Any]) -> Survey:
    if absent := [name for name in _NEEDED if name not in table]:
        raise ValueError(f"{', '.join(absent)} missing")
    if odd := sorted(set(table) - {one.name for one in fields(Survey)}):
        raise ValueError(f"unknown {', '.join(odd)}; there are {', '.join(one.name for one in fields(Survey))}")
    for name, row in table["filters"].items():
        if not isinstance(row, list) or len(row) < 2:
            raise ValueError(f"filter {name} = {row!r}: [wavelength in µm, FWHM in arcsec] is needed")
    filters = [Filter(name, float(row[0]), float(row[1]), tuple(row[2:])) for name, row in table.pop("filters").items()]
    table["filters"] = tuple(sorted(filters, key=lambda one: one.wavelength_um))
    for name in ("aliases", "telescopes"):
        table[name] = tuple(table.get(name, ()))
    table.setdefault("poster_aperture_m", table["aperture_m"])
    table["numbers"] = tuple((text, float(unit)) for text, unit in table.get("numbers", {}).items())
    table["zeropoint"] = float(table.get("zeropoint", math.nan))
    table.setdefault("source", "")
    survey = Survey(**table)
    lengths = [survey.aperture_m, survey.pixscale, *(v for f in filters for v in (f.wavelength_um, f.fwhm_arcsec))]
    if not filters or not all(0 < value < math.inf for value in lengths):
        raise ValueError(f"{survey.name}: filters, and lengths above 0, are needed")
    if survey.side not in (64, 128):
        raise ValueError(f"{survey.name}: side {survey.side}; networks take 64 or 128 cells")
    if survey.field / 2 < REACH:
        raise ValueError(f"{survey.name}: {survey.side} cells of {survey.pixscale} arcsec do not hold {REACH} arcsec")
    for text in survey.telescopes:
        re.compile(text)
    for text, unit in survey.numbers:
        if re.compile(text).groups != 1 or not 0 < unit < math.inf:
            raise ValueError(f"{survey.name}: numbers: {text} = {unit}; one group, and micrometres above 0, are needed")
    return survey


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())


@lru_cache(maxsize=8)
def _by_alias(path: str | None) -> dict[str, Survey]:
    known = _surveys(path).values()
    return {_plain(text): one for one in known for text in one.aliases} | {_plain(one.name): one for one in known}


def get(name: str, path: str | Path | None = None) -> Survey:
    """Return a survey by its name or one of its aliases; case, punctuation and a release (``-DR1``) do not count.

    Parameters
    ----------
    name : str
        Survey.
    path : str or Path, optional
        TOML file of further ones.

    Raises
    ------
    UsageError
        If it is not known.
    """
    known = _by_alias(None if path is None else str(path))
    for text in (_plain(name), re.sub(r"dr\d+$", "", _plain(name))):
        if text in known:
            return known[text]
    cure = "one of your own: --surveys FILE (`surveys` in [stamps]), shaped as pipeline/stamps/surveys.toml"
    raise UsageError(f"no survey is called {name!r}; there are {', '.join(surveys(path))}; {cure}")


def recognised(words: str, path: str | Path | None = None) -> list[str]:
    """Return the names of the surveys that a header's words may be of; none where they name none.

    Parameters
    ----------
    words : str
        Value of a header's TELESCOP, INSTRUME, SURVEY or ORIGIN.
    path : str or Path, optional
        TOML file of further surveys.
    """
    told = words.strip().lower()
    return [one.name for one in surveys(path).values() if any(re.search(text, told) for text in one.telescopes)]


def rayleigh(survey: Survey, filter: str) -> float:
    """Return the diffraction limit of a survey's telescope in a filter, arcsec: θ = 1.22 λ/D (Rayleigh 1879).

    Parameters
    ----------
    survey : Survey
        Whose telescope.
    filter : str
        Filter.
    """
    return math.degrees(1.22e-6 * survey.filter(filter).wavelength_um / survey.aperture_m) * 3600


def resolution(survey: Survey, filter: str) -> float:
    """Return what a survey resolves in a filter, arcsec: the largest of Rayleigh's limit, the FWHM and two pixels.

    Parameters
    ----------
    survey : Survey
        Survey.
    filter : str
        Filter.
    """
    return max(rayleigh(survey, filter), survey.filter(filter).fwhm_arcsec, 2 * survey.pixscale)


def _best(survey: Survey) -> float:
    return min(resolution(survey, one.name) for one in survey.filters)


def able(survey: Survey) -> bool:
    """Return whether a survey's best filter resolves 2.5 arcsec; one that does not never makes a positive alone.

    Parameters
    ----------
    survey : Survey
        Survey.
    """
    return _best(survey) <= REACH


def group(name: str, scheme: str = "delivered", path: str | Path | None = None) -> int:
    """Return the group of a survey, 1 (coarsest) to 4.

    Parameters
    ----------
    name : str
        Survey, or an alias of it.
    scheme : {"delivered", "aperture", "poster"}
        ``poster``: by the aperture that the poster of Gezer et al. prints, < 1, 1–1.5, 1.5–5, ≥ 5 m; ``aperture``: by
        the true one; ``delivered``: by what its best filter resolves, > 2.5, ≤ 2.5, ≤ 1.5, ≤ 0.8 arcsec.
    path : str or Path, optional
        TOML file of further surveys.

    Raises
    ------
    UsageError
        If survey or scheme are not known.
    """
    survey = get(name, path)
    if scheme not in SCHEMES:
        raise UsageError(f"no scheme of groups is called {scheme!r}; there are {', '.join(SCHEMES)}")
    if scheme == "delivered":
        return 1 + sum(_best(survey) <= edge for edge in _RESOLUTIONS)
    aperture = survey.poster_aperture_m if scheme == "poster" else survey.aperture_m
    return 1 + sum(aperture >= edge for edge in _APERTURES)
