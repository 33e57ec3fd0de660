"""What an image's header says: facts in our words, what was done to the pixels, and what is doubtful."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from astropy.time import Time

from pipeline.errors import Reason, Rejected
from pipeline.images.frame import Facts
from pipeline.images.surveys import GENERIC, SURVEYS, Survey

__all__ = ["Cards", "Told", "check_science", "read", "survey_of"]

#: Values of a header by keyword: text, number or truth.
Cards = Mapping[str, str | int | float | bool]

_NOT_SKY = re.compile(
    r"(bias|zero|dark|(dome|sky|twilight|master|super)?[ _-]?flat|twilight|focus|arc|lamp|comp$|calib|master|bpm|"
    r"(dq)?mask|wtmap|weight|variance|expmap|psf)",
    re.IGNORECASE,
)
_UNDONE = {"", "OMIT", "PERFORM", "SKIPPED", "FALSE", "F", "NONE", "NO", "0", "N/A", "INCOMPLETE"}
_SCALES = {"TT": "tt", "TDT": "tt", "TAI": "tai", "TDB": "tdb"}
_EXPOSURE_NAME = re.compile(r"c4d_(\d{6})_(\d{6})_")
_DAY = 86400.0


@dataclass(frozen=True)
class Told:
    """What a header tells of an image.

    Parameters
    ----------
    survey : Survey
        Whose words it was read by.
    facts : Facts
        Facts; what is unknown has the default of `Facts` and stands in `missing`.
    missing : frozenset of str
        Facts that the header does not tell: ``gain``, ``read_noise``, ``saturation``.
    applied : frozenset of str
        Steps done already: ``bias``, ``dark``, ``flat``.
    combined : bool
        Made of several exposures in a way that leaves out cosmic rays.
    scale : float
        Factor that turns the pixels into counts over the whole exposure.
    sky : float
        Sky level that was subtracted, counts, where the header tells; else 0.
    notes : tuple of str
        What is doubtful.
    """

    survey: Survey
    facts: Facts
    missing: frozenset[str]
    applied: frozenset[str]
    combined: bool
    scale: float = 1.0
    sky: float = 0.0
    notes: tuple[str, ...] = ()


class _Words:
    """Facts of a header by a survey's words."""

    def __init__(self, survey: Survey, cards: Cards) -> None:
        self.survey, self.cards = survey, cards

    def texts(self, fact: str) -> list[str]:
        values = [self.cards[key] for key in self.survey.candidates(fact) if key in self.cards]
        return [" ".join(str(value).split()) for value in values if str(value).strip()]

    def text(self, fact: str) -> str:
        return next(iter(self.texts(fact)), "")

    def number(self, fact: str, low: float, high: float) -> float | None:
        """Return the first number within bounds, which are exclusive."""
        for key in self.survey.candidates(fact):
            value = self.cards.get(key)
            if isinstance(value, str):
                try:
                    value = float(value)
                except ValueError:
                    continue
            if isinstance(value, int | float) and not isinstance(value, bool) and low < value < high:
                return float(value)
        return None

    def done(self, step: str) -> bool:
        return any(text.upper() not in _UNDONE for text in self.texts(step))


def survey_of(cards: Cards) -> Survey:
    """Return the survey whose words a header has; `GENERIC` if none is known."""
    return next((survey for survey in SURVEYS if survey.is_of(cards)), GENERIC)


def check_science(survey: Survey, cards: Cards) -> None:
    """Check that an image is one of the sky.

    Raises
    ------
    Rejected
        With `Reason.NOT_SCIENCE` if the header calls it a calibration, a mask or a weight map.
    """
    for key in survey.candidates("image_type"):
        text = str(cards.get(key, "")).strip()
        if _NOT_SKY.match(text):
            raise Rejected(Reason.NOT_SCIENCE, f"{key} = {text!r}; give calibrations as --bias, --dark, --flat")
    if "MSKNUM" in cards and "MSKNAM00" in cards:
        raise Rejected(Reason.NOT_SCIENCE, "MSKNUM and MSKNAM00: a mask")


