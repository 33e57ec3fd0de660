"""Stamp files read and brought onto their survey's grid: orientation, scale, flux, place, and what is no use."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from catalogs.folder import Folder
from pipeline.errors import Reason, Rejected
from pipeline.stamps import grid, reading
from pipeline.stamps.light import BAD, SATURATED
from pipeline.stamps.moments import windowed
from pipeline.stamps.surveys import get
from tests.pipeline.stamps.files import DEC, RA, stamp, stars, wcs, write

PS1 = get("Pan-STARRS")
SEP, PA = 6.0, 60.0  # of the second star, arcsec and degrees east of north


def on_grid(folder, path, survey=PS1):
    """Return a file's stamp on its survey's grid, as the stage makes it."""
    delivered = reading.read(Folder(folder), path.name)
    seen = grid.sight(delivered, survey)
    x, y = seen.place(seen.ra, seen.dec, delivered.image.shape)
    return grid.cut(delivered.image, np.zeros(delivered.image.shape, np.uint8), (x, y), seen.axes(x, y), survey)


def pair(folder, pixscale, fwhm=1.4, size=40.0, angle=0.0, flip=False, name="a.fits"):
    """Write a file of two stars, placed by astropy's WCS."""
    shape = (round(size / pixscale), round(size / pixscale) + 3)
    cards = wcs(shape, pixscale, angle=angle, flip=flip)
    sky = WCS(fits.Header(list(cards.items())))
    east, north = SEP * np.sin(np.radians(PA)) / 3600, SEP * np.cos(np.radians(PA)) / 3600
    x, y = sky.all_world2pix([RA, RA + east / np.cos(np.radians(DEC))], [DEC, DEC + north], 0)
    image = stars(shape, [(x[0], y[0], 1e5), (x[1], y[1], 4e4)], fwhm / pixscale, noise=0.2)
    return write(folder / name, image, cards | {"RA_OBJ": RA, "DEC_OBJ": DEC})


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, 270.0, 33.0, -94.5])
def test_north_is_up_and_east_is_left_however_a_file_is_turned(tmp_path, angle, flip):
    cut = on_grid(tmp_path, pair(tmp_path, 0.25, angle=angle, flip=flip))
    clean = np.nan_to_num(cut.image - np.nanmedian(cut.image))
    first = windowed(clean, cut.x0, cut.y0, 5.6)
    second = windowed(
        clean, cut.x0 - SEP * np.sin(np.radians(PA)) / 0.25, cut.y0 + SEP * np.cos(np.radians(PA)) / 0.25, 5.6
    )
    assert (first.x, first.y) == pytest.approx((cut.x0, cut.y0), abs=0.02)
    east, north = (first.x - second.x) * 0.25, (second.y - first.y) * 0.25
    assert np.hypot(east, north) == pytest.approx(SEP, abs=0.02)
    assert np.degrees(np.arctan2(east, north)) == pytest.approx(PA, abs=0.3)
    assert cut.is_resampled == (angle != 0 or flip)
    assert cut.image.shape == cut.mask.shape == (64, 64) and cut.pixscale == pytest.approx(0.25, rel=1e-4)


@pytest.mark.parametrize("pixscale", [0.031, 0.1, 0.17, 0.25, 0.4])
def test_flux_and_width_are_kept_whatever_the_pixels(tmp_path, pixscale):
    cut = on_grid(tmp_path, pair(tmp_path, pixscale, size=24.0))
    clean = np.nan_to_num(cut.image - np.nanmedian(cut.image))
    assert clean.sum() == pytest.approx(1.4e5, rel=0.02)
    found = windowed(clean, cut.x0, cut.y0, 5.6, adapt=True)
    wider = np.hypot(1.4, 0.25 * 0.68) if pixscale < 0.2 else 1.4  # cells average over themselves
    assert found.fwhm * 0.25 == pytest.approx(wider, rel=0.02)


