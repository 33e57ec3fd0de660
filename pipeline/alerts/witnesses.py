"""What vouches that an alert is real without looking at its cutouts: only to count what a model misses.

An alert counts as independently real where a catalogue that knows nothing of the alert's own score has something there
that moves or varies. No score of the survey (rb, drb) is ever asked: since 2020 drb is braai itself. What has no
witness is not bogus; it is not known.

"solar_system"
    A body of known orbit is predicted within 5 arcsec: 0 <= ssdistnr <= 5 (negative numbers mean none). Rubin: it is
    linked to one, or ephOffset is within that.
"tns"
    The Transient Name Server names a transient there (columns of brokers: tns, tns_fullname, or cdsxmatch "(TNS) …"),
    other than a fast radio burst, whose place is not known that well.
"variable"
    SIMBAD, VSX or GCVS have a variable star or an active nucleus there, certain or candidate.
"counterpart"
    SIMBAD has another object there, such as a star, a binary or a source of radio or ultraviolet light, but neither a
    mere galaxy nor one of unknown kind. That it varies is likely, as something was detected, not certain: counted
    apart.
"""

import re
from typing import TYPE_CHECKING

from pipeline.alerts.surveys import number

if TYPE_CHECKING:
    from pipeline.alerts.packets import Packet

__all__ = ["SOLAR_SYSTEM_ARCSEC", "WITNESSES", "witness"]

#: Strongest first: the first that holds is given.
WITNESSES = ("solar_system", "tns", "variable", "counterpart")

#: Within which a predicted body vouches.
SOLAR_SYSTEM_ARCSEC = 5.0

_NONE = {"", "null", "none", "nan", "unknown", "fail", "fail 503"}

# SIMBAD's object types, short and long names of the versions that brokers use: https://simbad.cds.unistra.fr/guide/otypes.htx
_VARIABLE = re.compile(
    r"(.*V\*.*|E[BP]\*.*|CV\*?|Cataclysmic.*|No\*|Nova|SN\*?|Supernova|.*nova.*|YSO|TT\*|Ae\*|HerbigHaro.*|Or\*|"
    r"Ce\*|Cepheid|RR\*|RRLyr.*|LP\*|Mi\*|Mira|WV\*|BY\*|RS\*|Ro\*|RotV.*|Pulsar|Psr|dS\*|gD\*|bC\*|RC\*|Er\*|"
    r"Eruptive\*|Flare\*|Fl\*|Ell.*|Be\*|Symbiotic\*|Sy\*|AGB\*|post-AGB\*|pA\*|C\*|S\*|WR\*|WolfRayet\*|s\*b|HB\*|"
    r"[HL]MXB|[HL]XB|XB\*?|EllipVar|LongPeriodV\*|"
    r"AGN|QSO|BLLac|BLL|Blazar|Bla|Seyfert.*|Sy1|Sy2|SyG|LINER?|LIN|OVV|rG|RadioG|BH|TDE|LensedQ.*|LeQ)"
)  # fmt: skip
_NO_WITNESS = re.compile(
    r"(G|Galaxy|.*Gal(axy)?|GinCl|GinGroup|GinPair|ClG|PairG|Group_?G|Part ?of ?G|HII.*|EmG|LSB_G|BCG)", re.I
)


def witness(packet: "Packet") -> str:
    """Return which of `WITNESSES` vouches for an alert, or an empty text.

    Parameters
    ----------
    packet : Packet
        With the columns that brokers add, if there are any.
    """
    facts = packet.facts
    if _is_known_body(packet):
        return "solar_system"
    match = _word(facts.get("cdsxmatch"))
    names = [_word(facts.get(key)) for key in ("tns", "xm.tns_fullname", "xm.tns_type")]
    if match.startswith("(TNS)"):
        names.append(match.removeprefix("(TNS)").strip())
    if any(name and name != "FRB" for name in names):
        return "tns"
    kinds = [re.sub(r"^\(SIMBAD\)", "", match).strip(), _word(facts.get("xm.simbad_otype"))]
    kinds = ["" if kind.startswith("(") else _certain(kind) for kind in kinds]
    if any(_word(facts.get(key)) for key in ("xm.vsx_Type", "xm.gcvs_type")) or any(map(_VARIABLE.fullmatch, kinds)):
        return "variable"
    return "counterpart" if any(kind and not _NO_WITNESS.fullmatch(kind) for kind in kinds) else ""


def _is_known_body(packet: "Packet") -> bool:
    facts = packet.facts
    linked = facts.get("ssObjectId")
    if packet.survey == "lsst" and isinstance(linked, int) and linked > 0:
        return True
    return any(0 <= number(facts.get(key)) <= SOLAR_SYSTEM_ARCSEC for key in ("ssdistnr", "ssSource.ephOffset"))


def _word(value: object) -> str:
    return value.strip() if isinstance(value, str) and value.strip().lower() not in _NONE else ""


def _certain(kind: str) -> str:
    """Return a type without what says that it is a candidate."""
    return re.sub(r"^Candidate_|[_ ][Cc]andidate$|\?$", "", kind)
