"""Surveys of stamps: the poster's groups, diffraction limits worked out by hand, and surveys of a user's own."""

from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.stamps.surveys import able, get, group, rayleigh, recognised, resolution, surveys

#: Asked for by name.
NAMES = {
    "DECaLS", "unWISE", "AllWISE", "NEOWISE-R", "Spitzer", "GALEX", "2MASS", "ZTF", "SkyMapper", "Pan-STARRS", "SDSS",
    "HST", "JWST", "HSCLA",
}  # fmt: skip

#: 251643 arcsec × λ/D by hand: survey, filter, µm over m.
BY_HAND = [
    ("SDSS", "r", 0.06207),  # 0.6166/2.5 = 0.24664e-6
    ("Pan-STARRS", "i", 0.10513),  # 0.752/1.8 = 0.41778e-6
    ("2MASS", "Ks", 0.41792),  # 2.159/1.3 = 1.66077e-6
    ("HST", "F814W", 0.08435),  # 0.8045/2.4 = 0.33521e-6
    ("JWST", "F200W", 0.07696),  # 1.988/6.5 = 0.30585e-6
    ("HSCLA", "i", 0.02366),  # 0.7711/8.2 = 0.09404e-6
    ("DECaLS", "z", 0.05826),  # 0.926/4 = 0.2315e-6
    ("GALEX", "FUV", 0.07746),  # 0.1539/0.5 = 0.3078e-6
    ("GALEX", "NUV", 0.11656),  # 0.2316/0.5 = 0.4632e-6
    ("unWISE", "W2", 2.90522),  # 4.618/0.4 = 11.545e-6
    ("NEOWISE-R", "W1", 2.11883),  # 3.368/0.4 = 8.42e-6
    ("AllWISE", "W1", 2.11883),
    ("AllWISE", "W4", 13.96242),  # 22.194/0.4 = 55.485e-6
    ("Spitzer", "I1", 1.05098),  # 3.55/0.85 = 4.17647e-6
    ("ZTF", "r", 0.13295),  # 0.634/1.2 = 0.52833e-6
    ("SkyMapper", "v", 0.07158),  # 0.384/1.35 = 0.28444e-6
]


def test_all_surveys_are_there_with_sources_and_room_for_what_is_asked() -> None:
    assert set(surveys()) == NAMES
    for survey in surveys().values():
        assert survey.source
        assert survey.field / 2 >= 2.5


@pytest.mark.parametrize(("name", "filter", "arcsec"), BY_HAND)
def test_rayleigh_limits_are_those_worked_out_by_hand(name: str, filter: str, arcsec: float) -> None:
    assert rayleigh(get(name), filter) == pytest.approx(arcsec, rel=2e-4)


def test_a_limit_by_hand_stands_for_every_survey() -> None:
    assert {name for name, _, _ in BY_HAND} == NAMES


def test_images_blurred_by_their_own_psf_are_so_much_wider() -> None:
    for name in ("W1", "W2", "W3", "W4"):
        once, twice = (get(survey).filter(name).fwhm_arcsec for survey in ("unWISE", "AllWISE"))
        assert twice == pytest.approx(2**0.5 * once, abs=0.06)


def test_the_posters_groups_come_out() -> None:
    groups = {name: group(name, scheme="poster") for name in surveys()}
    assert {name for name, number in groups.items() if number == 3} == {"Pan-STARRS", "SDSS", "HST"}
    assert {name for name, number in groups.items() if number == 4} == {"JWST", "HSCLA"}
    assert {name for name, number in groups.items() if number == 2} == {"2MASS", "ZTF", "SkyMapper"}
    assert groups["DECaLS"] == 1


def test_by_its_true_aperture_decals_is_in_group_3() -> None:
    assert group("DECaLS", scheme="aperture") == 3
    assert all(group(n, "aperture") == group(n, "poster") for n in surveys() if n != "DECaLS")