def read(cards: Cards) -> Told:
    """Return what a header tells.

    Parameters
    ----------
    cards : mapping
        Values by keyword, those of the extension over those of the primary header.
    """
    survey = survey_of(cards)
    words = _Words(survey, cards)
    exptime = words.number("exptime_s", 0, 1e7)
    unit, scale, notes = _unit(survey, cards, exptime)
    mjd, doubts = _mjd_mid(words, exptime)
    notes += [text for _, text in doubts]
    numbers = {
        "gain": 1.0 if unit in ("electron", "photon") else words.number("gain", 0, 1e3),
        "read_noise": words.number("read_noise", 0, 1e4),
        "saturation": words.number("saturation", 0, 1e12),
    }
    numbers |= survey.given
    if survey.name == "hst" and numbers["gain"] is None:
        numbers["gain"] = next((float(cards[k]) for k in _ATOD if _positive(cards.get(k))), None)
    if numbers["saturation"] is not None:
        numbers["saturation"] *= scale
    facts = Facts(
        survey=survey.name,
        mission=survey.mission or str(cards.get("TELESCOP", "")).strip() or str(cards.get("OBSERVAT", "")).strip(),
        instrument=words.text("instrument"),
        ccd=words.text("ccd"),
        filter=_filter(survey, words),
        mjd_mid=mjd,
        exptime_s=exptime,
        zp_ab=_zero_point(survey, words, exptime, scale),
        unit=unit,
        estimated=tuple(fact for fact, _ in doubts),
    )
    told: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
    combined = survey.combined or _is_median(cards)
    steps = frozenset(s for s in ("bias", "dark", "flat") if survey.calibrated or words.done(s))
    missing = frozenset(numbers.keys() - told.keys())
    sky = words.number("sky", 0, 1e9) or 0.0
    return Told(survey, replace(facts, **told), missing, steps, combined, scale, sky, tuple(notes))


_ATOD = ("ATODGNA", "ATODGNB", "ATODGNC", "ATODGND", "CCDGAIN")


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _is_median(cards: Cards) -> bool:
    """Return whether exposures were combined in a way that leaves out cosmic rays: a mere number of them does not."""
    if str(cards.get("DRIZCORR", "")).upper() == "COMPLETE" or _positive(cards.get("NDRIZIM")):
        return True
    how = " ".join(str(cards.get(key, "")) for key in ("COAD_ALG", "COMBINET", "COMBTYPE", "COMBINE", "COMBMETH"))
    return bool(re.search(r"median|clip|reject", how, re.IGNORECASE))


def _unit(survey: Survey, cards: Cards, exptime: float | None) -> tuple[str, float, list[str]]:
    """Return the unit of a count, the factor to counts over the whole exposure, and what is doubtful."""
    text = str(cards.get("BUNIT", "")).strip().lower()
    unit = survey.unit
    if re.match(r"(electron|e-|e$|e/)", text):
        unit = "electron"
    elif re.match(r"(adu|dn|count|data)", text):
        unit = "adu"
    per_second = bool(re.search(r"(/\s*s(ec)?|s-1|s\^-1|per sec)", text))
    if per_second and exptime is None:
        return unit, 1.0, [f"BUNIT {text!r} without an exposure time: pixels are taken as they are"]
    return unit, exptime if per_second and exptime else 1.0, []


def _filter(survey: Survey, words: _Words) -> str:
    """Return the filter in one word: ``i DECam SDSS c0003 7835.0 1470.0`` is ``i``, ``g.00000`` is ``g``."""
    for text in words.texts("filter"):
        if text.upper().startswith("CLEAR") and survey.name == "hst":
            continue
        name = survey.filters.get(text, re.sub(r"\.0+$", "", text.split()[0]))
        if name:
            return name
    return ""


def _zero_point(survey: Survey, words: _Words, exptime: float | None, scale: float) -> float | None:
    """Return the AB magnitude of one count over the whole exposure; None unless the header leaves no doubt."""
    if survey.zero_point == "photflam":
        flam, pivot = words.number("zero_point", 0, 1), words.cards.get("PHOTPLAM")
        if flam is None or not _positive(pivot) or exptime is None:
            return None
        # Erg per cm² Å and count → AB at the pivot wavelength: WFC3 Instrument Handbook, section 9.3.
        return -2.5 * math.log10(flam) - 5 * math.log10(float(pivot)) - 2.408 + 2.5 * math.log10(exptime)  # type: ignore[arg-type]
    value = words.number("zero_point", 5, 45)
    if survey.zero_point == "per second, 25":
        # Waters et al. 2020, ApJS 251, 4: stacks are scaled to 25 mag for one count a second; single exposures are not.
        if value is None and ("STK_TYPE" in words.cards or "STK_ID" in words.cards):
            value = 25.0
        return None if exptime is None or value is None else value + 2.5 * math.log10(exptime)
    said = {str(words.cards.get(key, "")).strip().upper() for key in ("MAGSYS", "PHOTSYS", "ZPSYS")}
    if value is None or not (survey.zero_point == "whole exposure" or "AB" in said):
        return None
    return value + 2.5 * math.log10(scale)