def test_pixels_that_fit_are_those_delivered(tmp_path):
    path = pair(tmp_path, 0.2502)
    cut = on_grid(tmp_path, path)
    delivered = reading.read(Folder(tmp_path), path.name).image
    assert cut.image[0, 0] in delivered and not cut.is_resampled
    assert cut.pixscale == pytest.approx(0.2502, rel=1e-5)
    assert max(abs(cut.x0 - 31.5), abs(cut.y0 - 31.5)) <= 0.5


def test_whichever_way_a_header_turns_and_scales(tmp_path):
    """CD, PC and CDELT, CDELT and CROTA2, arcsec, older spellings (Pan-STARRS), leftovers: one and the same."""
    image, cards = stars((80, 80), [(45, 30, 1e5)], 5, noise=0.2), wcs((80, 80), 0.25)
    plain = {key: value for key, value in cards.items() if not key.startswith("CD")}
    step = {"CDELT1": -0.25 / 3600, "CDELT2": 0.25 / 3600}
    size = {"CDELT1": 0.25 / 3600, "CDELT2": 0.25 / 3600}
    old = {"PC001001": -1.0, "PC001002": 0.0, "PC002001": 0.0, "PC002002": 1.0}
    unit = {"PC1_1": 1.0, "PC1_2": 0.0, "PC2_1": 0.0, "PC2_2": 1.0}
    older = {key.replace("_", "00").replace("CD", "CD00"): value for key, value in cards.items() if key[:2] == "CD"}
    ways = [
        cards, plain | step, plain | step | {"CROTA2": 0.0}, cards | step, cards | {"CDELT1": 1.0, "CDELT2": 1.0},
        plain | size | {"PC1_1": -1.0, "PC2_2": 1.0}, plain | size | old, plain | older, plain | older | size,
        cards | unit, cards | size | old, plain | older | unit, plain | older | size | old, cards | older | old | unit,
        plain | step | unit | old, cards | {"CRVAL1": RA - 360},
        plain | {"CUNIT1": "arcsec", "CUNIT2": "arcsec", "CDELT1": -0.25, "CDELT2": 0.25, "CRVAL1": RA * 3600,
                 "CRVAL2": DEC * 3600},
        plain | step | {"WCSAXES": 4, "CTYPE3": "FREQ", "CTYPE4": "STOKES", "PC3_3": 1.0, "PC4_4": 1.0},
    ]  # fmt: skip
    first = on_grid(tmp_path, write(tmp_path / "first.fits", image, cards))
    for number, way in enumerate(ways):
        cut = on_grid(tmp_path, write(tmp_path / f"{number}.fits", image, way))
        assert not cut.is_resampled and (cut.image == first.image).all(), way
        assert (cut.x0, cut.y0) == pytest.approx((first.x0, first.y0), abs=1e-5), way


def test_what_is_beyond_the_file_is_missing(tmp_path):
    cut = on_grid(tmp_path, pair(tmp_path, 0.25, size=10.0))
    assert np.isnan(cut.image[0]).all() and (cut.mask[0] == BAD).all()
    assert np.isfinite(cut.image[31, 31])


def test_a_galactic_wcs_serves_as_well(tmp_path):
    from astropy.coordinates import SkyCoord

    there = SkyCoord(RA, DEC, unit="deg").galactic
    cards = wcs((80, 80), 0.25, ra=there.l.deg, dec=there.b.deg) | {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}
    path = write(tmp_path / "g.fits", stars((80, 80), [(39.5, 39.5, 1e4)], 5), cards)
    delivered = reading.read(Folder(tmp_path), path.name)
    seen = grid.sight(delivered, PS1)
    assert (seen.ra, seen.dec) == pytest.approx((RA, DEC), abs=1e-6)
    assert seen.place(RA, DEC, (80, 80)) == pytest.approx((39.5, 39.5), abs=1e-3)
    assert np.linalg.det(seen.axes(39.5, 39.5)) == pytest.approx(0.0625, rel=1e-4)
    assert abs(seen.axes(39.5, 39.5)[0, 1]) > 0.1  # north of the Galaxy is not north


