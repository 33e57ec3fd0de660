"""Binary stars drawn at random (`pairs`): their light over an orbit, and the truth that its geometry gives.

Classes: **EW** in contact, or both stars within 3% of it, with minima equal to 25%; **EA** light nearly flat between
eclipses: less than 22% of the deepest minimum is what changes without them, and morphology below 0.6; **EB** the
eclipsing ones between; **ELL** no eclipse. What eclipses so little that less than a tenth of its variation is eclipse,
or less than 0.1% deep, is not drawn.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.simulate.eclipses import Floats, hidden_fraction
from pipeline.simulate.light import PhaseCurve
from pipeline.simulate.pairs import Pair, draw_pair
from pipeline.simulate.roche import CloseBinary, roche_light

__all__ = ["Binary", "draw_binary", "morphology"]

# Morphology in Prša et al. (2022, ApJS 258, 16) and the median width of the primary eclipse in phase in their
# two-Gaussian model (5.6 sigma), in bins of 0.05 in morphology of the machine-readable table: it rises throughout.
_WIDTHS = np.array([0.0, 0.0089, 0.0164, 0.0223, 0.0299, 0.0380, 0.0473, 0.0592, 0.0716, 0.0815,
                    0.0980, 0.1339, 0.1763, 0.2253, 0.2627, 0.3030, 0.34])  # fmt: skip
_MORPHS = np.array([0.0, 0.025, 0.075, 0.125, 0.175, 0.225, 0.275, 0.325, 0.375, 0.425,
                    0.475, 0.525, 0.575, 0.625, 0.675, 0.725, 0.76])  # fmt: skip
_EQUAL = 0.75  # ratio of the minima of an EW
_DETACHED = 0.6  # morphology of an EA at the most, as of published ones
_FLAT = 0.22  # share of the deepest minimum that may come from outside eclipses in an EA
_FAINTEST = 0.001  # depth below which a binary is not counted as eclipsing


@dataclass(frozen=True, eq=False)
class Binary:
    """A binary and its truth.

    Parameters
    ----------
    curve : PhaseCurve
        Its light, third light included; phase 0 is the middle of the deeper eclipse.
    klass : str
        'EA', 'EB', 'EW', 'ELL'; '' for a heartbeat star.
    morph : float
        Prša's morphology.
    eccentricity : float
        Of the orbit.
    phase_2 : float
        Of mid-secondary; NaN without one.
    depth_1, depth_2 : float
        Relative to the light at maximum, what tides take at the same phase included; NaN without an eclipse.
    duration_1, duration_2 : float
        First to last contact, days; NaN without an eclipse.
    third_light : float
        Share of the light that is neither star's.
    cool : bool
        Spots are likely.
    """

    curve: PhaseCurve
    klass: str
    morph: float
    eccentricity: float
    phase_2: float
    depth_1: float
    depth_2: float
    duration_1: float
    duration_2: float
    third_light: float
    cool: bool


def morphology(width: float, bare: float) -> float:
    """Place a binary on Prša's scale: 0 for the narrowest eclipses, 0.5 semi-detached, 0.75 contact, 1 ellipsoidal.

    Up to 0.75 the scale is a monotone function of the width of the eclipse alone, taken from the medians of the
    published table (Prša et al. 2022, ApJS 258, 16; Matijevič et al. 2012, AJ 143, 123 for the method). Beyond, it
    is the share of the variation that is not eclipse, as light curves go from contact binaries to pure ellipsoidal
    waves.

    Parameters
    ----------
    width : float
        Width of an eclipse in phase as their two-Gaussian model has it, 5.6 sigma, the mean of both where there are
        two; 0 without. A V-shaped eclipse of full width w has 1.12 w.
    bare : float
        Depth of the deepest minimum were there no eclipse, over its depth: 0 detached, 1 ellipsoidal.

    Returns
    -------
    float
        0 to 1; rises with either argument.
    """
    step = np.clip((bare - 0.45) / 0.55, 0.0, 1.0)
    from_width = float(np.interp(width, _WIDTHS, _MORPHS))
    return float(from_width + (0.97 - from_width) * step**2 * (3 - 2 * step))


def draw_binary(kind: str, rng: np.random.Generator) -> Binary:
    """Draw a binary of a kind.

    Parameters
    ----------
    kind : str
        'EA', 'EB', 'EW' (class as geometry gives it), 'ELL', or 'HB': an eccentric one seen from so high that
        only its tides show near periastron.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    Binary
        Of that class.
    """
    while True:
        pair = draw_pair(kind, rng)
        third = float(rng.choice([0.0, rng.uniform(0, 0.6), 1 - 10 ** rng.uniform(-2, -0.3)], p=[0.6, 0.3, 0.1]))
        binary = _resolve(pair, third, rng)
        if binary is not None and binary.klass == ("" if kind == "HB" else kind):
            return binary


def _resolve(pair: Pair, third: float, rng: np.random.Generator) -> Binary | None:
    """Compute light and truth; None where the variation is too small to count."""
    e = pair.orbit.eccentricity
    if e == 0 and max(pair.fill1, pair.fill2) > 0.6:
        albedo = rng.uniform(0.4, 0.7) if pair.teff2 < 7200 else rng.uniform(0.8, 1.0)
        close = CloseBinary(pair.q, pair.fill1, pair.fill2, pair.teff1, pair.teff2, pair.orbit.cos_i, pair.limb, albedo)
        phase, light, bare = roche_light(close)
        spans = [_span(phase, light, bare, centre) for centre in (0.0, 0.5)]
    else:
        phase, light, bare, spans = _discs(pair)
    # Unequal maxima (O'Connell) and Doppler beaming: first sines of the orbital angle.
    if rng.random() < 0.4:
        lean = rng.normal(0, 0.012) * (1 if max(pair.fill1, pair.fill2) > 0.6 else 0.1)
        wave = 1 + lean * np.sin(2 * np.pi * phase) + rng.normal(0, 0.2) * lean * np.sin(4 * np.pi * phase)
        light, bare = light * wave, bare * wave
    top = light.max()
    light, bare = (third + (1 - third) * curve / top for curve in (light, bare))
    return _truth(pair, third, phase, light, bare, spans, rng)


def _truth(
    pair: Pair,
    third: float,
    phase: Floats,
    light: Floats,
    bare: Floats,
    spans: list[tuple[float, float] | None],
    rng: np.random.Generator,
) -> Binary | None:
    e = pair.orbit.eccentricity
    depths = [1 - _lowest(phase, light, span) if span else np.nan for span in spans]
    if np.nan_to_num(depths[1]) > np.nan_to_num(depths[0]):  # the deeper one is the primary
        spans, depths = spans[::-1], depths[::-1]
    first, second = spans
    if first is None:
        kind, swing = "ELL" if e == 0 else "", float(np.ptp(light))
        if swing < 0.0005:
            return None
        curve = _turned(pair.period, phase, light, phase[np.argmin(light)], rng)
        morph = morphology(0.0, 1.0) if e == 0 else np.nan
        none = float(np.nan)
        return Binary(curve, kind, morph, e, none, none, none, none, none, third, pair.teff1 < 6800)
    if depths[0] < _FAINTEST:
        return None
    middle = sum(first) / 2
    widths = [span[1] - span[0] if span else np.nan for span in (first, second)]
    share = (bare.max() - bare.min()) / (1 - light.min())
    near = min(pair.fill1, pair.fill2) > 0.97
    if share > 0.9:  # it grazes so little that no observer would tell it from an ellipsoidal variable
        return None
    morph = morphology(_gaussian_width(phase, 1 - light / bare, [span for span in (first, second) if span]), share)
    equal = np.nan_to_num(depths[1]) > _EQUAL * depths[0]
    klass = "EW" if near and equal else "EA" if share < _FLAT and morph < _DETACHED else "EB"
    return Binary(
        _turned(pair.period, phase, light, middle, rng),
        klass,
        morph,
        e,
        float((sum(second) / 2 - middle) % 1) if second else np.nan,
        depths[0],
        depths[1],
        widths[0] * pair.period,
        widths[1] * pair.period,
        third,
        pair.teff2 < 6500,
    )


def _turned(period: float, phase: Floats, light: Floats, zero: float, rng: np.random.Generator) -> PhaseCurve:
    """The curve with its phase 0 moved."""
    moved = (phase[:-1] - zero) % 1
    order = np.argsort(moved)
    moved, light = moved[order], light[:-1][order]
    ends = np.interp(0.0, [moved[-1] - 1, moved[0]], [light[-1], light[0]])
    t0 = 1325.0 + rng.uniform(0, period)
    return PhaseCurve(period, t0, np.r_[0.0, moved, 1.0], np.r_[ends, light, ends])


def _lowest(phase: Floats, light: Floats, span: tuple[float, float]) -> float:
    middle, half = (span[0] + span[1]) / 2, (span[1] - span[0]) / 2
    return float(light[np.abs((phase - middle + 0.5) % 1 - 0.5) <= half + 1e-9].min())


def _gaussian_width(phase: Floats, lost: Floats, spans: list[tuple[float, float]]) -> float:
    """Mean of 5.6 sigma of Gaussians of the depth and the area of each eclipse; a box has less, about 1.85 widths."""
    widths = []
    for start, end in spans:
        beside = np.abs((phase - (start + end) / 2 + 0.5) % 1 - 0.5)
        inside = np.where(beside <= (end - start) / 2 + 1e-9, lost, 0.0)
        area = float(np.trapezoid(inside, phase))
        widths.append(min(5.6 / np.sqrt(2 * np.pi) * area / float(inside.max()), 1.85 * (end - start)))
    return float(np.mean(widths))


def _span(phase: Floats, light: Floats, bare: Floats, centre: float) -> tuple[float, float] | None:
    """Phases between which a star of a close binary is hidden, from its conjunction outwards; symmetric."""
    lost = 1 - light / bare
    beside = np.abs((phase - centre + 0.5) % 1 - 0.5)
    limit = max(0.01 * lost[beside < 0.25].max(), 2e-4)
    if lost[beside < 0.01].max() < max(limit, 5e-4):
        return None
    half = float(beside[(lost > limit) & (beside < 0.25)].max())
    return centre - half, centre + half


def _discs(pair: Pair) -> tuple[Floats, Floats, Floats, list[tuple[float, float] | None]]:
    """Light of two discs, with the tides and the mutual heating of nearly round stars.

    Tides: Kumar et al. (1995, ApJ 449, 294), eq. 44, which for a circle is Morris (1985, ApJ 295, 143).
    """
    orbit, q, r1, r2 = pair.orbit, pair.q, pair.r1, pair.r2
    surface = np.expm1(17985 / pair.teff1) / np.expm1(17985 / pair.teff2)
    share1 = r1**2 / (r1**2 + surface * r2**2)
    eclipses = [orbit.eclipse(centre, r1, r2) for centre in (0.0, orbit.opposite)]
    nodes = [orbit.phases(256)] + [eclipse.phase % 1 for eclipse in eclipses if eclipse]
    phase = np.unique(np.concatenate(nodes))
    _, distance, toward = orbit.place(phase)
    tide = 0.8 * (share1 * q * r1**3 + (1 - share1) / q * r2**3)
    heat1, heat2 = 0.3 * (1 - share1) * r1**2, 0.3 * share1 * r2**2
    bare = 1 + tide * (1 - 3 * toward**2) / distance**3
    bare += (heat1 * (1 + toward) + heat2 * (1 - toward)) / distance**2
    light = bare.copy()
    spans: list[tuple[float, float] | None] = [None, None]
    for n, eclipse in enumerate(eclipses):
        if eclipse is None:
            continue
        radii, share = ((r1, r2), share1) if n == 0 else ((r2, r1), 1 - share1)
        lost = share * hidden_fraction(eclipse.separation, *radii, pair.limb)
        middle = (eclipse.start + eclipse.end) / 2
        near = (phase - middle + 0.5) % 1 - 0.5 + middle
        light *= 1 - np.interp(near, eclipse.phase, lost, left=0.0, right=0.0)
        if lost.max() > 1e-4:
            spans[n] = eclipse.start, eclipse.end
    return phase, light, bare, spans
