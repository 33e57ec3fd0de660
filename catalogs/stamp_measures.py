"""What the fits of one and of two stars say: of a source in all its stamps, and of each stamp."""

import pyarrow as pa

from catalogs.candidates import measured
from catalogs.columns import INT, LONG
from catalogs.stamps import STAMPS
from catalogs.table import Column, Table

__all__ = ["MEASURES", "STAMP_MEASURES"]

_MADE_BY = "python -m jobs.measure_stamps"
_SOURCE, _SURVEY, _FILTER = (STAMPS[name] for name in ("source_id", "survey", "filter"))
_PAIR = "null unless two stars fit significantly better than one"


def _with_error(
    name: str, unit: str, ucd: str, meaning: str, low: float | None = None, high: float | None = None
) -> tuple[Column, Column]:
    error = f"Standard error of {name}"
    return measured(name, unit, ucd, meaning, low, high), measured(f"{name}_err", unit, f"stat.error;{ucd}", error, 0)


MEASURES = Table(
    name="stamp_sources",
    meaning="One source of stamps, by fits of one and of more stars to all of them together.",
    columns=(
        _SOURCE,
        Column("n_components", INT, "", "meta.number;src", "Point sources within 2.5 arcsec that the fits need, the "
               "primary among them; null, as all that is fitted, where n_images is 0", (1, None), True),
        Column("n_images", INT, "", "meta.number;obs.image", "Stamps that were fitted; 0 where none can tell, of "
               "a survey that does not resolve 2.5 arcsec or with too few good pixels", (0, None)),
        measured("ra", "deg", "pos.eq.ra", "Right ascension of the brightest component, ICRS, mean of the stamps by "
                 "their WCS; null where none tells which side is north", 0, 360),
        measured("dec", "deg", "pos.eq.dec", "Declination of the same", -90, 90),
        measured("pos_epoch", "yr", "time.epoch", "Julian year of ra, dec, ra_2 and dec_2: mean of the stamps"),
        measured("delta_chi2", "", "stat.fit.chi2;arith.diff", "Chi squared of one star minus that of two, all stamps",
                 0),
        measured("delta_chi2_extended", "", "stat.fit.chi2;arith.diff", "Chi squared of one star of any width minus "
                 "that of two; negative where an extended source fits better"),
        *_with_error("sep_arcsec", "arcsec", "pos.angDistance", f"Separation of the two components; {_PAIR}", 0),
        *_with_error("pa_deg", "deg", "pos.posAng", "Position angle from the brighter to the fainter component, east "
                     f"of north, ICRS; {_PAIR}", 0, 360),
        Column("pa_ambiguous", pa.bool_(), "", "meta.code.qual", "Which one is the brighter is not significant (less "
               f"than 2 sigma): the position angle may be off by 180 deg; {_PAIR}", nullable=True),
        *_with_error("delta_mag", "mag", "phot.mag;arith.diff", "Difference of magnitudes, mean of the stamps, of "
                     f"whatever bands; its error holds their scatter; {_PAIR}", 0),
        measured("ra_2", "deg", "pos.eq.ra", f"Right ascension of the fainter component, ICRS; {_PAIR}", 0, 360),
        measured("dec_2", "deg", "pos.eq.dec", "Declination of the same", -90, 90),
        *(measured(f"dm_limit_{name}", "mag", "phot.mag;arith.diff;stat.max", "Difference of magnitudes up to which a "
                   f"companion at {name.replace('p', '.')} arcsec would have been seen at 5 sigma, in all stamps "
                   "together; negative where not even an equal one would") for name in ("0p3", "0p5", "1p0", "2p0")),
        measured("p_fit", "", "stat.probability", "Probability of a second point source by the fits alone, were half "
                 "of all sources double", 0, 1),
        measured("p_chance", "", "stat.probability", "Probability of an unrelated star as bright as the second one, or "
                 "brighter, within the separation; its magnitude is that in counts_filter of [measure], if none is "
                 "named the median of all bands, else Gaia's G and delta_mag; null without star counts near it, or of "
                 "stars like it, and without a pair", 0, 1),
        Column("gaia_id_1", LONG, "", "meta.id.cross", "Gaia source at the primary, by the table given", (0, None),
               True),
        Column("gaia_id_2", LONG, "", "meta.id.cross", "Gaia source at the companion", (0, None), True),
        measured("plx_diff_sigma", "", "stat.value;pos.parallax", "Difference of the parallaxes of the two in sigmas",
                 0),
        measured("pm_diff_sigma", "", "stat.value;pos.pm", "Difference of their proper motions in sigmas: square root "
                 "of the sum of squares in right ascension and declination, 1.25 on average if there is none", 0),
        measured("ruwe", "", "stat.fit.chi2", "Gaia's RUWE of the primary", 0),
        measured("ipd_frac_multi_peak", "", "stat.fit;arith.ratio", "Share of Gaia's transits of the primary with "
                 "several peaks, per cent, as Gaia has it", 0, 100),
    ),
    key=("source_id",),
    made_by=_MADE_BY,
)  # fmt: skip

STAMP_MEASURES = Table(
    name="stamp_measures",
    meaning="One stamp, by fits of one and of two stars.",
    columns=(
        _SOURCE, _SURVEY, _FILTER,
        measured("mjd", "d", "time.epoch;obs.exposure", "Middle of the exposure, MJD; null if the header does not say"),
        *_with_error("sep_arcsec", "arcsec", "pos.angDistance", "Separation, fitted to this stamp alone", 0),
        *_with_error("pa_deg", "deg", "pos.posAng", "Position angle, fitted to this stamp alone, in the sense of the "
                     "source's row", 0, 360),
        *_with_error("delta_mag", "mag", "phot.mag;arith.diff", "Fainter minus brighter component of the source's row, "
                     "in this stamp, at the separation and angle fitted to all"),
        measured("delta_chi2", "", "stat.fit.chi2;arith.diff", "Chi squared of one star minus that of two, in this "
                 "stamp; null of a survey that cannot resolve 2.5 arcsec, which is not fitted", 0),
        measured("snr_1", "", "stat.snr", "Signal to noise of the brighter component"),
        measured("flux_2", "ct", "phot.flux", "Counts of the fainter component"),
        measured("mag_2", "mag", "phot.mag", "Magnitude of the fainter component, by the header's zero point or the "
                 "survey's"),
        measured("fwhm_arcsec", "arcsec", "instr.obsty.seeing", "FWHM of the PSF that was fitted with", 0),
    ),
    key=("source_id", "survey", "filter"),
    made_by=_MADE_BY,
)  # fmt: skip