@pytest.mark.parametrize(
    ("cards", "pixscale", "rank"),
    [
        ({"PIXSCALE": 0.3}, 0.3, 4),
        ({"CDELT1": -1e-4, "CDELT2": 1e-4}, 0.36, 4),
        ({"RA_OBJ": RA, "DEC_OBJ": DEC}, 0.25, 0),
        ({"RA": "10:00:24.0", "DEC": "+02:12:00"}, 0.25, 1),
    ],
)
def test_without_a_wcs_scale_or_place_of_header_or_survey_do(tmp_path, cards, pixscale, rank):
    path = write(tmp_path / "a.fits", np.ones((64, 64), np.float32), cards)
    seen = grid.sight(reading.read(Folder(tmp_path), path.name), PS1)
    assert (seen.wcs, seen.rank) == (None, rank)
    assert seen.pixscale == pytest.approx(pixscale)
    if rank < 4:
        assert (seen.ra, seen.dec) == pytest.approx((RA, DEC))


def test_a_file_that_tells_nothing_of_the_sky_is_rejected_unless_its_scale_is_set(tmp_path):
    path = write(tmp_path / "a.fits", np.ones((64, 64), np.float32), {})
    delivered = reading.read(Folder(tmp_path), path.name)
    with pytest.raises(Rejected, match="pixscale") as error:
        grid.sight(delivered, PS1)
    assert error.value.reason == Reason.NO_WCS
    assert grid.sight(delivered, PS1, 0.031).pixscale == 0.031


def test_where_the_telescope_looked_is_the_source_only_if_it_is_in_the_middle(tmp_path):
    plain = {"RA_OBJ": None, "DEC_OBJ": None}
    near = stamp(tmp_path, "1", RA=RA + 0.2 / 3600, DEC=DEC, **plain)
    seen = grid.sight(reading.read(Folder(tmp_path), near.name), get("SDSS"))
    assert (seen.rank, seen.ra) == (1, pytest.approx(RA + 0.2 / 3600))
    far = stamp(tmp_path, "2", RA=RA + 1.0, DEC=DEC, **plain)
    seen = grid.sight(reading.read(Folder(tmp_path), far.name), get("SDSS"))
    assert (seen.rank, seen.ra) == (2, pytest.approx(RA, abs=1e-6))


def test_facts_of_the_header(tmp_path):
    cards = {"DATE-OBS": "2001-02-20T12:00:00", "EXPTIME": "53.9", "SEEING": 1.2, "SATURATE": 6e4, "MAGZP": 25.1}
    facts = reading.read(Folder(tmp_path), stamp(tmp_path, **cards).name).facts
    assert facts["mjd"] == pytest.approx(51960.5 + 53.9 / 2 / 86400)
    assert (facts["exptime_s"], facts["fwhm_arcsec"], facts["saturation"], facts["zeropoint"]) == (53.9, 1.2, 6e4, 25.1)
    assert all(np.isnan(v) for v in reading.read(Folder(tmp_path), stamp(tmp_path, "8").name).facts.values())


@pytest.mark.parametrize(
    ("cards", "zero"),
    [
        ({"BUNIT": "nanomaggy"}, 22.5),
        ({"BUNIT": "nanomaggies", "MAGZP": 22.0}, 22.0),  # a card that says it goes first
        ({"FLUXMAG0": 63095734448.0194}, 27.0),  # 10**10.8
        ({"BUNIT": "MJy/sr", "PIXAR_SR": 2.29e-14}, 28.0005),  # -6.10 + 2.5 * 13.64016; 28.0 by JWST's own example
        ({"BUNIT": "ELECTRONS/S", "PHOTFLAM": 1e-19, "PHOTPLAM": 1e4}, 25.092),  # 47.5 - 20 - 2.408
        ({"BUNIT": "ELECTRONS", "PHOTFLAM": 1e-19, "PHOTPLAM": 1e4, "EXPTIME": 1e3}, 32.592),  # 7.5 more
        ({"BUNIT": "ELECTRONS", "PHOTFLAM": 1e-19, "PHOTPLAM": 1e4}, np.nan),  # of how long?
        ({"PHOTFLAM": 1e-19, "PHOTPLAM": 1e4, "EXPTIME": 1e3}, np.nan),  # or a second?
        ({"BUNIT": "ELECTRONS/S", "PHOTFLAM": 0.0, "PHOTPLAM": 1e4}, np.nan),
        ({"BUNIT": "MJy/sr"}, np.nan),
        ({"BUNIT": "DN"}, np.nan),
    ],
)
def test_zero_points_are_those_worked_out_by_hand(tmp_path, cards, zero):
    facts = reading.read(Folder(tmp_path), stamp(tmp_path, **cards).name).facts
    assert facts["zeropoint"] == pytest.approx(zero, abs=2e-4, nan_ok=True)


