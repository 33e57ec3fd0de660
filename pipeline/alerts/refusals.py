"""Why an alert cannot be used: a code and a sentence, never another exception and never zeros in its place."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["BadCutout", "BadPacket", "Reason", "Unread"]


class Reason(StrEnum):
    """Why a packet was not read or its cutouts were not decoded; the code stands in the outcome tables."""

    FILE = "packet_file"  #: the system would not read the file
    FORMAT = "packet_format"  #: neither Avro nor Parquet nor JSON
    SCHEMA = "packet_schema"  #: an Avro or Parquet schema that is damaged, or not that of alerts
    CODEC = "packet_codec"  #: compressed in a way that is not read
    TRUNCATED = "packet_truncated"  #: the file or the record ends early
    MALFORMED = "packet_malformed"  #: damaged, or a field of another type
    TOO_LARGE = "packet_too_large"  #: larger than any alert
    FIELD = "packet_field"  #: a field that every alert has is missing
    SURVEY = "packet_survey"  #: of a survey whose pixel scale is not known here
    CUTOUT_MISSING = "cutout_missing"  #: one of the three cutouts is not there
    CUTOUT_JPEG = "cutout_jpeg"  #: a picture, not pixel values
    CUTOUT_GZIP = "cutout_gzip"  #: a gzip stream that does not unpack
    CUTOUT_CRC = "cutout_crc"  #: unpacked bytes do not add up to the checksum
    CUTOUT_TRUNCATED = "cutout_truncated"  #: ends before its header says
    CUTOUT_BOMB = "cutout_bomb"  #: unpacks to far more than a cutout
    CUTOUT_NOT_FITS = "cutout_not_fits"  #: not FITS, or a header that makes no sense
    CUTOUT_SHAPE = "cutout_shape"  #: not two axes, too small, too large, or the three differ
    CUTOUT_EMPTY = "cutout_empty"  #: no finite pixel, or all of one value


@dataclass(frozen=True)
class Unread:
    """An alert that cannot be scored, and why.

    Parameters
    ----------
    where : str
        File and row: ``"FILE#row"``.
    reason : str
        One of `Reason`.
    message : str
        What is wrong, with the offending value.
    survey, candid, object_id : str
        Of the alert, where the packet could be read so far; else empty.
    """

    where: str
    reason: str
    message: str
    survey: str = ""
    candid: str = ""
    object_id: str = ""


class BadPacket(ValueError):
    """A packet that cannot be read.

    Parameters
    ----------
    reason : Reason
        Code for the outcome table.
    message : str
        What is wrong, with the offending value.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.reason, self.message = reason, message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class BadCutout(BadPacket):
    """A cutout that cannot be decoded, or three that make no triplet."""
