"""The header cards of a SPOC light curve."""

import math
from datetime import datetime, timedelta
from functools import cache

import numpy as np

from pipeline.simulate.hdu import Card
from pipeline.simulate.lightcurves import SimulatedCurve
from pipeline.simulate.sector import live_share

__all__ = ["COLUMNS", "aperture_cards", "primary_cards", "table_cards", "utc"]


_EPOCH = datetime(2014, 12, 8, 12)  # BTJD 0 = JD 2457000
_PIXEL, _RATE = ("pixel", "pixel"), ("e-/s", "electrons per second")
# Name, TFORM, (TUNIT, comment), TDISP, comment, field of SimulatedCurve: SPOC's 20 columns in its order.
COLUMNS = (
    (
        "TIME",
        "D",
        ("BJD - 2457000, days", "Barycenter corrected TESS Julian"),
        "D14.7",
        "data time stamps",
        "time",
    ),
    ("TIMECORR", "E", ("d", "Days"), "E14.7", "barycentric correction", "timecorr"),
    ("CADENCENO", "J", None, "I10", "unique cadence number", "cadenceno"),
    ("SAP_FLUX", "E", _RATE, "E14.7", "aperture photometry flux", "sap_flux"),
    ("SAP_FLUX_ERR", "E", _RATE, "E14.7", "aperture phot. flux error", "sap_flux_err"),
    ("SAP_BKG", "E", _RATE, "E14.7", "aperture phot. background flux", "bkg"),
    ("SAP_BKG_ERR", "E", _RATE, "E14.7", "ap. phot. background flux error", "bkg_err"),
    ("PDCSAP_FLUX", "E", _RATE, "E14.7", "aperture phot. PDC flux", "flux"),
    ("PDCSAP_FLUX_ERR", "E", _RATE, "E14.7", "ap. phot. PDC flux error", "flux_err"),
    ("QUALITY", "J", None, "B16.16", "aperture photometry quality flag", "quality"),
    ("PSF_CENTR1", "D", _PIXEL, "F10.5", "PSF-fitted column centroid", None),
    ("PSF_CENTR1_ERR", "E", _PIXEL, "E14.7", "PSF-fitted column error", None),
    ("PSF_CENTR2", "D", _PIXEL, "F10.5", "PSF-fitted row centroid", None),
    ("PSF_CENTR2_ERR", "E", _PIXEL, "E14.7", "PSF-fitted row error", None),
    ("MOM_CENTR1", "D", _PIXEL, "F10.5", "moment-derived column centroid", "centroid1"),
    ("MOM_CENTR1_ERR", "E", _PIXEL, "E14.7", "moment-derived column error", "centroid1_err"),
    ("MOM_CENTR2", "D", _PIXEL, "F10.5", "moment-derived row centroid", "centroid2"),
    ("MOM_CENTR2_ERR", "E", _PIXEL, "E14.7", "moment-derived row error", "centroid2_err"),
    ("POS_CORR1", "E", ("pixels", "pixel"), "E14.7", "column position correction", "pos_corr1"),
    ("POS_CORR2", "E", ("pixels", "pixel"), "E14.7", "row position correction", "pos_corr2"),
)
_FORMS = {"D": "64-bit floating point", "E": "32-bit floating point", "J": "signed 32-bit integer"}


def utc(btjd: float) -> datetime:
    """Convert BTJD (TDB) to UTC, good from 2017 until the next leap second.

    Parameters
    ----------
    btjd : float
        BJD - 2457000.

    Returns
    -------
    datetime
        Without time zone.
    """
    return _EPOCH + timedelta(days=btjd, seconds=-69.184)


def _span(start: float, stop: float, system: str) -> list[Card]:
    begin, end = (f"{utc(t).isoformat(timespec='milliseconds')}Z" for t in (start, stop))
    return [
        ("TSTART", start, f"observation start time in {system}"),
        ("TSTOP", stop, f"observation stop time in {system}"),
        ("DATE-OBS", begin, "TSTART as UTC calendar date"),
        ("DATE-END", end, "TSTOP as UTC calendar date"),
    ]


def _edges(curve: SimulatedCurve) -> tuple[float, float, float]:
    """Barycentric start and end of the light curve, and its cadence in days."""
    cadence = curve.cadence_s / 86400
    time = curve.time[np.isfinite(curve.time)]
    return float(time[0]) - cadence / 2, float(time[-1]) + cadence / 2, cadence


def _common(curve: SimulatedCurve, ra: float) -> list[Card]:
    return [
        ("TELESCOP", "TESS", "telescope"),
        ("INSTRUME", "TESS Photometer", "detector type"),
        ("OBJECT", f"TIC {curve.tic_id}", "string version of target id"),
        ("TICID", curve.tic_id, "unique tess target identifier"),
        ("RADESYS", "ICRS", "reference frame of celestial coordinates"),
        ("RA_OBJ", ra, "[deg] right ascension"),
        ("DEC_OBJ", curve.dec, "[deg] declination"),
        ("EQUINOX", 2000.0, "equinox of celestial coordinate system"),
    ]


