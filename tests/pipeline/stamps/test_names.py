"""Names of stamp files: the authors', panstamps', folders, and patterns of a user's own."""

import pytest

from pipeline.errors import Reason, Rejected, UsageError
from pipeline.stamps.names import check_packing, is_stamp, read


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("22466_SDSS_r.fits", ("22466", "SDSS", "r")),
        ("22466_SDSS_r.fits.gz", ("22466", "SDSS", "r")),
        ("22466_stacked_2MASS.fits", ("22466", "2MASS", "stacked")),
        ("22466_2MASS_stacked.fits", ("22466", "2MASS", "stacked")),
        ("2010H/2MASS/2MASS_K.fits.gz", ("2010H", "2MASS", "Ks")),
        ("blast/2010H/WISE/WISE_W1.fits.gz", ("2010H", "AllWISE", "W1")),
        ("2010H/SDSS_u.fits", ("2010H", "SDSS", "u")),
        ("deep/er/J1234+56_78_PanSTARRS_i.fits", ("J1234+56_78", "Pan-STARRS", "i")),
        ("star 7_Pan-STARRS_y.FITS", ("star 7", "Pan-STARRS", "y")),
        ("a_pan_starrs_g.fits", ("a", "Pan-STARRS", "g")),
        ("Gaia_DR3_123_HST_F814W.fit", ("Gaia_DR3_123", "HST", "F814W")),
        ("7_NEOWISE-R_w2.fits", ("7", "NEOWISE-R", "W2")),
        ("7_GALEX_NUV.fts", ("7", "GALEX", "NUV")),
        ("7_SDSS.fits", ("7", "SDSS", "stacked")),
        ("7_HST_F999X.fits", ("7", "HST", "F999X")),
        ("7/HST/HST_F673N.fits", ("7", "HST", "F673N")),
        ("7/JWST/JWST_MIRI_F770W.fits", ("7", "JWST", "MIRI_F770W")),
        ("7_Spitzer_3.6.fits", ("7", "Spitzer", "I1")),
        ("7_Spitzer_4.5.fits.gz", ("7", "Spitzer", "I2")),
        ("7_Spitzer_36.fits", ("7", "Spitzer", "I1")),
        ("7_Spitzer_24.fits", ("7", "Spitzer", "M1")),
        ("7/Spitzer/Spitzer_4.5.fits", ("7", "Spitzer", "I2")),
        ("7/Spitzer/IRAC/IRAC_8.0.fits", ("7", "Spitzer", "I4")),
        ("7_Spitzer_IRAC1.fits", ("7", "Spitzer", "I1")),
        ("7_Spitzer_IRAC_I1.fits", ("7", "Spitzer", "I1")),
        ("7_HST_WFC3_F160W.fits", ("7", "HST", "F160W")),
        ("7/HST/HST_WFC3_F160W.fits", ("7", "HST", "F160W")),
        ("7_JWST_NIRCam_F200W.fits", ("7", "JWST", "F200W")),
        ("7_Subaru_HSC_i.fits", ("7", "HSCLA", "i")),
        ("7_GALEX_AIS_NUV.fits", ("7", "GALEX", "NUV")),
        ("7_PS1_DR2_g.fits", ("7", "Pan-STARRS", "g")),
        ("7_Legacy_Survey_DR10_z.fits", ("7", "DECaLS", "z")),
        ("7_SDSS9_r.fits", ("7", "SDSS", "r")),
        ("7_WISE_unWISE_W1.fits", ("7", "unWISE", "W1")),
        ("7/WISE/unWISE_W1.fits", ("7", "unWISE", "W1")),
        ("7/stacked_2MASS.fits", ("7", "2MASS", "stacked")),
        ("7/2MASS/2MASS_stacked.fits", ("7", "2MASS", "stacked")),
        ("7_stacked_SDSS_r.fits", ("7", "SDSS", "r")),
        ("WISE1828/WISE/WISE_W1.fits", ("WISE1828", "AllWISE", "W1")),
        ("SDSS1234/SDSS/SDSS_r.fits", ("SDSS1234", "SDSS", "r")),
        ("LS-101/DECaLS/DECaLS_g.fits", ("LS-101", "DECaLS", "g")),
        ("HSC_1/HSC/HSC_i.fits", ("HSC_1", "HSCLA", "i")),
        ("PS1-12345/PS1/PS1_g.fits", ("PS1-12345", "Pan-STARRS", "g")),
        ("HSC_1_HSC_i.fits", ("HSC_1", "HSCLA", "i")),
        ("SDSS_J1234_PS1_g.fits", ("SDSS_J1234", "Pan-STARRS", "g")),
        ("star_24_Spitzer.fits", ("star_24", "Spitzer", "stacked")),
    ],
)
def test_names_are_read(path, expected):
    assert is_stamp(path)
    name = read(path)
    assert (name.source_id, name.survey.name, name.filter) == expected


