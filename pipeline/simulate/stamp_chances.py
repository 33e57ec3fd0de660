"""Sources and exposures of simulated stamps, drawn by chance as a description says."""

from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np

from pipeline.simulate.nights import value
from pipeline.simulate.stamp_scenes import Description, Exposure, Galaxy, Scene, Sky
from pipeline.simulate.telescopes import BANK, TELESCOPES, Air, Telescope
from pipeline.stamps import surveys

__all__ = ["PIVOT", "draw", "draw_sky", "drawn", "expose"]

#: Wavelength, µm, at which magnitudes of sources that several surveys see are told.
PIVOT = 0.7

#: Nothing but what is meant to be there lies nearer to the primary, arcsec.
_CLEAR = 2.6

#: Brighter than the primary by no more than this are others in the field, magnitudes.
_BRIGHTEST = 3.0


def draw(description: Description, survey: str, seed: int, n: int) -> list[Scene]:
    """Draw scenes of one survey.

    Parameters
    ----------
    description : Description
        How widely.
    survey : str
        Which, as the description calls it.
    seed : int
        Number of the part; the same one of the same description gives the same scenes.
    n : int
        How many; the first ones do not depend on it.
    """
    return [drawn(description, survey, seed, number) for number in range(n)]


def drawn(description: Description, survey: str, seed: int, number: int) -> Scene:
    """Draw one scene of those of `draw`.

    Parameters
    ----------
    description : Description
        How widely.
    survey : str
        Which, as the description calls it.
    seed, number : int
        Of the part, and in it.
    """
    told = description.source | description.surveys[survey]
    grid = surveys.get(survey)
    waves = [grid.filter(name).wavelength_um for name in description.surveys[survey]["fwhm"]]
    rng = np.random.default_rng([description.seed, crc32(survey.encode()), seed, number])
    sky = draw_sky(description, rng, (grid.side / 2 + 8) * grid.pixscale, told, float(np.exp(np.mean(np.log(waves)))))
    name = f"{description.name}-{description.seed}:{survey}:{seed:05d}-{number:03d}"
    return expose(description, survey, sky, rng, name)


def draw_sky(
    description: Description,
    rng: np.random.Generator,
    reach: float,
    told: dict[str, Any] | None = None,
    pivot: float = PIVOT,
) -> Sky:
    """Draw a source and what is around it.

    Parameters
    ----------
    description : Description
        How widely.
    rng : numpy.random.Generator
        Source of chance.
    reach : float
        How far around it there are stars, arcsec along each axis.
    told : dict, optional
        [source] with what is different in a survey.
    pivot : float
        Wavelength of the magnitudes, µm.
    """
    told = told or description.source
    double = rng.random() < description.double
    shares = np.array(list(description.kinds.values()))
    kind = "pair" if double else str(rng.choice(list(description.kinds), p=shares / shares.sum()))
    troubles = {name for name, chance in description.also.items() if rng.random() < chance} | {kind}
    stars = _stars(told, rng, reach, double, "neighbour" in troubles)
    east, north, mag = np.array(stars).T
    steep = np.array([value(told["redder"], rng) for _ in mag]) * mag + rng.normal(0, told["scatter"], len(mag))
    slope = np.where(np.arange(len(mag)) == 0, 0.0, -steep)
    galaxy, alone = None, False
    if "galaxy" in troubles:
        alone = not double and kind == "galaxy" and rng.random() < value(description.galaxy["alone"], rng)
        galaxy = _galaxy(description.galaxy, rng, alone)
    return Sky(
        int(double), kind, frozenset(troubles), east, north, mag, slope, galaxy, alone, float(rng.random()), pivot
    )


def _stars(
    told: dict[str, Any], rng: np.random.Generator, reach: float, double: bool, crowded: bool
) -> list[tuple[float, float, float]]:
    """Draw east, north and magnitude of the primary, its companions and others."""
    stars = [(0.0, 0.0, 0.0)]
    if double:
        stars.append(_companion(told, rng))
        if rng.random() < value(told["third"], rng):
            stars.append(_companion(told, rng))
    if crowded:
        stars += _neighbours(told, rng)
    return stars + _others(told, rng, reach)


def _at(radius: float, rng: np.random.Generator) -> tuple[float, float]:
    angle = rng.uniform(0, 2 * np.pi)
    return float(radius * np.sin(angle)), float(radius * np.cos(angle))


