"""Alert packets, from Avro, Parquet or JSON: what is in the bytes decides, not the name of the file.

One packet that cannot be read is an `Unread` with a reason; the others go on. Nothing but a packet or an `Unread` ever
comes out, whatever the bytes are, and a file of any length is read in bounded memory.
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.alerts import containers, documents, surveys
from pipeline.alerts import tables as tabular
from pipeline.alerts.refusals import BadPacket, Reason, Unread
from pipeline.archive import printable

__all__ = ["CUTOUTS", "Packet", "Unread", "parse", "read"]

#: Names of the three cutouts, in the order of `Packet.cutouts`; WINTER writes the others.
CUTOUTS = (
    ("cutoutScience", "cutout_science"),
    ("cutoutTemplate", "cutout_template"),
    ("cutoutDifference", "cutout_difference"),
)

_SOURCES = ("candidate", "diaSource")
_PARQUET = b"PAR1"
_TEXT = 10_000  # characters of one fact
_UNPACKED = 256 << 20  # bytes that the blocks of one body may unpack to: some thousands of alerts

Cutouts = tuple[bytes | None, bytes | None, bytes | None]


@dataclass(frozen=True)
class Packet:
    """One alert, as its survey sent it.

    Parameters
    ----------
    survey : str
        Key of `pipeline.alerts.surveys.PROFILES`.
    candid, object_id : str
        The survey's own identifiers; object_id may be empty.
    where : str
        File and row: ``"FILE#row"``.
    facts : mapping
        Name → number, text, bool or None: the source's own fields and the packet's; of other groups ``group.name``.
        Histories are left out.
    cutouts : tuple of bytes
        Science, template, difference, as sent.
    """

    survey: str
    candid: str
    object_id: str
    where: str
    facts: Mapping[str, Any]
    cutouts: Cutouts

    @property
    def profile(self) -> surveys.Profile:
        """What is known of its survey."""
        return surveys.PROFILES[self.survey]


def read(path: str | Path) -> Iterator[Packet | Unread]:
    """Read the alerts of a file, in their order.

    Parameters
    ----------
    path : str or pathlib.Path
        Avro container (one or many records), Parquet (a ZTF alert a row, or Rubin's), or JSON (one packet, a list of
        them, or one a line).
    """
    name = printable(str(path))
    try:
        # Nothing is read of a device, and nothing waits for the writer of a pipe.
        if not Path(path).is_file():
            raise FileNotFoundError(2, "no such file, or not a regular one")
        with open(path, "rb") as file:
            yield from _walk(file, name)
    except OSError as error:
        yield Unread(f"{name}#0", Reason.FILE, f"{error.strerror}; is it there, and may it be read?")


def parse(data: bytes, where: str, *, tables: bool = True) -> Iterator[Packet | Unread]:
    """Read the alerts of a file's bytes, such as the body of a request.

    Parameters
    ----------
    data : bytes
        As in `read`.
    where : str
        What to call them.
    tables : bool
        Take Parquet too. What a column of it unpacks to is only known from what the file says of itself, so that of a
        stranger is better not taken.
    """
    if data[:4] == _PARQUET and not tables:
        yield Unread(f"{printable(where)}#0", Reason.FORMAT, "Parquet is not taken here; send Avro or JSON")
        return
    yield from _walk(io.BytesIO(data), printable(where), _UNPACKED)


def _walk(file: BinaryIO, name: str, most: int | None = None) -> Iterator[Packet | Unread]:
    row = 0
    try:
        for record in _records(file, most):
            where = f"{name}#{row}"
            row += 1
            yield Unread(where, record.reason, record.message) if isinstance(record, BadPacket) else _of(record, where)
    except BadPacket as error:
        yield Unread(f"{name}#{row}", error.reason, error.message)
    except OSError as error:
        yield Unread(f"{name}#{row}", Reason.FILE, str(error))


def _records(file: BinaryIO, most: int | None) -> Iterable[Mapping[str, Any] | BadPacket]:
    start = file.read(4)
    file.seek(0)
    if start == b"Obj\x01":
        return containers.records(file, most)
    if start == _PARQUET:
        return tabular.records(file)
    if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[", b""):
        return documents.records(file)
    raise BadPacket(Reason.FORMAT, f"begins with {start!r}: neither Avro (Obj), nor Parquet (PAR1), nor JSON")


def _of(record: Mapping[str, Any], where: str) -> Packet | Unread:
    """Return the packet of a record, which is a mapping of anything."""
    facts = _facts(record)
    candid = _name(facts, "candid", "diaSourceId", "alertId")
    object_id = _name(facts, "objectId", "objectid", "diaObjectId")
    profile = surveys.of(record, object_id)
    known = (profile.name if profile else "", candid, object_id)
    if not candid:
        return Unread(where, Reason.FIELD, "neither candid nor diaSourceId: not an alert", *known)
    if profile is None:
        cure = f"known are {', '.join(surveys.PROFILES)}"
        return Unread(where, Reason.SURVEY, f"object {object_id[:40]!r} is of no survey known here; {cure}", *known)
    if not any(name in record for names in CUTOUTS for name in names):
        return Unread(where, Reason.FIELD, "has no cutouts (cutoutScience, …)", *known)
    try:
        science, template, difference = (_cutout(record, names) for names in CUTOUTS)
    except BadPacket as error:
        return Unread(where, error.reason, error.message, *known)
    return Packet(profile.name, candid, object_id, where, facts, (science, template, difference))


def _facts(record: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict) and name not in _SOURCES and not str(name).startswith("cutout"):
            facts.update({f"{name}.{key}": item for key, item in value.items() if _is_fact(item)})
        elif _is_fact(value):
            facts[str(name)] = value
    for source in _SOURCES:
        fields = record.get(source)
        if isinstance(fields, dict):
            facts.update({str(key): item for key, item in fields.items() if _is_fact(item)})
    return facts


def _is_fact(value: object) -> bool:
    return value is None or isinstance(value, int | float) or (isinstance(value, str) and len(value) <= _TEXT)


def _name(facts: Mapping[str, Any], *keys: str) -> str:
    for key in keys:
        value = facts.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool):
            text = printable(str(value)) if isinstance(value, str) else f"{value:d}"
            if 0 < len(text) <= 100:
                return text
    return ""


def _cutout(record: Mapping[str, Any], names: tuple[str, ...]) -> bytes | None:
    value = next((record[name] for name in names if record.get(name) is not None), None)
    if isinstance(value, Mapping):
        value = value.get("stampData")
    if value is None or isinstance(value, bytes):
        return value
    return documents.binary(value, names[0])
