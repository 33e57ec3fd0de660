"""Simulated stars: what they truly are, and the light they send, free of any telescope.

A star is a function of (seed, tic_id) alone, so it is the same in every sector, at every cadence and
in any order of simulation. Numbers are drawn to be wide, not to be a population model: many eclipsing binaries, and
every other kind of variable that might be taken for one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import UsageError
from pipeline.simulate.binaries import Binary, draw_binary
from pipeline.simulate.light import Light, Part, Waves
from pipeline.simulate.variables import draw_light, draw_pulsation, draw_spots

__all__ = ["EB_KINDS", "OTHER_KINDS", "Star", "draw_star", "simulated_tic_id"]

#: Eclipsing binaries: the kind is the class that geometry gives (`pipeline.simulate.binaries`).
EB_KINDS = ("EA", "EB", "EW")

#: Ellipsoidal variables, heartbeat stars, spotted rotators, pulsators (HADS: high-amplitude delta Scuti; SPB: slowly
#: pulsating B), flare stars, transiting planets, granulating giants, quiet stars, and ones with strong systematics.
OTHER_KINDS = (
    "ELL", "HB", "ROT", "DSCT", "HADS", "GDOR", "SPB", "RRL", "CEP", "FLARE", "PLANET", "GIANT", "QUIET", "SYST",
)  # fmt: skip

# Shares of EB_KINDS and of OTHER_KINDS.
_EB_SHARES = (0.45, 0.25, 0.3)
_OTHER_SHARES = (0.1, 0.03, 0.16, 0.08, 0.03, 0.1, 0.04, 0.06, 0.04, 0.05, 0.05, 0.04, 0.14, 0.08)

_OF_BINARIES = ("depth_primary", "depth_secondary", "morph", "eccentricity", "phase_2", "duration_1", "duration_2")
_OBLIQUITY = np.radians(23.4392911)
_TEFF = {
    "EA": (4500, 9500),
    "EB": (5000, 9500),
    "EW": (4600, 6800),
    "ELL": (4600, 9500),
    "HB": (5500, 9500),
    "DSCT": (7000, 8500),
    "HADS": (7000, 8200),
    "GDOR": (6700, 7400),
    "SPB": (11000, 20000),
    "RRL": (6000, 7250),
    "CEP": (5000, 6500),
    "ROT": (3400, 6200),
    "QUIET": (4000, 7000),
    "SYST": (4000, 7000),
    "PLANET": (3300, 6500),
    "GIANT": (4000, 5200),
    "FLARE": (2900, 4000),
}


@dataclass(frozen=True, kw_only=True)
class Star:
    """The truth about one simulated star.

    Parameters
    ----------
    tic_id : int
        Identifier.
    ra, dec : float
        ICRS, degrees, J2000.
    pmra, pmdec : float
        Proper motion, mas/yr.
    tmag : float
        TESS magnitude.
    teff, radius : float
        K and solar radii; NaN where a catalogue would not know them.
    camera, ccd : int
        1 to 4 each.
    crowdsap, flfrcsap : float
        As in SPOC's headers.
    kind : str
        One of `EB_KINDS` and `OTHER_KINDS`.
    period : float
        Orbital or strongest period, days; NaN if none.
    t0 : float
        Mid-primary eclipse or zero phase, BTJD; NaN if there is no period.
    depth_primary, depth_secondary : float
        Relative to the light at maximum, tides included, third light in it; NaN without an eclipse. A planet has none.
    ecliptic_longitude, ecliptic_latitude : float
        Radians.
    klass : str
        'EA', 'EB', 'EW', 'ELL', or '' for what is no tidally distorted or eclipsing binary.
    morph : float
        Morphology on the scale of Prša et al. (2022); NaN if `klass` is ''.
    eccentricity : float
        Of the orbit; NaN if `klass` is '' and it is no heartbeat star.
    phase_2 : float
        Phase of mid-secondary; NaN without a secondary eclipse.
    duration_1, duration_2 : float
        First to last contact, days; NaN without an eclipse.
    source : Light
        Its light.
    """

    tic_id: int
    ra: float
    dec: float
    pmra: float
    pmdec: float
    tmag: float
    teff: float
    radius: float
    camera: int
    ccd: int
    crowdsap: float
    flfrcsap: float
    kind: str
    period: float
    t0: float
    depth_primary: float
    depth_secondary: float
    ecliptic_longitude: float
    ecliptic_latitude: float
    klass: str
    morph: float
    eccentricity: float
    phase_2: float
    duration_1: float
    duration_2: float
    source: Light

    @property
    def label(self) -> str:
        """'EB' or 'not EB'."""
        return "EB" if self.kind in EB_KINDS else "not EB"


def simulated_tic_id(index: int, seed: int) -> int:
    """Identifier of the index-th star of a seed, from a range that the TIC does not use (5e9 to 6e9).

    Up to a million stars a seed; seeds below 1000 share no star.

    Parameters
    ----------
    index : int
        0 or later.
    seed : int
        Seed of the simulated sky, >= 0.

    Returns
    -------
    int
        The identifier, rising with the index.
    """
    return 5_000_000_000 + (seed % 1000) * 1_000_000 + index


def draw_star(tic_id: int, seed: int, fraction_eb: float = 0.5, kinds: Sequence[str] | None = None) -> Star:
    """Draw one star, the same whenever it is asked for.

    Parameters
    ----------
    tic_id : int
        Its identifier.
    seed : int
        Seed of the simulated sky, >= 0.
    fraction_eb : float
        Chance that it is an eclipsing binary, where `kinds` holds both sorts.
    kinds : sequence of str, optional
        Some of `EB_KINDS` and `OTHER_KINDS` to choose from, in the shares they have to each other; default all.

    Returns
    -------
    Star
        With its source of light.

    Raises
    ------
    UsageError
        If a kind is unknown.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, tic_id]))
    kind = _draw_kind(rng, fraction_eb, kinds)
    teff = rng.uniform(*_TEFF[kind])
    unknown = rng.random() < 0.03
    radius = (teff / 5800) ** 1.2 * rng.uniform(0.8, 1.6)
    tmag = rng.triangular(5.5, 11.5, 16.0)
    crowdsap = 1 - rng.beta(1.0, 5.0) * min(1.0, 0.2 + 0.1 * max(tmag - 7, 0))
    if rng.random() < 0.03:
        crowdsap = rng.uniform(0.05, 0.6)
    flfrcsap = rng.uniform(0.65, 0.95)
    if kind in (*EB_KINDS, "ELL", "HB"):
        light, truth = _binary_truth(draw_binary(kind, rng), rng)
    else:
        light, period, t0 = draw_light(kind, rng)
        truth = {"klass": "", "period": period, "t0": t0, **dict.fromkeys(_OF_BINARIES, np.nan)}
    return Star(
        tic_id=tic_id,
        tmag=tmag,
        teff=np.nan if unknown else teff,
        radius=np.nan if unknown else radius,
        crowdsap=crowdsap,
        flfrcsap=flfrcsap,
        kind=kind,
        source=light,
        **truth,
        **_place(rng),
    )


