"""What a packet says, in the columns of the catalogue of candidates; what it does not say is None, never a guess."""

import math
from typing import Any

from pipeline.alerts.packets import Packet
from pipeline.alerts.surveys import Profile, number
from pipeline.alerts.witnesses import witness

__all__ = ["drb", "is_positive", "row"]

_TRUE, _FALSE = ("t", "1", "true"), ("f", "0", "false")
_AB_UJY = 23.9  # AB magnitude of a microjansky


def row(packet: Packet) -> dict[str, Any]:
    """Return a packet's row.

    Keys are those of `catalogs.candidates.CANDIDATES` where it has them (same units), and field (the unit of a split),
    fwhm_px (FWHM of stars in the science image, px of the cutout: the packet's or else typical of the survey), drb,
    drbversion and rb (the survey's own scores, never truth), witness, where.

    Parameters
    ----------
    packet : Packet
        Of any survey.
    """
    facts, profile = packet.facts, packet.profile
    fwhm_px = profile.fwhm_px(facts)
    score, version = drb(packet)
    return {
        "candidate_id": f"{packet.survey}:{packet.candid}",
        "object_id": packet.object_id or None,
        "survey": packet.survey,
        "where": packet.where,
        "field": profile.field(facts),
        "ccd": profile.ccd(facts),
        "filter": _filter(packet, profile),
        "mjd_mid": _mjd_mid(packet, profile),
        "time_scale": profile.time_scale,
        "exptime_s": _least(_first(facts, "exptime"), 0),
        "ra": _within(_first(facts, "ra"), 0, 360),
        "dec": _within(_first(facts, "dec"), -90, 90),
        "x_sci": _least(_first(facts, "xpos", "x"), -1e6),
        "y_sci": _least(_first(facts, "ypos", "y"), -1e6),
        **_light(packet, profile),
        "seeing_arcsec": fwhm_px * profile.pixscale,
        "pixscale": profile.pixscale,
        "fwhm_px": fwhm_px,
        "ssdistnr": _ssdistnr(packet),
        "known_name": _text(facts.get("xm.tns_fullname")),
        "drb": score,
        "drbversion": version,
        "rb": _within(_first(facts, "rb"), 0, 1),
        "witness": witness(packet) or None,
    }


def drb(packet: Packet) -> tuple[float | None, str | None]:
    """Return the survey's own score of deep learning and its version, None where missing.

    ZTF sent no such score before schema 3.3; there 0 means missing. Since 2020 it is braai d6_m7 itself: agreement
    with it is conformance, never accuracy. Rubin's is called reliability.
    """
    facts = packet.facts
    score = _within(_first(facts, "drb", "reliability"), 0, 1)
    if score is None or (packet.survey == "ztf" and score == 0 and number(facts.get("schemavsn")) < 3.3):
        return None, None
    return score, _text(facts.get("drbversion"))


def is_positive(packet: Packet) -> bool | None:
    """Return whether the candidate is brighter than in the reference; None where the packet does not say."""
    negative = packet.facts.get("isNegative")
    if isinstance(negative, bool):
        return not negative
    word = str(packet.facts.get("isdiffpos", "")).strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def _light(packet: Packet, profile: Profile) -> dict[str, Any]:
    """Return significance, flux and magnitude, signed: surveys send those of a negative candidate without the sign."""
    facts, positive = packet.facts, is_positive(packet)
    sign = -1.0 if positive is False else 1.0
    found: dict[str, Any] = dict.fromkeys(("snr", "flux", "flux_err", "flux_unit", "mag_ab"))
    found["is_positive"] = positive
    snr, sigma = _first(facts, "scorr", "snr"), number(facts.get("sigmapsf"))
    if math.isnan(snr) and 0 < sigma < 100:
        snr = 2.5 / math.log(10) / sigma
    found["snr"] = _least(sign * abs(snr), -math.inf)
    if packet.survey == "lsst":  # nJy, signed
        flux, error = number(facts.get("psfFlux")) / 1e3, number(facts.get("psfFluxErr")) / 1e3
    else:
        mag = number(facts.get("magpsf"))
        known = profile.ab and 0 < mag < 40 and 0 < sigma < 100
        flux = sign * 10 ** ((_AB_UJY - mag) / 2.5) if known else math.nan
        error = abs(flux) * sigma * math.log(10) / 2.5
    if math.isfinite(flux):
        found.update(flux=flux, flux_unit="uJy", flux_err=_least(error, 0))
        found["mag_ab"] = _AB_UJY - 2.5 * math.log10(flux) if flux > 0 else None
    return found


def _filter(packet: Packet, profile: Profile) -> str:
    band, fid = packet.facts.get("band"), number(packet.facts.get("fid"))
    if isinstance(band, str):
        return band[:20]
    return "" if math.isnan(fid) else profile.filters.get(int(fid), "")


def _mjd_mid(packet: Packet, profile: Profile) -> float | None:
    """Return the middle of the exposure; surveys other than Rubin send its begin, as a Julian date."""
    mjd = number(packet.facts.get("midpointMjdTai"))
    if math.isnan(mjd):
        exptime = number(packet.facts.get("exptime"))
        seconds = profile.exptime_s if math.isnan(exptime) else exptime
        mjd = number(packet.facts.get("jd")) - 2_400_000.5 + (0 if math.isnan(seconds) else seconds / 2 / 86_400)
    return mjd if 10_000 < mjd < 200_000 else None


def _ssdistnr(packet: Packet) -> float | None:
    """Return the distance of the nearest known body of the solar system, arcsec; negative numbers mean none."""
    return _least(_first(packet.facts, "ssdistnr", "ssSource.ephOffset"), 0)


def _first(facts: Any, *keys: str) -> float:
    return next((value for key in keys if not math.isnan(value := number(facts.get(key)))), math.nan)


def _within(value: float, low: float, high: float) -> float | None:
    return value if low <= value <= high else None


def _least(value: float, low: float) -> float | None:
    return value if math.isfinite(value) and value >= low else None


def _text(value: object) -> str | None:
    return value[:100] if isinstance(value, str) and value not in ("", "null", "None", "nan") else None
