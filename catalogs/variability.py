"""Types of variable stars, as lists and labels give them → whether the star eclipses, and which class it is of.

Types are those of the VSX (Watson et al. 2006, SASS 25, 47) and of the GCVS: ``A|B`` is A or B, ``A+B`` both,
``A/B`` A of the kind B; a colon or question mark behind it says that it is uncertain. Besides, ``EB:EA`` is an
eclipsing binary of class EA, and 1 and 0, ``true`` and ``false`` and the like say whether there is one. Case does not
matter.
"""

import re
from dataclasses import dataclass
from functools import cache

from catalogs.binaries import KINDS

__all__ = ["Variability", "parse"]

#: Types of eclipsing binaries: those named by the shape of the light curve, by how close the stars are, or by neither.
_ECLIPSING = {*KINDS, "E", "EC", "ED", "ESD", "ECL"}

_YES, _NO = {"1", "TRUE", "YES"}, {"0", "FALSE", "NO", "NOT EB", "NEGATIVE", "UNLISTED", "OTHER", "QUIET"}

# Types of stars whose light, whatever else it does, is not eclipsed by another star. Not among them: what is too vague
# to say (VAR, MISC, S, *), and DPV, of which many eclipse.
_STEADY = """
NONVAR CONST CONSTANT CST ELL EP HB R
ACEP ACEPS ACYG AHB1 BCEP BCEPS BLAP BXCIR CEP CW CWA CWB CWBS DCEP DCEPS DSCT DSCTC DSCTR GDOR HADS L LB LC LPV M
PPN PULS PVTEL ROAM ROAP RR RRL RRA RRAB RRB RRC RRD RV RVA RVB SCT SPB SPBE SR SRA SRB SRC SRD SRS SXPHE T2CEP
V361HYA V1093HER ZZ ZZA ZZB ZZLEP ZZO
ACV ACVO BY FKCOM LERI NSIN PSR ROT ROTM ROTS RS SXARI
BE CTTS DIP DYPER EXOR FF FSCMA FUOR GCAS I IA IB IN INA INAT INB INS INSA INSB INST INT IS ISA ISB RCB SDOR TTS UV
UVN UXOR WR WTTS YSO
AM CBSS DQ IBWD N NA NB NC NL NR SN SNI SNIA SNIB SNIC SNII UG UGER UGSS UGSU UGWZ UGZ V838MON VY ZAND
HMXB IMXB LMXB X XB XJ XN XP
AGN BLLAC MICROLENS QSO
"""
_OTHERS = frozenset(_STEADY.split())


@dataclass(frozen=True)
class Variability:
    """What a type says.

    Parameters
    ----------
    eclipses : bool or None
        Whether the star is an eclipsing binary; None if it is not told, doubtful, or the type is not known.
    may_eclipse : bool
        Whether it is, or is said to be perhaps: some piece of the type is one of an eclipsing binary.
    klass : str
        ``EA``, ``EB``, ``EW``; ``E`` for an eclipsing binary of unknown class; ``ELL``; ``other`` for what does
        neither; empty where `eclipses` is None, and for what may be an ELL or no binary at all.
    """

    eclipses: bool | None
    may_eclipse: bool
    klass: str


@cache
def parse(text: str) -> Variability:
    """Return what a type or label says of the star.

    Parameters
    ----------
    text : str
        Such as ``EA/SD``, ``DSCT+GDOR``, ``ELL|EW``, ``EB:EA``, ``NONVAR?``, ``0``.
    """
    given = text.strip().upper()
    choices = [_choice(one) for one in re.split(r"\||_OR_", given.removesuffix("_UNSPECIFIED"))]
    may_eclipse = any(choice.may_eclipse for choice in choices)
    verdicts = {choice.eclipses for choice in choices}
    if len(verdicts) > 1 or None in verdicts:
        return Variability(None, may_eclipse, "")
    (eclipses,), classes = verdicts, {choice.klass for choice in choices}
    klass = classes.pop() if len(classes) == 1 else "E" if eclipses else ""
    return Variability(eclipses, may_eclipse, klass)


def _choice(text: str) -> Variability:
    """Return what one of several possible types says; each of its parts is true of the star."""
    parts = [_part(one) for one in text.split("+")]
    may_eclipse = any(part.may_eclipse for part in parts)
    if eclipsing := {part.klass for part in parts if part.eclipses}:
        return Variability(True, may_eclipse, eclipsing.pop() if len(eclipsing) == 1 else "E")
    if any(part.eclipses is None for part in parts):
        return Variability(None, may_eclipse, "")
    return Variability(False, may_eclipse, "ELL" if any(part.klass == "ELL" for part in parts) else "other")


def _part(text: str) -> Variability:
    # VSX writes RR(B) for a star with two modes.
    name = re.sub(r"\([^)]*\)", "", text).strip()
    sure = name.rstrip("?: ")
    pieces = re.split(r"[:/,\s]+", sure)
    if sure in _NO:
        told = Variability(False, False, "other")
    elif sure in _YES or pieces[0] in _ECLIPSING:
        told = Variability(True, True, _klass(sure, pieces[0]))
    elif not _ECLIPSING.isdisjoint(pieces):
        told = Variability(None, True, "")
    elif pieces[0] in _OTHERS:
        told = Variability(False, False, "ELL" if pieces[0] == "ELL" else "other")
    else:
        told = Variability(None, False, "")
    return told if sure == name else Variability(None, told.may_eclipse, "")


def _klass(text: str, main: str) -> str:
    """Return the class of an eclipsing binary: behind the colon of ``EB:``, else what its type says."""
    head, colon, tail = text.partition(":")
    named = tail if head == "EB" and colon else main
    return named if named in KINDS else "E"
