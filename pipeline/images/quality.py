"""Data-quality planes of surveys whose bits nobody has told: by the names in their own headers, or not trusted."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pipeline.images.calibrate import quality
from pipeline.images.frame import Bit
from pipeline.images.reading import Plane
from pipeline.images.surveys import GENERIC, Survey

__all__ = ["TRUSTED", "named", "share"]

#: Share of the pixels from which on a plane of unknown meaning marks more than what is bad: sources, say.
TRUSTED = 0.3

# The cards of masks as the LSST pipelines write them: ``MP_SAT = 1`` says that bit 1 is of saturated pixels (Bosch et
# al. 2018, PASJ 70, S5). MP_DETECTED and the like say nothing against a pixel.
_NAMES: Mapping[str, Bit] = {
    "MP_BAD": Bit.BAD, "MP_SAT": Bit.SATURATED, "MP_CR": Bit.COSMIC_RAY, "MP_STREAK": Bit.TRAIL, "MP_EDGE": Bit.EDGE,
    "MP_NO_DATA": Bit.EDGE, "MP_INTRP": Bit.WEAK, "MP_SUSPECT": Bit.WEAK,
}  # fmt: skip

_ROWS = 1024


def named(survey: Survey, header: Mapping[str, object]) -> Survey:
    """Return a survey with the bits that the header of a plane names; the same survey if it names none.

    Parameters
    ----------
    survey : Survey
        That the image is of.
    header : mapping
        Of the data-quality plane.
    """
    places = {key: header[key] for key in _NAMES if key in header}
    bits: dict[int, Bit] = {}
    for key, place in places.items():
        if isinstance(place, int) and 0 <= place < 32:
            bits[1 << place] = bits.get(1 << place, Bit(0)) | _NAMES[key]
    return replace(survey, bits=bits, codes=False) if bits else survey


def share(plane: Plane, survey: Survey) -> float:
    """Return the share of pixels that a plane of unknown meaning marks; 0 of one whose bits are known.

    Parameters
    ----------
    plane : Plane
        Data quality.
    survey : Survey
        Says what the bits mean.
    """
    if survey.bits is not GENERIC.bits:
        return 0.0
    ny, nx = plane.shape
    bands = (plane.rows(y0, min(y0 + _ROWS, ny)) for y0 in range(0, ny, _ROWS))
    return sum(int(np.count_nonzero(quality(rows, survey))) for rows in bands) / (ny * nx)