def _extension(curve: SimulatedCurve, name: str, kind: str, bitpix: int, shape: tuple[int, int]) -> list[Card]:
    # Like SPOC, move the right ascension (and it alone) from J2000 to the time of the observation.
    years = (_edges(curve)[0] + 5455) / 365.25
    ra = curve.ra + curve.pmra * years / 3.6e6 / math.cos(math.radians(curve.dec))
    head: list[Card] = [
        ("XTENSION", kind, "marks the beginning of a new HDU"),
        ("BITPIX", bitpix, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", shape[0], "length of first array dimension"),
        ("NAXIS2", shape[1], "length of second array dimension"),
        ("PCOUNT", 0, "group parameter count (not used)"),
        ("GCOUNT", 1, "group count (not used)"),
    ]
    tail: list[Card] = [
        ("INHERIT", True, "inherit the primary header"),
        ("EXTNAME", name, "name of extension"),
        ("EXTVER", 1, "extension version number (not format version)"),
        ("SIMDATA", True, "file is based on simulated data"),
        *_common(curve, ra),
    ]
    return head + (_column_cards() if kind == "BINTABLE" else []) + tail


@cache
def _column_cards() -> list[Card]:
    cards: list[Card] = [("TFIELDS", len(COLUMNS), "number of table fields")]
    for i, (name, form, unit, display, title, _) in enumerate(COLUMNS, 1):
        cards += [
            (f"TTYPE{i}", name, f"column title: {title}"),
            (f"TFORM{i}", form, f"column format: {_FORMS[form]}"),
        ]
        cards += [(f"TUNIT{i}", unit[0], f"column units: {unit[1]}")] if unit else []
        cards += [(f"TDISP{i}", display, "column display format")]
    return cards


def primary_cards(curve: SimulatedCurve) -> list[Card]:
    """List the cards of the primary header.

    Parameters
    ----------
    curve : SimulatedCurve
        A light curve.

    Returns
    -------
    list of (keyword, value, comment)
        In SPOC's order, checksums left out.
    """
    start, stop, _ = _edges(curve)
    common = _common(curve, curve.ra)
    fast = curve.cadence_s < 120
    made = utc(stop) + timedelta(days=30)  # a fixed date, so that the same simulation gives the same bytes
    return [
        ("SIMPLE", True, "conforms to FITS standards"),
        ("BITPIX", 8, "array data type"),
        ("NAXIS", 0, "number of array dimensions"),
        ("EXTEND", True, "file contains extensions"),
        ("NEXTEND", 2, "number of standard extensions"),
        ("EXTNAME", "PRIMARY", "name of extension"),
        ("EXTVER", 1, "extension version number (not format version)"),
        ("SIMDATA", True, "file is based on simulated data"),
        ("ORIGIN", "skysift", "institution responsible for creating this file"),
        ("DATE", f"{made:%Y-%m-%d}", "file creation date."),
        *_span(start - float(curve.timecorr[0]), stop - float(curve.timecorr[-1]), "TJD"),
        ("CREATOR", "1 LightCurveExporterPipelineModule", "pipeline job and program used"),
        ("PROCVER", "spoc-5.0.20-simulated", "SW version"),
        ("FILEVER", "1.0", "file format version"),
        ("TIMVERSN", "OGIP/93-003", "OGIP memo number for file format"),
        *common[:2],
        ("DATA_REL", curve.sector + 24, "data release version number"),
        *common[2:4],
        ("SECTOR", curve.sector, "Observing sector"),
        ("CAMERA", curve.camera, "Camera number"),
        ("CCD", curve.ccd, "CCD chip number"),
        ("PXTABLE", 128, "pixel table id"),
        *common[4:],
        ("PMRA", curve.pmra, "[mas/yr] RA proper motion"),
        ("PMDEC", curve.pmdec, "[mas/yr] Dec proper motion"),
        ("PMTOTAL", math.hypot(curve.pmra, curve.pmdec), "[mas/yr] total proper motion"),
        ("TESSMAG", curve.tmag, "[mag] TESS magnitude"),
        ("TEFF", curve.teff, "[K] Effective temperature"),
        ("LOGG", math.nan, "[cm/s2] log10 surface gravity"),
        ("MH", math.nan, "[log10([M/H])] metallicity"),
        ("RADIUS", curve.radius, "[solar radii] stellar radius"),
        ("TICVER", "8.2", "TICVER"),
        ("CRMITEN", not fast, "spacecraft cosmic ray mitigation enabled"),
        ("CRBLKSZ", 10, "[exposures] s/c cosmic ray mitigation block siz"),
        ("CRSPOC", fast, "SPOC cosmic ray cleaning enabled"),
        ("HISTORY", "Simulated by skysift; not an observation.", ""),
    ]


def table_cards(curve: SimulatedCurve) -> list[Card]:
    """List the cards of the header of the LIGHTCURVE table.

    Parameters
    ----------
    curve : SimulatedCurve
        A light curve.

    Returns
    -------
    list of (keyword, value, comment)
        In SPOC's order, checksums left out.
    """
    start, stop, cadence = _edges(curve)
    live = live_share(curve.cadence_s)
    exposure = float(np.isfinite(curve.sap_flux).sum()) * cadence * live
    frames = round(curve.cadence_s / 2)
    noise = float(np.nanmedian(curve.flux_err / curve.flux)) * 1e6 * math.sqrt(curve.cadence_s / 1800)
    return [
        *_extension(curve, "LIGHTCURVE", "BINTABLE", 8, (100, curve.time.size)),
        ("EXPOSURE", exposure, "[d] time on source"),
        ("TIMEREF", "SOLARSYSTEM", "barycentric correction applied to times"),
        ("TASSIGN", "SPACECRAFT", "where time is assigned"),
        ("TIMESYS", "TDB", "time system is Barycentric Dynamical Time (TDB)"),
        ("BJDREFI", 2457000, "integer part of BTJD reference date"),
        ("BJDREFF", 0.0, "fraction of the day in BTJD reference date"),
        ("TIMEUNIT", "d", "time unit for TIME, TSTART and TSTOP"),
        ("TELAPSE", stop - start, "[d] TSTOP - TSTART"),
        ("LIVETIME", exposure, "[d] TELAPSE multiplied by DEADC"),
        *_span(start, stop, "BTJD"),
        ("DEADC", live, "deadtime correction"),
        ("TIMEPIXR", 0.5, "bin time beginning=0 middle=0.5 end=1"),
        ("TIERRELA", 1.16e-05, "[d] relative time error"),
        ("INT_TIME", 1.98, "[s] photon accumulation time per frame"),
        ("READTIME", 0.02, "[s] readout time per frame"),
        ("FRAMETIM", 2.0, "[s] frame time (INT_TIME + READTIME)"),
        ("NUM_FRM", frames, "number of frames per time stamp"),
        ("TIMEDEL", cadence, "[d] time resolution of data"),
        ("BACKAPP", True, "background is subtracted"),
        ("DEADAPP", True, "deadtime applied"),
        ("VIGNAPP", True, "vignetting or collimator correction applied"),
        *((f"GAIN{x}", 5.25, f"[electrons/count] CCD output {x} gain") for x in "ABCD"),
        *((f"READNOI{x}", 9.0, f"[electrons] read noise CCD output {x}") for x in "ABCD"),
        ("NREADOUT", round(frames * live / 0.99), "number of read per cadence"),
        ("FXDOFF", 209700 if curve.cadence_s <= 120 else 3355400, "compression fixed offset"),
        *(
            (f"CDPP{h:.1f}".replace(".", "_"), noise / math.sqrt(2 * h), f"RMS CDPP on {h}-hr time scales")
            for h in (0.5, 1, 2)
        ),
        ("CROWDSAP", curve.crowdsap, "Ratio of target flux to total flux in op. ap."),
        ("FLFRCSAP", curve.flfrcsap, "Frac. of target flux w/in the op. aperture"),
        ("NSPSDDET", 0, "Number of SPSDs detected"),
        ("NSPSDCOR", 0, "Number of SPSDs corrected"),
        ("PDCMETHD", "MAP", "PDC algorithm used for target"),
    ]


def aperture_cards(curve: SimulatedCurve) -> list[Card]:
    """List the cards of the header of the APERTURE image.

    Parameters
    ----------
    curve : SimulatedCurve
        A light curve.

    Returns
    -------
    list of (keyword, value, comment)
        In SPOC's order, checksums left out.
    """
    return [
        *_extension(curve, "APERTURE", "IMAGE", 32, (11, 11)),
        ("WCSAXES", 2, "number of WCS axes"),
        ("CTYPE1", "RA---TAN", "right ascension coordinate type"),
        ("CTYPE2", "DEC--TAN", "declination coordinate type"),
        ("CRPIX1", 6.0, "[pixel] reference pixel along image axis 1"),
        ("CRPIX2", 6.0, "[pixel] reference pixel along image axis 2"),
        ("CRVAL1", curve.ra, "[deg] right ascension at reference pixel"),
        ("CRVAL2", curve.dec, "[deg] declination at reference pixel"),
        ("CUNIT1", "deg", "physical unit in column dimension"),
        ("CUNIT2", "deg", "physical unit in row dimension"),
        ("CDELT1", -21 / 3600, "[deg] pixel scale in RA dimension"),
        ("CDELT2", 21 / 3600, "[deg] pixel scale in Dec dimension"),
        ("NPIXSAP", curve.n_pixels, "Number of pixels in optimal aperture"),
        ("NPIXMISS", 0, "Number of op. aperture pixels not collected"),
    ]
