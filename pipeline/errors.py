"""The tree of errors.

::

    SkysiftError                    whatever skysift itself has to say; `exit_status` is the job's
    ├── UsageError          2       an option or a setting that makes no sense
    │   ├── ModelNotFound   2       no such model, version or alias
    │   └── Leak            2       what is judged was learnt from
    ├── Refused             3       going on would mix or overwrite results
    │   ├── Mismatch        3       a committed result was made with other inputs, settings or code
    │   ├── Stale           3       its upstream has changed since
    │   └── Missing         3       an input partition is not committed
    ├── Corrupt             1       stored bytes are not what the manifest says
    │   └── CorruptModel    1
    ├── ArchiveUnreachable  1       the archive cannot be read from this machine, or not now
    └── Rejected            –       one input is hopeless: reason code + message, never stops a run

A `Rejected` becomes a row of the outcome table; every other error stops the job with its status.
"""

from enum import StrEnum

from obstore.exceptions import BaseError as StoreError

__all__ = [
    "FATAL",
    "ArchiveUnreachable",
    "Corrupt",
    "CorruptModel",
    "Leak",
    "Mismatch",
    "Missing",
    "ModelNotFound",
    "Reason",
    "Refused",
    "Rejected",
    "SkysiftError",
    "Stale",
    "UsageError",
]


class Reason(StrEnum):
    """Why an input was rejected or failed; the code stands in the outcome tables."""

    NOT_FITS = "not_fits"  #: the bytes do not begin as FITS does
    EMPTY = "empty"  #: zero length
    TRUNCATED = "truncated"  #: shorter than its headers say
    BAD_HEADER = "bad_header"  #: a header that does not parse, or lacks a mandatory card
    ABSURD_SIZE = "absurd_size"  #: headers or data larger than any file of this kind
    BOMB = "decompression_bomb"  #: unpacks to far more than a file of its kind holds
    BAD_COMPRESSION = "bad_compression"  #: a gzip stream or a compressed image that does not unpack
    WRONG_PRODUCT = "wrong_product"  #: FITS, but not a TESS light curve
    MISSING_COLUMN = "missing_column"  #: a column that is needed is absent or of another type
    BAD_CADENCES = "bad_cadences"  #: CADENCENO repeats, goes back or spans more than a sector
    ALL_NAN = "all_nan"  #: no finite flux at a finite time, or no finite pixel
    CHECKSUM = "checksum_mismatch"  #: the data do not add up to DATASUM: damaged
    SECTOR = "sector_mismatch"  #: the header names another sector than the folder
    DUPLICATE = "duplicate"  #: the same star twice; the better file was taken
    ESCAPES = "escapes_archive"  #: a link or name that leads out of the archive
    UNREADABLE = "unreadable"  #: the system would not read it
    CHANGED = "changed"  #: not the file it was when the plan was made
    WRONG_SHAPE = "wrong_shape"  #: an image without two axes of some length each
    NO_WCS = "no_wcs"  #: nothing says where on the sky an image lies, or not in RA and Dec
    CONSTANT = "constant_image"  #: every pixel has the same value
    NOT_SCIENCE = "not_science"  #: a bias, dark, flat, mask or weight, and not an image of the sky
    OVERLAP = "overlap"  #: two images have too little sky in common
    NO_STARS = "no_stars"  #: no star is in both images of a pair
    BAD_NAME = "bad_name"  #: a stamp's file name that tells no source and survey
    UNKNOWN_SURVEY = "unknown_survey"  #: a stamp of a survey that is in no table
    WRONG_SURVEY = "wrong_survey"  #: a stamp whose header names another telescope than its name does
    OFF_CENTRE = "off_centre"  #: a stamp without its source, or with it at the edge
    LATE = "late"  #: a filter of a source that was stacked without it
    KILLED = "killed"  #: a process died or ran out of time on this input alone


class SkysiftError(Exception):
    """Root of all errors raised by skysift on purpose; the message names file, value and cure."""

    exit_status = 1


#: What tells nothing of the input in hand, but of the partition, the store or the machine: where one input's errors
#: are its own failure, these fail the partition, so that nothing of it is committed and it is done again.
FATAL: tuple[type[BaseException], ...] = (SkysiftError, StoreError, OSError, MemoryError)


class UsageError(SkysiftError):
    """An option or a setting that makes no sense."""

    exit_status = 2


class ModelNotFound(UsageError):
    """No such model, version or alias."""


class Leak(UsageError):
    """What is judged was learnt from: an object, a field or a piece of sky is in two folds."""


class Refused(SkysiftError):
    """Going on would mix or overwrite results."""

    exit_status = 3


class Mismatch(Refused):
    """A committed result was made with other inputs, settings or code."""


class Stale(Refused):
    """An upstream result has changed since this one was made."""


class Missing(Refused):
    """An input partition is not committed."""


class Corrupt(SkysiftError):
    """Stored bytes are not what the manifest says."""


class CorruptModel(Corrupt):
    """Weights or card of a model are not what its id says."""


class ArchiveUnreachable(SkysiftError):
    """The archive cannot be read from this machine, or not now: it says nothing of any file, so none is rejected."""


class Rejected(SkysiftError):
    """One input is hopeless.

    Parameters
    ----------
    reason : Reason
        Code for the outcome table.
    message : str
        What is wrong with it, with the offending value.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"