def _draw_kind(rng: np.random.Generator, fraction_eb: float, kinds: Sequence[str] | None) -> str:
    wanted = set(kinds) if kinds is not None else {*EB_KINDS, *OTHER_KINDS}
    if unknown := wanted - {*EB_KINDS, *OTHER_KINDS}:
        raise UsageError(f"kinds {', '.join(sorted(unknown))}: there are {', '.join((*EB_KINDS, *OTHER_KINDS))}")
    sorts = [
        [(kind, share) for kind, share in zip(names, shares, strict=True) if kind in wanted]
        for names, shares in ((EB_KINDS, _EB_SHARES), (OTHER_KINDS, _OTHER_SHARES))
    ]
    is_eb = rng.random() < fraction_eb
    chosen = (sorts[0] if is_eb else sorts[1]) or sorts[0] or sorts[1]
    shares = np.cumsum([share for _, share in chosen])
    return chosen[int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))][0]


def _binary_truth(binary: Binary, rng: np.random.Generator) -> tuple[Light, dict[str, Any]]:
    """The light of a binary whose stars may have spots and pulsate, and the truth about it."""
    curve, own = binary.curve, 1 - binary.third_light
    parts: list[Part] = [curve]
    if rng.random() < (0.65 if binary.cool else 0.12):
        turn = curve.period * (1 + rng.normal(0, 0.01))
        if curve.period > 8 and rng.random() < 0.7:
            turn = np.exp(rng.uniform(np.log(0.7), np.log(25)))
        parts.append(draw_spots(turn, own * np.exp(rng.uniform(np.log(5e-4), np.log(0.05))), rng))
    if rng.random() < (0.1 if binary.klass else 0.4):
        waves = draw_pulsation(str(rng.choice(["DSCT", "GDOR", "SPB"])), rng)
        amplitude = own * waves.amplitude
        if not binary.klass:  # tides make a heartbeat star ring at harmonics of its orbit
            amplitude = amplitude * min(1.0, 0.3 * np.ptp(curve.light) / amplitude.sum())
            harmonics = np.maximum(np.round(waves.frequency * curve.period), 2)
            waves = Waves(harmonics / curve.period, amplitude, waves.phase, waves.t0)
        else:
            waves = Waves(waves.frequency, amplitude, waves.phase, waves.t0, waves.skew)
        parts.append(waves)
    flares = rng.uniform(0, 0.3) if binary.cool and rng.random() < 0.1 else 0.0
    return Light(tuple(parts), flares=flares), {
        "klass": binary.klass,
        "period": curve.period,
        "t0": curve.t0,
        "depth_primary": binary.depth_1,
        "depth_secondary": binary.depth_2,
        "morph": binary.morph,
        "eccentricity": binary.eccentricity,
        "phase_2": binary.phase_2,
        "duration_1": binary.duration_1,
        "duration_2": binary.duration_2,
    }


def _place(rng: np.random.Generator) -> dict[str, Any]:
    """Position in the southern ecliptic hemisphere, and the camera and CCD that TESS would see it with."""
    longitude = rng.uniform(0, 2 * np.pi)
    latitude = np.arcsin(rng.uniform(-1, np.sin(np.radians(-6))))
    x, y, z = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)
    y, z = y * np.cos(_OBLIQUITY) - z * np.sin(_OBLIQUITY), y * np.sin(_OBLIQUITY) + z * np.cos(_OBLIQUITY)
    below = -np.degrees(latitude) - 6
    camera = min(4, 1 + int(below // 24))
    return {
        "ra": float(np.degrees(np.arctan2(y, x)) % 360),
        "dec": float(np.degrees(np.arcsin(z))),
        "pmra": rng.normal(0, 15),
        "pmdec": rng.normal(0, 15),
        "camera": camera,
        "ccd": 1 + 2 * int(below % 24 > 12) + int(np.degrees(longitude) % 24 > 12),
        "ecliptic_longitude": longitude,
        "ecliptic_latitude": float(latitude),
    }
