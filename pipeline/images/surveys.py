"""The header words of each survey: one small table a survey, and a generic one for the rest.

A survey is recognised by its header's own words, never by a file's name. `Survey.words` lists, for each fact, the
keywords that may hold it, best first; what no word holds is estimated from the pixels by `pipeline.images.estimates`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pipeline.images.frame import Bit

__all__ = ["GENERIC", "SURVEYS", "Survey"]

Words = Mapping[str, tuple[str, ...]]
Bits = Mapping[int, Bit]


@dataclass(frozen=True)
class Survey:
    """What the headers and planes of one survey mean.

    Parameters
    ----------
    name : str
        Survey, also the folder of its images in the workspace.
    mission : str
        What pairing compares; empty: the header's TELESCOP.
    marks : tuple of tuple of (str, str)
        Alternatives, each a list of keyword and regular expression that all have to match.
    words : mapping
        Fact → keywords that may hold it, best first.
    science, error, quality : tuple of str
        EXTNAMEs of the pixels (empty: any), of their errors and of their data quality.
    weight : tuple of str
        EXTNAMEs of further companions that are no images of the sky.
    bits : mapping
        Bit of the data-quality plane → bit of ours; a bit not listed means nothing.
    codes : bool
        That plane holds one code a pixel, not bits.
    rays_marked : int
        Bits of that plane that mark cosmic rays; 0 if there are none.
    combined : bool
        Stacks and the like, free of cosmic rays.
    calibrated : bool
        Whatever the header says, bias, dark and flat are applied.
    unit : str
        Of a count, where BUNIT does not say.
    given : mapping
        Facts of the detector that are the same in all images and not in their headers: ``gain``, ``read_noise``.
    filters : mapping
        Filter as the header has it → as it is called here.
    zero_point : str
        Rule of `pipeline.images.headers` for the AB zero point; empty: none is to be had.
    """

    name: str
    mission: str = ""
    marks: tuple[tuple[tuple[str, str], ...], ...] = ()
    words: Words = field(default_factory=dict)
    science: tuple[str, ...] = ()
    error: tuple[str, ...] = ("ERR", "ERROR", "SIGMA", "UNCERT")
    quality: tuple[str, ...] = ("DQ", "DQM", "MASK", "BPM", "FLAGS", "QUALITY")
    weight: tuple[str, ...] = ("WHT", "WEIGHT", "WTMAP", "CTX", "VAR", "VARIANCE", "EXP", "COVERAGE")
    bits: Bits = field(default_factory=dict)
    codes: bool = False
    rays_marked: int = 0
    combined: bool = False
    calibrated: bool = False
    unit: str = "adu"
    given: Mapping[str, float] = field(default_factory=dict)
    filters: Mapping[str, str] = field(default_factory=dict)
    zero_point: str = ""

    def is_of(self, header: Mapping[str, object]) -> bool:
        """Return whether a header is this survey's."""
        return any(
            all(re.search(pattern, str(header.get(key, "")), re.IGNORECASE) for key, pattern in mark)
            for mark in self.marks
        )

    def candidates(self, fact: str) -> tuple[str, ...]:
        """Return the keywords that may hold a fact: the survey's own, then the common ones."""
        own = self.words.get(fact)
        return _COMMON.get(fact, ()) if own is None else own


