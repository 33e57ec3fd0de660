"""What each survey's alerts look like: scale of the pixels, size of the cutouts, what the names of its fields are."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["PROFILES", "Profile", "number", "of", "sky_cell"]

Facts = Mapping[str, Any]

#: Seeing, in pixels, that is believed; beyond it the profile's typical one is taken.
_SEEING_PX = (0.8, 20.0)


def number(value: object) -> float:
    """Return a finite number, NaN where there is none; surveys write -999 and the like for none, which is kept."""
    if isinstance(value, bool | bytes) or not isinstance(value, int | float | str):
        return math.nan
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def sky_cell(ra: float, dec: float, degrees: float = 2.0) -> str:
    """Return the name of a cell of the sky, about `degrees` on a side; empty where the place is not known."""
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        return ""
    band = min(int((dec + 90) / degrees), int(180 / degrees) - 1)
    cells = max(1, round(360 / degrees * math.cos(math.radians((band + 0.5) * degrees - 90))))
    return f"sky-{band:03d}-{int(ra / 360 * cells) % cells:03d}"


def _seeing_ztf(facts: Facts) -> float:
    # fwhm is the detection's; seeratio is the image's seeing over it, so that their product is one number for all
    # alerts of an exposure.
    return number(facts.get("fwhm")) * number(facts.get("seeratio"))


def _seeing_rubin(facts: Facts) -> float:
    # Second moments of the PSF, arcsec^2; a Gaussian's FWHM is 2.3548 sigma.
    square = (number(facts.get("ixxPSF")) + number(facts.get("iyyPSF"))) / 2
    return 2.3548 * math.sqrt(square) / 0.2 if square > 0 else math.nan


def _field_ztf(facts: Facts) -> str:
    field = number(facts.get("field"))
    return f"{field:06.0f}" if 0 < field < 1e6 else ""


def _ccd_ztf(facts: Facts) -> str:
    """Return the quadrant, 0 to 63: rcid, or the digits of candid that hold it (night, time of day, rcid, …)."""
    rcid, candid = number(facts.get("rcid")), facts.get("candid")
    if math.isnan(rcid) and isinstance(candid, int) and candid > 0:
        rcid = candid // 10**8 % 100
    return f"{rcid:.0f}" if 0 <= rcid < 64 else ""


def _ccd_rubin(facts: Facts) -> str:
    detector = number(facts.get("detector"))
    return "" if math.isnan(detector) else f"{detector:.0f}"


def _nothing(_: Facts) -> float:
    return math.nan


def _unnamed(_: Facts) -> str:
    return ""


@dataclass(frozen=True)
class Profile:
    """The alerts of one survey.

    Parameters
    ----------
    name : str
        Survey, as in ``Packet.survey``.
    pixscale : float
        Size of a pixel of the cutouts, arcsec.
    typical_fwhm_px : float
        FWHM of stars in the science image, typically, px.
    size : int
        Pixels on a side of a whole cutout; 0: it differs from alert to alert.
    filters : mapping
        Number of the filter (``fid``) → its name.
    seeing : callable
        Facts of a packet → FWHM of stars in the science image, px; NaN where it does not say.
    named_field, ccd : callable
        Facts → name of the field and of the detector; empty where it does not say.
    exptime_s : float
        Exposure where the packet does not say, s.
    time_scale : str
        Of its dates.
    ab : bool
        Its magnitudes are AB.
    flips_negative : bool
        The difference cutout of a negative candidate is sent as reference - science, so that the candidate is bright
        in it. True of ZTF: in all 741 whole alerts of known sign looked at, 241 of them negative, the middle of the
        difference is brighter than its median. Cutouts are handed on as sent; ``is_positive`` tells which it was.
    chip : tuple of int
        Columns and rows of the image that cutouts are cut from; 0: not known.
    """

    name: str
    pixscale: float
    typical_fwhm_px: float
    size: int
    filters: Mapping[int, str]
    seeing: Callable[[Facts], float] = _nothing
    named_field: Callable[[Facts], str] = _unnamed
    ccd: Callable[[Facts], str] = _unnamed
    exptime_s: float = math.nan
    time_scale: str = "utc"
    ab: bool = False
    flips_negative: bool = False
    chip: tuple[int, int] = (0, 0)

    def fwhm_px(self, facts: Facts) -> float:
        """Return the FWHM of stars in the science image in pixels of the cutout, by the packet or else typical."""
        found = self.seeing(facts)
        return found if _SEEING_PX[0] <= found <= _SEEING_PX[1] else self.typical_fwhm_px

    def field(self, facts: Facts) -> str:
        """Return the unit of sky that a split must keep together: the survey's field, or else a cell of 2 degrees."""
        return self.named_field(facts) or sky_cell(number(facts.get("ra")), number(facts.get("dec")))


# Pixel scales: Bellm et al. 2019 (ZTF), De et al. 2020 (Gattini: 8.7 arcsec, drizzled to half of it), Ivezić et al.
# 2019 (Rubin). Typical FWHMs of Gattini and WINTER: stars of the references in their own public packets; what these
# call fwhm is the detection's.
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("ztf", 1.012, 2.4, 63, {1: "g", 2: "r", 3: "i"}, _seeing_ztf, _field_ztf, _ccd_ztf, 30.0, ab=True,
                flips_negative=True, chip=(3072, 3080)),
        Profile("wntr", 1.13, 2.2, 81, {1: "Y", 2: "J", 3: "Hs", 4: "dark"}, named_field=_field_ztf),
        Profile("pgir", 4.35, 3.2, 61, {}, named_field=_field_ztf),
        Profile("lsst", 0.2, 5.0, 0, {}, _seeing_rubin, ccd=_ccd_rubin, exptime_s=0.0, time_scale="tai", ab=True),
    )
}  # fmt: skip

_MARKS = (("ztf", "ZTF"), ("wntr", "WNTR"), ("wntr", "WINTER"), ("pgir", "PGIR"), ("lsst", "LSST"), ("lsst", "RUBIN"))


def of(record: Mapping[str, Any], object_id: str) -> Profile | None:
    """Return the profile of a packet by its own words: its source's table, its object's name, its publisher."""
    if isinstance(record.get("diaSource"), Mapping) or "diaSourceId" in record:
        return PROFILES["lsst"]
    for text in (object_id, str(record.get("publisher", ""))[:200]):
        for name, mark in _MARKS:
            if text.upper().startswith(mark):
                return PROFILES[name]
    return None