def test_a_real_stamp_of_sdss_has_its_zero_point(shared_data):
    archive = shared_data / "stamps" / "blast" / "2010H" / "SDSS"
    assert reading.read(Folder(archive), "SDSS_r.fits.gz").facts["zeropoint"] == 22.5


def test_extensions_compression_scaling_and_cubes_of_one_plane(tmp_path):
    image = stars((64, 64), [(31, 31, 1e4)], 4)
    header = fits.Header(list(wcs(image.shape, 0.25).items()))
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, header, "SCI")]).writeto(tmp_path / "sci.fits")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image, header)]).writeto(tmp_path / "comp.fits")
    fits.PrimaryHDU(image[None], header).writeto(tmp_path / "cube.fits")
    packed = gzip.compress((tmp_path / "sci.fits").read_bytes())
    (tmp_path / "sci2.fits.gz").write_bytes(packed)
    scaled = fits.PrimaryHDU(np.round(image * 10).astype(np.int32), header)
    scaled.header["BLANK"] = -1
    scaled.data[0, 0] = -1
    scaled.header["BSCALE"] = 0.1
    scaled.writeto(tmp_path / "scaled.fits")
    for name in ("sci.fits", "comp.fits", "cube.fits", "sci2.fits.gz"):
        found = reading.read(Folder(tmp_path), name)
        assert np.abs(found.image - image).max() < 2
        assert grid.sight(found, PS1).wcs is not None
    found = reading.read(Folder(tmp_path), "scaled.fits").image
    assert np.isnan(found[0, 0]) and np.abs(found - image)[1:].max() < 0.1


def test_pixels_without_weight_are_missing(tmp_path):
    image, weight = stars((64, 64), [(31, 31, 1e4)], 4), np.ones((64, 64), np.float32)
    weight[:, 50:] = 0
    header = fits.Header(list(wcs(image.shape, 0.05).items()))
    fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(image, header, "SCI"), fits.ImageHDU(weight, header, "WHT")]
    ).writeto(tmp_path / "drz.fits")
    found = reading.read(Folder(tmp_path), "drz.fits").image
    assert np.isnan(found[:, 50:]).all() and np.isfinite(found[:, :50]).all()


def test_saturated_pixels_stay_so_on_another_grid(tmp_path):
    path = pair(tmp_path, 0.1, size=24.0)
    delivered = reading.read(Folder(tmp_path), path.name)
    full = (delivered.image > 400).astype(np.uint8)
    seen = grid.sight(delivered, PS1)
    x, y = seen.place(RA, DEC, full.shape)
    cut = grid.cut(delivered.image, full, (x, y), seen.axes(x, y), PS1)
    assert cut.mask[31:33, 31:33].min() & SATURATED and not cut.mask[10, 10]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [((4, 64), Reason.WRONG_SHAPE), ((64,), Reason.WRONG_SHAPE), ((3, 64, 64), Reason.WRONG_SHAPE)],
)
def test_other_shapes_are_rejected(tmp_path, shape, reason):
    fits.PrimaryHDU(np.ones(shape, np.float32)).writeto(tmp_path / "a.fits")
    with pytest.raises(Rejected) as error:
        reading.read(Folder(tmp_path), "a.fits")
    assert error.value.reason == reason


def test_a_table_is_no_stamp(tmp_path):
    fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.ones(3))]).writeto(tmp_path / "a.fits")
    with pytest.raises(Rejected) as error:
        reading.read(Folder(tmp_path), "a.fits")
    assert error.value.reason == Reason.WRONG_PRODUCT