def _companion(told: dict[str, Any], rng: np.random.Generator) -> tuple[float, float, float]:
    name = "separation" if rng.random() < 0.5 else "separation_even"
    return *_at(value(told[name], rng), rng), value(told["delta_mag"], rng)


def _neighbours(told: dict[str, Any], rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Draw one to three stars just too far away to count, some of them double themselves."""
    found = []
    for _ in range(1 + int(rng.random() < 0.25) + int(rng.random() < 0.1)):
        east, north = _at(value(told["near" if rng.random() < 0.5 else "neighbour"], rng), rng)
        mag = value(told["neighbour_mag"], rng)
        found.append((east, north, mag))
        if rng.random() < told["double_neighbour"]:
            more = _companion(told, rng)
            if np.hypot(east + more[0], north + more[1]) > _CLEAR:
                found.append((east + more[0], north + more[1], mag + more[2]))
    return found


def _others(told: dict[str, Any], rng: np.random.Generator, reach: float) -> list[tuple[float, float, float]]:
    """Draw the field's stars; there are 1.9 times as many for each magnitude fainter."""
    density, faint = value(told["density"], rng), value(told["faint"], rng)
    count = min(rng.poisson(density * (2 * reach / 60) ** 2), 120)
    east, north = rng.uniform(-reach, reach, (2, count))
    span = 10 ** (-0.28 * (faint + _BRIGHTEST))
    mag = faint + np.log10(span + (1 - span) * rng.random(count)) / 0.28
    kept = np.hypot(east, north) > _CLEAR
    return list(zip(east[kept], north[kept], mag[kept], strict=True))


def _galaxy(told: dict[str, Any], rng: np.random.Generator, alone: bool) -> Galaxy:
    radius = value(told["radius"], rng)
    off = (0.0, 0.0) if alone else _at(radius * value(told["offset"], rng), rng)
    mag = 0.0 if alone else value(told["mag"], rng)
    return Galaxy(
        *off, mag, radius, value(told["ratio"], rng), rng.uniform(0, np.pi), value(told["bulge"], rng),
        *((value(told["knots"], rng), int(rng.integers(1 << 30))) if alone else (0.0, 0)),
    )  # fmt: skip


def expose(description: Description, survey: str, sky: Sky, rng: np.random.Generator, name: str) -> Scene:
    """Draw how a survey sees a source.

    Parameters
    ----------
    description : Description
        How widely.
    survey : str
        Which, as the description calls it.
    sky : Sky
        What there is.
    rng : numpy.random.Generator
        Source of chance.
    name : str
        Of the source.
    """
    own = description.surveys[survey]
    told = description.exposure | description.source | own
    names = list(own["fwhm"])
    alone = "misregistered" not in sky.troubles and (len(names) == 1 or rng.random() < told["single"])
    count = 1 if alone else int(rng.integers(2, len(names) + 1)) if rng.random() < 0.5 else 2
    chosen = sorted(rng.choice(len(names), count, replace=False))
    depth = np.exp(rng.normal(0, told["depth"], count))
    low, high = told["snr"]["log"]
    # Only bright stars saturate.
    rank = (1 + sky.rank) / 2 if "saturated" in sky.troubles else sky.rank
    snr = low * (high / low) ** rank * depth / np.sqrt((depth**2).sum())
    common: dict[str, Any] = {key: value(told[key], rng) for key in ("beta", "ellipticity", "skew", "motion", "halo")}
    common |= {"angle": rng.uniform(0, 2 * np.pi), "turn": rng.uniform(0, 2 * np.pi, 4)}
    # Filters of half of the sources share one grid of pixels.
    common |= {"grid": tuple(rng.uniform(-0.5, 0.5, 2)) if rng.random() < 0.5 else None}
    # Moffat's profile above the air, Gauss's below.
    common |= {"plain": bool(rng.random() < told["plain"])}
    common |= {"seeing": rng.normal(0, told["seeing"]), "number": int(rng.integers(BANK))}
    odd = rng.integers(count)
    exposures = {}
    for place, (number, one) in enumerate(zip(chosen, snr, strict=True)):
        away = "misregistered" in sky.troubles and place == odd
        exposures[names[number]] = _exposure(survey, names[number], told, common, sky, float(one), away, rng)
    # What is near the source is told for the time of its deepest exposure: the star is where it is then.
    then = max(exposures.values(), key=lambda one: one.snr).moved
    exposures = {
        filter_: replace(one, moved=(one.moved[0] - then[0], one.moved[1] - then[1]))
        for filter_, one in exposures.items()
    }
    east, north = _at(value(told["offset"], rng), rng)
    return Scene(survey, name, sky, (east, north), exposures)


def _exposure(
    survey: str, name: str, told: dict[str, Any], common: dict[str, Any], sky: Sky, snr: float, away: bool,
    rng: np.random.Generator,
) -> Exposure:  # fmt: skip
    filter_ = surveys.get(survey).filter(name)
    drawn = {key: value(told[key], rng) for key in (
        "sky", "read_noise", "saturation", "saturated", "gradient", "misregistered", "smoothed", "unit", "pedestal",
        "cosmic_rays", "cut",
    )}  # fmt: skip
    telescope: str | None = told.get("telescope")
    jitter = float(abs(rng.normal(0, 0.4))) * TELESCOPES[telescope].blur[1] if telescope else 0.0
    core = _sharp(TELESCOPES[telescope], filter_.wavelength_um, jitter) if telescope else told["fwhm"][name]
    air = _air(core, told, common, rng) if common["plain"] or telescope is None else None
    core = air.fwhm if air else core
    pixel = surveys.get(survey).pixscale
    native = told.get("native", {}).get(name, pixel)
    # A square of side 1 widens like a Gaussian of variance 1/12.
    width = float(np.sqrt(core**2 + 8 * np.log(2) * (native**2 / 12 + (drawn["smoothed"] * pixel) ** 2)))
    register = rng.normal(0, told["registration"] * width, 2)
    if away:
        register = register + _at(drawn["misregistered"] * width, rng)
    moved = _at(common["motion"] * rng.random(), rng) if common["motion"] else (0.0, 0.0)
    gradient = drawn["gradient"] * np.array(_at(1.0, rng))
    resampled = rng.random() < told["resampled"]
    centre = common["grid"] or tuple(rng.uniform(-0.5, 0.5, 2))
    return Exposure(
        wavelength=filter_.wavelength_um, snr=snr, air=air, telescope=telescope, number=common["number"],
        native=native, jitter=jitter, fwhm=width, centre=(float(centre[0]), float(centre[1])),
        shift=(float(register[0]), float(register[1])), moved=moved,
        sky=drawn["sky"], read_noise=drawn["read_noise"], saturation=drawn["saturation"], unit=drawn["unit"],
        saturated=drawn["saturated"] if "saturated" in sky.troubles else 0.0,
        style=str(rng.choice(["clip", "bleed", "hole"])), gradient=(float(gradient[0]), float(gradient[1])),
        resampled=(float(rng.uniform(0, 0.5) * resampled), float(rng.uniform(0, 0.5) * resampled)),
        smoothed=drawn["smoothed"],
        pedestal=bool(drawn["pedestal"]), told=bool(rng.random() < told["told"]),
        cosmic_rays=round(drawn["cosmic_rays"]), artefact="artefact" in sky.troubles and rng.random() < 0.7,
        cut=drawn["cut"], mjd=float(rng.uniform(51_000, 60_500)),
    )  # fmt: skip


def _sharp(telescope: Telescope, wavelength: float, jitter: float) -> float:
    """Return the FWHM of a point above the air, arcsec, but for pixels."""
    size = 1.03e-6 * wavelength / telescope.diameter * 206_265
    return float(np.hypot(size, 2.355 * np.hypot(jitter, np.mean(telescope.blur))))


def _air(median: float, told: dict[str, Any], common: dict[str, Any], rng: np.random.Generator) -> Air:
    """Draw a point-spread function near that of the source's other filters."""
    fwhm = median * float(np.exp(common["seeing"] + rng.normal(0, told["filters"])))
    ellipticity = np.array([np.cos(common["angle"]), np.sin(common["angle"])]) * common["ellipticity"]
    e1, e2 = ellipticity + rng.normal(0, told["twist"], 2)
    turn, skew = common["turn"] + rng.normal(0, 0.3, 4), common["skew"]
    coma = float(skew * np.cos(turn[0])), float(skew * np.sin(turn[0]))
    much = skew * np.cos(turn[2]) / 2
    trefoil = float(much * np.cos(turn[1])), float(much * np.sin(turn[1]))
    beta = max(2.2, common["beta"] + rng.normal(0, 0.15)) * (4 if common["plain"] and "telescope" not in told else 1)
    return Air(fwhm, beta, (float(e1), float(e2)), common["halo"], (*coma, *trefoil))