def test_by_default_what_a_survey_delivers_decides() -> None:
    assert {name for name in surveys() if group(name) == 1} == {"GALEX", "unWISE", "AllWISE", "NEOWISE-R", "2MASS"}
    assert {name for name in surveys() if not able(get(name))} == {name for name in surveys() if group(name) == 1}
    assert {name for name in surveys() if group(name) == 4} == {"HST", "JWST", "HSCLA"}
    assert group("Pan-STARRS") == group("SDSS") == group("DECaLS") == 3


def test_what_is_resolved_is_the_worst_of_three() -> None:
    assert resolution(get("SDSS"), "r") == 1.32  # seeing
    assert resolution(get("unWISE"), "W4") == pytest.approx(13.9624, rel=1e-4)  # diffraction
    assert resolution(get("AllWISE"), "W4") == 17.0  # the same, blurred as the Atlas is
    assert resolution(get("JWST"), "F090W") == pytest.approx(0.1)  # two cells
    assert resolution(get("ZTF"), "r") == pytest.approx(2.02)


@pytest.mark.parametrize(
    ("text", "name"),
    [("ps1", "Pan-STARRS"), ("PanSTARRS-DR1", "Pan-STARRS"), ("pan_starrs", "Pan-STARRS"), ("SDSS9", "SDSS"),
     ("DECaLS-DR5", "DECaLS"), ("WISE", "AllWISE"), ("NEOWISE", "NEOWISE-R"), ("2mass", "2MASS"), ("HSC", "HSCLA")],
)  # fmt: skip
def test_names_are_taken_as_people_write_them(text: str, name: str) -> None:
    assert get(text).name == name


@pytest.mark.parametrize("text", ["WISE1828", "SDSS1234", "LS-101", "HSC_1", "PS1-12345", "Spitzer_36", "irac1", "DR9"])
def test_a_number_after_a_surveys_name_is_of_a_source_or_filter(text: str) -> None:
    with pytest.raises(UsageError, match="no survey is called"):
        get(text)


def test_a_source_named_better_makes_nothing_stale_and_another_figure_does() -> None:
    survey = get("SDSS")
    assert replace(survey, source="elsewhere").sha256 == survey.sha256
    assert replace(survey, pixscale=0.4).sha256 != survey.sha256


def test_zero_points_of_published_images() -> None:
    fixed = {one.name: one.magnitude(100.0) for one in surveys().values() if one.zeropoint == one.zeropoint}
    # 25 + 2.5 log10(100)
    assert fixed == {"unWISE": 22.5, "Pan-STARRS": 30.0, "SDSS": 22.5, "DECaLS": 22.5, "HSCLA": 27.0}
    assert isnan(get("Pan-STARRS").magnitude(float("nan"))) and get("SDSS").magnitude(float("nan")) == 22.5
    assert isnan(get("HST").magnitude(100.0))
    # What is made of stamps does not depend on them; measures say which they were made with.
    assert replace(get("SDSS"), zeropoint=20.0).sha256 == get("SDSS").sha256


def test_filters_are_found_by_alias_and_case() -> None:
    assert get("2MASS").filter("K").name == get("2MASS").filter("ks").name == "Ks"
    assert get("AllWISE").filter("w1").name == "W1"
    unknown = get("SDSS").filter("stacked")
    assert (unknown.name, unknown.fwhm_arcsec) == ("stacked", 1.32)
    assert not get("SDSS").knows("stacked")