_COMMON: Words = MappingProxyType(
    {
        "instrument": ("INSTRUME", "CAMERA", "DETECTOR"),
        "ccd": ("CCDNUM", "CCDID", "CCD_ID", "CCDCHIP", "DETSEC", "IMAGEID", "EXTNAME"),
        "filter": ("FILTER", "FILTNAM", "FILTNAME", "FILTER1", "FILTER2", "CCDFLTID", "INSFLNAM", "BAND",
                   "ESO INS FILT1 NAME", "FPA.FILTERID", "FPA.FILTER"),
        "exptime_s": ("EXPTIME", "EXPOSURE", "TEXPTIME", "EXPTIM", "ITIME", "ONTIME"),
        "gain": ("GAIN", "EGAIN", "CCDGAIN", "GAINEFF", "ESO DET OUT1 CONAD", "CELL.GAIN"),
        "read_noise": ("RDNOISE", "READNOIS", "READNOI", "RON", "ENOISE", "ESO DET OUT1 RON", "CELL.READNOISE"),
        "saturation": ("SATURATE", "SATLEVEL", "SATUR", "SATURATI", "CELL.SATURATION"),
        "zero_point": ("MAGZP", "MAGZERO", "PHOTZP", "ZEROPNT", "MAGZPT"),
        "mjd_mid": ("MJD-MID", "MJDMID", "MJD-AVG"),
        "date_mid": ("DATE-MID", "DATE-AVG", "MIDPOINT"),
        "mjd_start": ("EXPSTART", "MJD-BEG", "OBSMJD", "MJD-OBS", "MJD"),
        "date_start": ("DATE-BEG", "DATE-OBS", "SHUTOPEN", "UTC-OBS", "DATE_OBS"),
        "time_start": ("TIME-OBS", "UTC-OBS", "UT-OBS", "UTSTART", "UTC", "UT", "TIME_OBS"),
        "jd_start": ("JD", "OBSJD", "JD-OBS"),
        "combined": ("NCOMBINE", "NCOADD", "NCOMB"),
        "image_type": ("IMAGETYP", "IMGTYPE", "OBSTYPE", "IMTYPE", "FRMTYPE", "PRODTYPE", "ESO DPR TYPE", "PROCTYPE"),
        "bias": ("BIASCORR", "ZEROCOR", "DESBIAS", "BIASSUB", "BIASFIL"),
        "dark": ("DARKCORR", "DARKCOR", "DARKSUB"),
        "flat": ("FLATCORR", "FLATCOR", "DESFLAT", "FLATDIV", "FLATFIL"),
    }
)  # fmt: skip

# WFC3 Data Handbook, table 3.3; ACS Data Handbook, table 3.4: they agree in what matters here. The dark of a stable hot
# pixel (16) is subtracted, and every twentieth pixel is one: like warm ones (64) it is usable with care, as in the
# mission's own stacking; an unstable one (32) is not.
_HST_BITS = MappingProxyType(
    {1: Bit.BAD, 2: Bit.BAD, 4: Bit.BAD, 8: Bit.BAD, 16: Bit.WEAK, 32: Bit.HOT, 64: Bit.WEAK, 128: Bit.BAD,
     256: Bit.SATURATED, 512: Bit.BAD, 1024: Bit.BAD, 2048: Bit.SATURATED, 4096: Bit.COSMIC_RAY, 8192: Bit.COSMIC_RAY}
)  # fmt: skip

HST = Survey(
    name="hst",
    mission="HST",
    marks=((("TELESCOP", r"^HST"),),),
    words={
        "filter": ("FILTER", "FILTER1", "FILTER2", "FILTNAM1"),
        "ccd": ("CCDCHIP", "DETECTOR"),
        "gain": (),  # data are in electrons, or BUNIT says counts and ATODGN* tells
        "read_noise": ("READNSEA", "READNSEB", "READNSEC", "READNSED"),
        "mjd_start": ("EXPSTART",),
        "mjd_end": ("EXPEND",),
        "zero_point": ("PHOTFLAM",),
    },
    science=("SCI",),
    error=("ERR",),
    quality=("DQ",),
    weight=("WHT", "CTX", "SAMP", "TIME", "D2IMARR", "WCSDVARR", "HDRLET", "WCSCORR"),
    bits=_HST_BITS,
    rays_marked=4096 | 8192,
    calibrated=True,
    unit="electron",
    filters={"CLEAR1L": "", "CLEAR2L": "", "CLEAR1S": "", "CLEAR2S": "", "N/A": ""},
    zero_point="photflam",
)

ZTF = Survey(
    name="ztf",
    mission="ZTF",
    marks=(
        (("INSTRUME", r"^ZTF"),),
        (("ORIGIN", r"Zwicky Transient Facility"),),
    ),
    words={
        "filter": ("FILTER", "FILTERID"),
        "ccd": ("CCDID", "CCD_ID"),
        "exptime_s": ("EXPOSURE", "EXPTIME", "AEXPTIME"),
        "gain": ("GAIN",),
        "read_noise": ("READNOI",),
        "date_start": ("SHUTOPEN", "UTC-OBS", "DATE-OBS"),
        "mjd_start": ("OBSMJD",),
        "zero_point": ("MAGZP",),
    },
    # Masci et al. 2019, PASP 131, 018003: bits of mskimg. That a pixel is part of a source (1, 11) means no harm.
    bits={1 << 0: Bit.TRAIL, 1 << 2: Bit.WEAK, 1 << 3: Bit.WEAK, 1 << 4: Bit.WEAK, 1 << 5: Bit.WEAK, 1 << 6: Bit.BAD,
          1 << 7: Bit.COSMIC_RAY, 1 << 8: Bit.SATURATED, 1 << 9: Bit.BAD, 1 << 10: Bit.BAD, 1 << 12: Bit.WEAK},
    rays_marked=1 << 7,
    calibrated=True,
    filters={"1": "g", "2": "r", "3": "i", "ZTF_g": "g", "ZTF_r": "r", "ZTF_i": "i",
             "ZTF g": "g", "ZTF r": "r", "ZTF i": "i", "zg": "g", "zr": "r", "zi": "i"},
    zero_point="whole exposure",
)  # fmt: skip