def test_panstamps_names_tell_the_place():
    name = read("70.60271m21.72433/stack_g_ra70.602710_dec-21.724330_arcsec600_skycell0812.050.fits")
    assert (name.survey.name, name.filter, name.ra, name.dec) == ("Pan-STARRS", "g", 70.60271, -21.72433)
    other = read("x/warp_i_ra70.602710_dec-21.724330_mjd55555.5_arcsec60_skycell0812.050.fits")
    assert other.source_id == name.source_id


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("<source>-<filter>-<survey>", "any/where/7-r-SDSS.fits"),
        ("<survey>/<filter>/<source>", "top/SDSS/r/7.fits.gz"),
        ("<source>_SDSS_<filter>_v*", "7_SDSS_r_v12.fits"),
        ("<source>/<survey>/<source>_<filter>.fits", "7/sdss/7_r.fits"),
        ("<source>.sdss_dr9.<filter>", "7.sdss_dr9.r.fits"),
        ("<source>-<filter><survey=SDSS>", "7-r.fits"),
    ],
)
def test_patterns_of_a_users_own(pattern, path):
    name = read(path, pattern)
    assert (name.source_id, name.survey.name, name.filter) == ("7", "SDSS", "r")


def test_panstamps_files_join_a_users_own_sources_by_a_pattern():
    path = "22466/stack_r_ra210.100000_dec54.300000_arcsec60_skycell2381.050.fits"
    name = read(path, "<source>/<survey=PS1>stack_<filter>_*")
    assert (name.source_id, name.survey.name, name.filter) == ("22466", "Pan-STARRS", "r")
    assert (name.ra, name.dec) == (210.1, 54.3)


@pytest.mark.parametrize(
    ("path", "pattern", "reason"),
    [
        ("picture.fits", None, Reason.BAD_NAME),
        ("7_PS1_r.mask.fits", None, Reason.WRONG_PRODUCT),
        ("7_DECaLS_z_dqmask.fits.fz", None, Reason.WRONG_PRODUCT),
        ("7/rings.v3.skycell.1405.053.stk.r.unconv.wt.fits", None, Reason.WRONG_PRODUCT),
        ("7_SDSS_r_invvar.fits", "<source>_SDSS_<filter>_*", Reason.WRONG_PRODUCT),
        ("7_UKIDSS_K.fits", None, Reason.UNKNOWN_SURVEY),
        ("SDSS_r.fits", None, Reason.BAD_NAME),
        ("SDSS/SDSS_r.fits", None, Reason.BAD_NAME),
        # Read as a filter these would make one source of a folder; as a source, of a survey.
        ("stamps/SDSS_22466.fits", None, Reason.BAD_NAME),
        ("stamps/SDSS/SDSS_22466.fits", None, Reason.BAD_NAME),
        ("stamps/SDSS_22466_r.fits", None, Reason.BAD_NAME),
        ("stamps/HST_22466_F814W.fits", None, Reason.BAD_NAME),
        ("stamps/WISE_J1828_W1.fits", None, Reason.BAD_NAME),
        ("7_HST_SDSS_r.fits", None, Reason.BAD_NAME),
        ("7/HST/SDSS_r.fits", None, Reason.BAD_NAME),
        ("7_r_SDSS.fits", None, Reason.BAD_NAME),
        ("7_SDSS_r.fits", "<source>-<survey>-<filter>", Reason.BAD_NAME),
        ("7-UKIDSS-r.fits", "<source>-<survey>-<filter>", Reason.UNKNOWN_SURVEY),
        ("\x07_SDSS_r.fits", None, Reason.BAD_NAME),
    ],
)
def test_other_names_are_rejected_with_a_reason_and_a_cure(path, pattern, reason):
    with pytest.raises(Rejected) as error:
        read(path, pattern)
    assert error.value.reason == reason
    if reason == Reason.BAD_NAME and path.isprintable():
        assert "--pattern" in error.value.message


@pytest.mark.parametrize(
    "pattern",
    ["<star>_<survey>", "<survey>_<filter>", "<source>_<band>", "<source>/stack_<filter>_*", "<source>",
     "<source>_<filter><survey=UKIDSS>", "<source>_<filter=r>_SDSS", "<source><survey=>"],
)  # fmt: skip
def test_patterns_that_make_no_sense_are_refused(pattern):
    with pytest.raises(UsageError, match="--pattern"):
        read("7_SDSS_r.fits", pattern)


@pytest.mark.parametrize("ending", ["bz2", "Z", "xz", "zip"])
def test_what_is_packed_otherwise_is_told_to_be_unpacked(ending):
    path = f"7_SDSS_r.fits.{ending}"
    assert is_stamp(path) and read(path).source_id == "7"
    with pytest.raises(Rejected, match=f"packed as .{ending}; unpack it"):
        check_packing(path)
    assert check_packing("7_SDSS_r.fits.gz") is None


def test_what_is_no_fits_is_no_stamp():
    assert not is_stamp("notes.txt") and not is_stamp("7_SDSS_r.png") and not is_stamp("7_SDSS_r.fits.tmp")
