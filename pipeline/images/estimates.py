"""What a header does not tell, estimated from the pixels: gain, read noise, saturation, value of empty pixels."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Census", "gain", "is_subtracted", "read_noise", "saturation"]

_TYPICAL_READ_NOISE = 5.0  # electrons; stands where nothing is known
_TOP = 20_000
_STEP = 0.01  # of a bin, in the logarithm of the flux
_PILES = (3, 6, 12)  # widths of a pile that are tried, bins
_BELOW = (20, 120)  # where the usual number is taken from, bins


@dataclass
class Census:
    """Statistics of an image that is read band by band.

    Attributes
    ----------
    finite, pixels : int
        Pixels with a number, and all.
    low, high : float
        Extremes.
    top : (n,) float32
        The brightest pixels, 20,000 at most.
    levels, noises, values : list of arrays
        Samples of sky level, sky noise and pixels as they are in the file.
    lowest : float
        Of the pixels as they are in the file.
    corrected : bool
        Those are not the ones whose sky was measured: bias, dark or flat were applied in between.
    """

    finite: int = 0
    pixels: int = 0
    low: float = np.inf
    high: float = -np.inf
    top: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    levels: list[NDArray[np.float32]] = field(default_factory=list)
    noises: list[NDArray[np.float32]] = field(default_factory=list)
    values: list[NDArray[np.float32]] = field(default_factory=list)
    lowest: float = np.inf
    corrected: bool = False

    def count(
        self, data: NDArray[np.float32], good: NDArray[np.bool_], stored: NDArray[np.float32] | None = None
    ) -> None:
        """Count a band's pixels in; `stored` are the same as they are in the file, where that is something else."""
        self.pixels += data.size
        self.finite += int(good.sum())
        numbers = data[good]
        if not numbers.size:
            return
        self.low, self.high = min(self.low, float(numbers.min())), max(self.high, float(numbers.max()))
        raw = numbers if stored is None else stored[good]
        self.corrected |= stored is not None
        self.lowest = min(self.lowest, float(raw.min()))
        self.values.append(raw[:: max(1, raw.size // 50_000)])
        if numbers.size > _TOP:
            numbers = np.partition(numbers, numbers.size - _TOP)[-_TOP:]
        both = np.concatenate([self.top, numbers])
        self.top = np.sort(both)[-_TOP:]

    def measure(self, level: NDArray[np.float32], rms: NDArray[np.float32]) -> None:
        """Take samples of a band's sky."""
        self.levels.append(level[8::16, 8::16].ravel())
        self.noises.append(rms[8::16, 8::16].ravel())

    @property
    def level(self) -> float:
        """Median sky level."""
        return float(np.median(np.concatenate(self.levels)))

    @property
    def rms(self) -> float:
        """Median sky noise."""
        return float(np.median(np.concatenate(self.noises)))

    def empty_value(self) -> float | None:
        """Return the one value that pixels outside the covered area have in the file, if there is such a value.

        It is the lowest value or zero, many pixels have exactly it, and it is not the sky: no noise leaves so many
        numbers equal, save where counts are few.
        """
        sample = np.concatenate(self.values)
        integers = bool((sample == np.round(sample)).all())
        for value in (0.0, self.lowest):
            share = float((sample == np.float32(value)).mean())
            level, rms = self._sky_without(sample, value) if self.corrected else (self.level, self.rms)
            apart = abs(value - level) > 6 * rms
            if share > 2e-3 and (apart or not integers):
                return value
        return None

    @staticmethod
    def _sky_without(sample: NDArray[np.float32], value: float) -> tuple[float, float]:
        """Return median and robust scatter of the pixels in a file that have another value."""
        others = sample[sample != np.float32(value)]
        if not others.size:
            return value, 0.0
        level = float(np.median(others))
        return level, 1.4826 * float(np.median(np.abs(others - np.float32(level))))


def is_subtracted(level: float, rms: float, known_gain: float | None, noise: float = 0.0) -> bool:
    """Return whether the sky was subtracted: its noise is far more than its counts would make.

    Parameters
    ----------
    level, rms : float
        Sky level and noise, counts.
    known_gain : float or None
        Electrons a count, if known.
    noise : float
        Read noise, electrons.
    """
    if known_gain is None:
        return level < 3 * rms
    return rms**2 > 4 * (max(level, 0.0) / known_gain + (noise / known_gain) ** 2)


def gain(level: float, rms: float, noise: float | None) -> float:
    """Return electrons a count, from the sky's level and noise: var = level / g + (noise / g)².

    Parameters
    ----------
    level, rms : float
        Sky level and noise, counts.
    noise : float or None
        Read noise, electrons; a typical one if unknown.
    """
    read = _TYPICAL_READ_NOISE if noise is None else noise
    found = (level + np.sqrt(level**2 + 4 * rms**2 * read**2)) / (2 * rms**2)
    return float(np.clip(found, 1e-3, 1e3))


def read_noise(level: float, rms: float, known_gain: float, subtracted: bool) -> float:
    """Return the read noise, electrons: what the sky's counts leave of its noise; a typical one if that tells nothing.

    Parameters
    ----------
    level, rms : float
        Sky level and noise, counts.
    known_gain : float
        Electrons a count.
    subtracted : bool
        The sky was subtracted.
    """
    left = (known_gain * rms) ** 2 - known_gain * max(level, 0.0)
    if subtracted or left <= 0:
        return min(_TYPICAL_READ_NOISE, known_gain * rms)
    return float(np.sqrt(left))


def saturation(top: NDArray[np.float32], level: float, rms: float) -> float | None:
    """Return the level from which pixels are saturated, by the pile-up at the top of the histogram; None if none.

    Parameters
    ----------
    top : (n,) float32
        The brightest pixels, sorted.
    level, rms : float
        Sky level and noise, counts.

    Notes
    -----
    Pixels of star profiles thin out towards the top, about as a power law in flux. Where eight or more lie in the last
    few percent, and far more than the range below lets expect, they are cut off there. The pile is as wide as the flat
    field and the stacking made it; it begins where the counts rise.
    """
    bright = top[top > level + 50 * rms] - np.float32(level)
    if len(bright) < 20:
        return None
    high = float(bright[-1])
    bins = np.floor(np.log(bright / high) / -_STEP).astype(int)  # 0 is the last percent
    counts = np.bincount(bins[bins < _BELOW[1]], minlength=_BELOW[1])
    usual = counts[_BELOW[0] :].mean()
    for width in _PILES:
        found, expected = counts[:width].sum(), width * usual
        if found >= 8 and found > expected + 5 * np.sqrt(expected + 1):
            begin = int(np.argmax(counts[:width]))
            while begin + 2 < _BELOW[0] and counts[begin + 1 : begin + 3].sum() > 3 * usual + 1:
                begin += 1
            return float(high * np.exp(-(begin + 1) * _STEP) + level)
    return None