PS1 = Survey(
    name="ps1",
    mission="Pan-STARRS1",
    marks=(
        (("TELESCOP", r"^PS1"),),
        (("FPA.TELESCOPE", r"^PS1"),),
        (("PSCAMERA", r"."),),
        (("FPA.FILTERID", r"."), ("BSOFTEN", r".")),
        (("FPA.FILTER", r"."), ("STK_TYPE", r".")),
    ),
    words={
        "instrument": ("FPA.INSTRUMENT", "INSTRUME", "PSCAMERA", "FPA.CAMERA"),
        "filter": ("FPA.FILTERID", "FPA.FILTER", "FILTER"),
        "ccd": ("STK_ID", "CHIP.NAME"),
        "exptime_s": ("EXPTIME", "CELL.EXPOSURE", "FPA.EXPOSURE"),
        "gain": ("CELL.GAIN", "GAIN"),
        "read_noise": ("CELL.READNOISE",),
        "saturation": ("CELL.SATURATION",),
        "mjd_start": (),
        "mjd_mid": ("MJD-OBS",),  # of stacks and warps alike: the mean of what went in
        "zero_point": ("FPA.ZP",),
    },
    combined=True,
    calibrated=True,
    zero_point="per second, 25",
)

UVOT = Survey(
    name="uvot",
    mission="Swift",
    marks=((("TELESCOP", r"^SWIFT"), ("INSTRUME", r"^UVOT")),),
    words={
        "exptime_s": ("EXPOSURE", "ONTIME"),
        "ccd": (),
        "date_start": ("DATE-OBS",),
        "date_end": ("DATE-END",),
        "mjd_start": (),
        "jd_start": (),
    },
    combined=True,  # a photon counter knows no cosmic rays as pixels
    calibrated=True,
    unit="photon",
    given={"gain": 1.0, "read_noise": 0.0},
)

DECAM = Survey(
    name="decam",
    mission="DECam",
    marks=(
        (("INSTRUME", r"^DECam"),),
        (("FPA", r"^DECAM"),),
        (("FILTER", r"\bDECam\b"),),
    ),
    words={
        "instrument": ("INSTRUME", "FPA"),
        "ccd": ("EXTNAME", "DETPOS", "CCDNUM"),
        "gain": ("GAIN", "GAINA"),
        "read_noise": ("RDNOISE", "RDNOISEA", "RDNOISEB"),
        "saturation": ("SATURATE", "SATURATA", "SATURATB"),
        "zero_point": ("MAGZERO",),
        "sky": ("AVSKY",),
        # c4d_yymmdd_hhmmss: the exposure itself, whatever became of its DATE-OBS when it was resampled.
        "exposure_name": ("EXP_BN", "FILENAME", "DTNSANAM"),
    },
    # Community pipeline since 2015: one code a pixel.
    codes=True,
    rays_marked=5,
    bits={1: Bit.BAD, 2: Bit.BAD, 3: Bit.SATURATED, 4: Bit.SATURATED, 5: Bit.COSMIC_RAY, 6: Bit.WEAK, 7: Bit.WEAK,
          8: Bit.TRAIL},
    zero_point="whole exposure",
)  # fmt: skip

GOTO = Survey(
    name="goto",
    mission="GOTO",
    marks=((("TELESCOP", r"^GOTO"),),),
    words={
        "ccd": ("UT", "INSTRUME"),
        "time_start": ("TIME-OBS", "UTSTART"),  # its UT is the number of a telescope
        "jd_start": (),
    },
)

GENERIC = Survey(name="generic", bits={1 << bit: Bit.BAD for bit in range(32)}, zero_point="")

#: In the order they are tried.
SURVEYS = (HST, ZTF, PS1, UVOT, DECAM, GOTO)
