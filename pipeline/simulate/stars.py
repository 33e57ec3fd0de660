"""Simulated stars: what they truly are, and the light they send, free of any telescope.

A star is a function of (seed, tic_id) alone, so it is the same in every sector, at every cadence and
in any order of simulation. Numbers are drawn to look like TESS's two-minute targets, not to be a population
model.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.simulate.eclipses import Floats, Orbit

__all__ = ["EB_KINDS", "OTHER_KINDS", "Star", "Waves", "draw_star", "simulated_tic_id"]

EB_KINDS = ("EA", "EB", "EW")
OTHER_KINDS = ("DSCT", "GDOR", "RRL", "ROT", "QUIET", "FLARE")

_OBLIQUITY = np.radians(23.4392911)
_TEFF = {
    "EA": (4500, 9500),
    "EB": (5000, 9500),
    "EW": (4600, 6800),
    "DSCT": (7000, 8500),
    "GDOR": (6700, 7400),
    "RRL": (6000, 7250),
    "ROT": (3400, 6200),
    "QUIET": (4000, 7000),
    "FLARE": (2900, 4000),
}
# Kind -> (r1 + r2, r2 / r1, surface brightness ratio), each (low, high); the sum of an EA follows its period.
_SHAPE = {
    "EA": ((0.6, 1.6), (0.4, 1.0), (0.05, 1.0)),
    "EB": ((0.55, 0.78), (0.5, 1.0), (0.2, 0.85)),
    "EW": ((0.76, 0.95), (0.5, 1.0), (0.85, 1.0)),
}
_EB_PERIOD = {"EA": (0.8, 12.0), "EB": (0.4, 3.0), "EW": (0.22, 0.8)}


@dataclass(frozen=True)
class Waves:
    """A sum of sines: pulsation and rotation.

    Parameters
    ----------
    frequency : (k,) float64
        Cycles a day.
    amplitude, phase : (k,) float64
        Relative amplitude, and phase in radians at `t0`.
    t0 : float
        BTJD.
    """

    frequency: Floats
    amplitude: Floats
    phase: Floats
    t0: float

    def flux(self, time: Floats, exposure_d: float) -> Floats:
        """Flux relative to its mean, averaged over each exposure.

        Parameters
        ----------
        time : (n,) float64
            Mid-exposure, BTJD.
        exposure_d : float
            Length of an exposure, days.

        Returns
        -------
        (n,) float64
            Relative flux.
        """
        amplitude = self.amplitude * np.sinc(self.frequency * exposure_d)
        flux = np.ones(time.shape)
        for f, a, p in zip(2 * np.pi * self.frequency, amplitude, self.phase, strict=True):
            flux += a * np.sin(f * (time - self.t0) + p)
        return flux


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
        Relative to the light at maximum; NaN if not an eclipsing binary.
    ecliptic_longitude, ecliptic_latitude : float
        Radians.
    source : Orbit or Waves
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
    source: Orbit | Waves

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


def draw_star(tic_id: int, seed: int, fraction_eb: float = 0.5) -> Star:
    """Draw one star, the same whenever it is asked for.

    Parameters
    ----------
    tic_id : int
        Its identifier.
    seed : int
        Seed of the simulated sky, >= 0.
    fraction_eb : float
        Chance that it is an eclipsing binary.

    Returns
    -------
    Star
        With its source of light.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, tic_id]))
    is_eb = rng.random() < fraction_eb
    kind = str(rng.choice(EB_KINDS if is_eb else OTHER_KINDS))
    teff = rng.uniform(*_TEFF[kind])
    unknown = rng.random() < 0.03
    radius = (teff / 5800) ** 1.2 * rng.uniform(0.8, 1.6)
    tmag = rng.triangular(7.0, 11.0, 14.0)
    crowdsap = 1 - rng.beta(1.0, 6.0) * min(1.0, 0.3 + 0.1 * (tmag - 7))
    flfrcsap = rng.uniform(0.7, 0.95)
    source: Orbit | Waves = _orbit(kind, rng) if is_eb else _waves(kind, rng)
    depths = source.depths() if isinstance(source, Orbit) else (np.nan, np.nan)
    period = source.period if isinstance(source, Orbit) else _main_period(source)
    return Star(
        tic_id=tic_id,
        tmag=tmag,
        teff=np.nan if unknown else teff,
        radius=np.nan if unknown else radius,
        crowdsap=crowdsap,
        flfrcsap=flfrcsap,
        kind=kind,
        period=period,
        t0=source.t0 if period > 0 else np.nan,
        depth_primary=depths[0],
        depth_secondary=depths[1],
        source=source,
        **_place(rng),
    )


def _orbit(kind: str, rng: np.random.Generator) -> Orbit:
    period = float(np.exp(rng.uniform(*np.log(_EB_PERIOD[kind]))))
    total, ratio, brightness = (rng.uniform(*span) for span in _SHAPE[kind])
    if kind == "EA":  # Kepler's third law: the wider the orbit, the smaller the stars in it.
        total = float(np.clip(0.45 * total * period ** (-2 / 3), 0.04, 0.55))
    r1 = total / (1 + ratio)
    return Orbit(
        period=period,
        t0=1325.0 + rng.uniform(0, period),
        r1=r1,
        r2=total - r1,
        cos_i=rng.uniform(0, 0.7) * total,
        brightness_ratio=brightness,
        limb=rng.uniform(0.2, 0.6),
        ellipsoidal={"EA": 0.6 * r1**3, "EB": rng.uniform(0.02, 0.06), "EW": rng.uniform(0.05, 0.12)}[kind],
        reflection=rng.uniform(0, 0.3) * r1**2 * (1 - 0.7 * brightness),
    )


def _waves(kind: str, rng: np.random.Generator) -> Waves:
    t0 = 1325.0 + rng.uniform(0, 10)
    if kind in ("DSCT", "GDOR"):
        modes = int(rng.integers(3, 7))
        low, high = (5.0, 33.0) if kind == "DSCT" else (0.4, 2.5)
        amplitude = rng.uniform(0.002, 0.02) * rng.uniform(0.15, 1.0, modes)
        frequency = np.exp(rng.uniform(np.log(low), np.log(high), modes))
        return Waves(frequency, amplitude, rng.uniform(0, 2 * np.pi, modes), t0)
    if kind == "RRL":  # A sawtooth: steep rise, slow fall.
        order = np.arange(1, 7)
        amplitude = rng.uniform(0.1, 0.25) * 0.95**order / order ** rng.uniform(1.1, 1.6)
        return Waves(order / rng.uniform(0.3, 0.8), amplitude, np.zeros(6), t0)
    strength = {"ROT": rng.uniform(0.002, 0.03), "FLARE": rng.uniform(0.0, 0.01), "QUIET": 0.0}[kind]
    spin = 1 / np.exp(rng.uniform(np.log(0.5), np.log(12.0)))
    # The third wave, close to the first in frequency, lets spots come and go over weeks.
    frequency = spin * np.array([1.0, 2.0, 1 + rng.uniform(0.02, 0.1)])
    amplitude = strength * np.array([1.0, rng.uniform(0, 0.6), rng.uniform(0, 0.4)])
    return Waves(frequency, amplitude, rng.uniform(0, 2 * np.pi, 3), t0)


def _main_period(waves: Waves) -> float:
    strongest = int(np.argmax(waves.amplitude))
    return float(1 / waves.frequency[strongest]) if waves.amplitude[strongest] > 0 else np.nan


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