@pytest.mark.parametrize(
    ("survey", "filter", "wavelength", "fwhm"),
    [
        ("JWST", "F410M", 4.1, 0.13453),  # 0.116 + 0.029 (4.1 - 3.565) / (4.402 - 3.565)
        ("JWST", "F770W", 7.7, 0.25363),  # 0.145 x 7.7 / 4.402
        ("JWST", "F1000W", 10.0, 0.32940),  # 0.145 x 10 / 4.402
        ("JWST", "F2550WR", 25.5, 0.83996),
        ("JWST", "F140M", 1.4, 0.04709),  # 0.04 + 0.01 (1.4 - 1.154) / (1.501 - 1.154)
        ("JWST", "F322W2", 3.22, 0.10550),  # 0.092 + 0.024 (3.22 - 2.776) / (3.565 - 2.776)
        ("HST", "F225W", 0.225, 0.08),
        ("HST", "f702w", 0.702, 0.1),
        ("HST", "F098M", 0.98, 0.12011),  # 0.11 + 0.02 (0.98 - 0.9031) / (1.0552 - 0.9031)
        ("HST", "F127M", 1.27, 0.14),
        ("HST", "F167N", 1.67, 0.16299),  # 0.15 x 1.67 / 1.5369
        ("HST", "F122M", 0.122, 0.08),  # of ACS and WFPC2, in the ultraviolet
    ],
)
def test_filters_of_space_telescopes_are_what_their_names_say(survey, filter, wavelength, fwhm) -> None:  # type: ignore[no-untyped-def]
    found = get(survey).filter(filter)
    assert found.name == filter and not get(survey).knows(filter)
    assert (found.wavelength_um, found.fwhm_arcsec) == pytest.approx((wavelength, fwhm), abs=1e-5)
    assert "its name tells" in str(get(survey).doubt(filter))


def test_filters_of_the_table_keep_their_figures_and_others_are_said_to_be_guessed() -> None:
    for survey in surveys().values():
        assert all(survey.filter(one.name) is one and survey.doubt(one.name) is None for one in survey.filters)
    assert get("HST").filter("F814W").fwhm_arcsec == 0.1 and get("JWST").filter("F200W").fwhm_arcsec == 0.066
    assert "the middle ones of its survey" in str(get("SDSS").doubt("stacked"))
    assert get("JWST").filter("F000W").wavelength_um == get("JWST").filter("drz").wavelength_um == 1.988


def test_headers_words_are_recognised() -> None:
    assert recognised("2.5m") == ["SDSS"]
    assert set(recognised("WISE")) == {"unWISE", "AllWISE", "NEOWISE-R"}
    assert recognised("Keck") == []


def test_an_unknown_survey_names_the_known_and_the_way_to_add_one() -> None:
    with pytest.raises(UsageError, match=r"no survey is called 'UKIDSS'.*2MASS.*`surveys` in \[stamps\]"):
        get("UKIDSS")
    with pytest.raises(UsageError, match="no scheme"):
        group("SDSS", scheme="colour")


def test_a_survey_can_be_added(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[survey]]\nname = "UKIDSS"\naperture_m = 3.8\npixscale = 0.2\nside = 64\nfilters = { K = [2.2, 0.9] }\n'
    )
    survey = get("ukidss", file)
    assert (survey.field, able(survey), group("UKIDSS", path=file)) == (pytest.approx(12.8), True, 3)
    assert get("SDSS", file) == get("SDSS")


_ONE = '[[survey]]\nname = "A"\naperture_m = 1\nside = 64\n'


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("survey = 3", "one table"),
        ("[surveys]", "no .*survey"),
        ("[[", "mine.toml"),
        ('[[survey]]\nname = "A"', "survey A: aperture_m, pixscale, side, filters missing"),
        (_ONE + "pixscale = 0.1\nfilters = { K = [2] }", "survey A: filter K"),
        (_ONE + "pixscale = 0.1\nfilters = { K = [2, 1] }\nmirror = 2", "survey A: unknown mirror"),
        (_ONE + 'pixscale = 0.1\nfilters = { K = [2, 1] }\nnumbers = { "F.*" = 1 }', "one group"),
        (_ONE + "pixscale = 0.01\nfilters = { K = [2, 1] }", "do not hold"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_its_name(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=what) as error:
        surveys(file)
    assert "mine.toml" in str(error.value)
