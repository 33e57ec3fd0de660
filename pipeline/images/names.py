"""What candidates and objects are called: where they are, and a hash that tells neighbours apart."""

import hashlib
from collections.abc import Iterable

__all__ = ["candidate_ids", "place_name"]


def place_name(ra: float, dec: float) -> str:
    """Return a place as IAU designations write it, ``J123456.78+012345.6``: truncated, not rounded.

    Parameters
    ----------
    ra, dec : float
        Degrees, ICRS.
    """
    # Whole numbers from here on: no 60.00 seconds. The rounding before the cut absorbs the last bits of a float.
    time = int(round((ra % 360) / 15 * 360_000, 3)) % (24 * 360_000)
    arc = int(round(abs(dec) * 36_000, 3))
    hours, time = divmod(time, 360_000)
    minutes, time = divmod(time, 6000)
    degrees, arc = divmod(arc, 36_000)
    primes, arc = divmod(arc, 600)
    sign = "-" if dec < 0 else "+"
    return (
        f"J{hours:02d}{minutes:02d}{time // 100:02d}.{time % 100:02d}"
        f"{sign}{degrees:02d}{primes:02d}{arc // 10:02d}.{arc % 10}"
    )


def candidate_ids(
    pair_id: str, x: Iterable[float], y: Iterable[float], is_positive: Iterable[bool], ra: Iterable[float],
    dec: Iterable[float],
) -> list[str]:  # fmt: skip
    """Return identifiers of the candidates of a pair, ``J123456.78+012345.6-0a1b2c3d4e``.

    Parameters
    ----------
    pair_id : str
        The pair of images.
    x, y : iterable of float
        Places in the difference image, px; to a hundredth of a pixel they make the hash, with the sign.
    is_positive : iterable of bool
        Sign of the candidates.
    ra, dec : iterable of float
        Degrees, ICRS; NaN where unknown: the place in the image stands in the name then.
    """
    names = []
    for column, row, positive, alpha, delta in zip(x, y, is_positive, ra, dec, strict=True):
        text = f"{pair_id}|{column:.2f}|{row:.2f}|{'+' if positive else '-'}"
        place = place_name(alpha, delta) if alpha == alpha and delta == delta else f"X{column:.1f}Y{row:.1f}"
        names.append(f"{place}-{hashlib.sha256(text.encode()).hexdigest()[:10]}")
    return names