def _mjd_mid(words: _Words, exptime: float | None) -> tuple[float | None, list[tuple[str, str]]]:
    """Return the middle of the exposure, MJD (UTC), and what is doubtful about it as (fact, text)."""
    doubts: list[tuple[str, str]] = []
    scale = _SCALES.get(str(words.cards.get("TIMESYS", "")).strip().upper(), "utc")
    single = (words.number("combined", 0, 1e6) or 1) <= 1
    mid = words.number("mjd_mid", 4e4, 9e4)
    if mid is None and single:
        mid = next((mjd for text in words.texts("date_mid") if (mjd := _mjd(text)) is not None), None)
    if mid is None:
        start, doubts = _start(words)
        ends = [mjd for text in words.texts("date_end") if (mjd := _mjd(text)) is not None]
        end = words.number("mjd_end", 4e4, 9e4) or (ends[0] if ends else None)
        if start is None:
            return None, doubts
        if end is not None and 0 <= end - start < 10:
            mid = (start + end) / 2
        else:
            mid = start + (exptime or 0.0) / 2 / _DAY
            if exptime is None:
                doubts.append(("mjd_mid", "no exposure time: mjd_mid is the start of the exposure"))
    if scale != "utc":
        mid = float(Time(mid, format="mjd", scale=scale).utc.mjd)
    return mid, doubts


def _start(words: _Words) -> tuple[float | None, list[tuple[str, str]]]:
    """Return the start of the exposure by the most precise of the words that tell it."""
    found = [mjd for text in words.texts("date_start") if "T" in text and (mjd := _mjd(text)) is not None]
    if not found:
        dates, times = words.texts("date_start"), [t for t in words.texts("time_start") if ":" in t]
        found = [mjd for date in dates for t in times[:1] if (mjd := _mjd(f"{date[:10]}T{t}")) is not None]
    number = words.number("mjd_start", 4e4, 9e4)
    if not found and number is not None and number % 1:
        found = [number]
    if not found and (jd := words.number("jd_start", 2.43e6, 2.49e6)) is not None:
        found = [jd - 2400000.5]
    named = [mjd for text in words.texts("exposure_name") if (mjd := _mjd_named(text)) is not None]
    if named and (not found or abs(named[0] - found[0]) > 0.1):
        text = f"the exposure's name says MJD {named[0]:.5f}" + (f", the date {found[0]:.5f}" if found else "")
        return named[0], [("mjd_mid", text)]
    if found:
        return found[0], []
    days = [mjd for text in words.texts("date_start") if (mjd := _mjd(text)) is not None]
    day = number if number is not None else days[0] if days else None
    return day, [("mjd_mid", "the header tells the day only")] if day is not None else []


def _mjd_named(text: str) -> float | None:
    match = _EXPOSURE_NAME.search(text)
    if not match:
        return None
    date, time = match[1], match[2]
    return _mjd(f"20{date[:2]}-{date[2:4]}-{date[4:]}T{time[:2]}:{time[2:4]}:{time[4:]}")


def _mjd(text: str) -> float | None:
    """Return the MJD of an ISO date and time, or of the old ``dd/mm/yy``; None if it is neither."""
    old = re.match(r"(\d\d)/(\d\d)/(\d\d)(.*)", text)
    if old:
        text = f"19{old[3]}-{old[2]}-{old[1]}{old[4]}"
    match = re.match(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d?):(\d\d):(\d\d)(\.\d*)?)?Z?$", text)
    if not match:
        return None
    try:
        whole = datetime(*(int(part or 0) for part in match.groups()[:6]))  # type: ignore[arg-type]
    except ValueError:
        return None
    seconds = (whole - datetime(1858, 11, 17)).total_seconds() + float(f"0{match[7] or ''}")
    mjd = seconds / _DAY
    return mjd if 3e4 < mjd < 9e4 else None
