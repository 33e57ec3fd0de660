"""Quality planes in files of stamps: each observatory's bits, and what is not believed."""

import numpy as np
import pytest
from astropy.io import fits

from catalogs.folder import Folder
from pipeline.errors import Reason, Rejected
from pipeline.stamps import reading
from pipeline.stamps.light import COSMIC_RAY, SATURATED
from tests.pipeline.stamps.files import stars, wcs

HST = {"TELESCOP": "HST", "INSTRUME": "WFC3"}
JWST = {"TELESCOP": "JWST", "INSTRUME": "NIRCAM"}
PS1 = {"TELESCOP": "PS1", "INSTRUME": "GPC1"}
DECAM = {"INSTRUME": "DECam", "PLVER": "V4.8.2"}

NOTHING, BAD = 0, -1  # what is to come of a value: a bit of the mask, nothing, or no pixel


def written(folder, values, cards, name="DQ", plane_cards=(), packed=False, kind=np.int32):
    """Write a file of an image and a quality plane: row k holds the k-th value in its columns 10 to 19."""
    image = stars((64, 64), [(40, 31, 1e4)], 4)
    plane = np.zeros(image.shape, kind)
    for row, value in enumerate(values):
        plane[row, 10:20] = value
    header = fits.Header(list(wcs(image.shape, 0.05).items()))
    hdu = (fits.CompImageHDU if packed else fits.ImageHDU)(plane, fits.Header(list(dict(plane_cards).items())), name)
    main = fits.PrimaryHDU(header=fits.Header(list(cards.items())))
    fits.HDUList([main, fits.ImageHDU(image, header, "SCI"), hdu]).writeto(folder / "a.fits")
    return image


@pytest.mark.parametrize(
    ("cards", "name", "expected"),
    [
        (HST, "DQ", {4: BAD, 16: NOTHING, 32: BAD, 64: NOTHING, 256: SATURATED, 2048: SATURATED, 4096: COSMIC_RAY,
                     8192: COSMIC_RAY, 4096 + 4: BAD, 256 + 4: SATURATED}),
        (HST | {"INSTRUME": "ACS"}, "DQ", {1: BAD, 128: BAD, 1024: BAD, 256: SATURATED, 4096: COSMIC_RAY}),
        (JWST, "DQ", {1: BAD, 2: SATURATED, 3: SATURATED, 4: NOTHING, 1 + 2**20: BAD, 2**11: NOTHING}),
        (PS1, "MASK", {0x8: BAD, 0x20: SATURATED, 0x100: COSMIC_RAY, 0x200: NOTHING, 0x1000: NOTHING, 0x2000: BAD}),
        (DECAM, "DQ", {1: BAD, 2: BAD, 3: SATURATED, 4: SATURATED, 5: COSMIC_RAY, 6: NOTHING, 7: NOTHING}),
        (DECAM | {"PLVER": "V3.1.0"}, "DQ", {1: BAD, 2: SATURATED, 4: NOTHING, 16: COSMIC_RAY, 64: SATURATED}),
        (DECAM, "MSK", {1: BAD, 2: SATURATED, 4: NOTHING, 16: COSMIC_RAY, 32: NOTHING, 64: SATURATED}),
        (HST | {"INSTRUME": "WFPC2"}, "DQ", {1: NOTHING, 8: NOTHING}),
        ({}, "MASK", {1: NOTHING, 255: NOTHING}),
    ],
)  # fmt: skip
def test_bits_mean_what_the_observatory_says(tmp_path, cards, name, expected):
    image = written(tmp_path, expected, cards, name)
    found = reading.read(Folder(tmp_path), "a.fits")
    for row, what in enumerate(expected.values()):
        gone = np.isnan(found.image[row, 10:20])
        assert gone.all() if what == BAD else not gone.any()
        if what != BAD:
            assert (found.mask[row, 10:20] == what).all()
    rest = np.delete(np.arange(64), np.arange(10, 20))
    assert (found.image[:, rest] == image[:, rest]).all() and not found.mask[:, rest].any()


def test_planes_that_name_their_bits_need_no_telescope(tmp_path):
    cards = {"MP_SAT": 3, "HIERARCH MP_DETECTED": 5, "HIERARCH MP_NO_DATA": 8}
    written(tmp_path, [1 << 3, 1 << 5, 1 << 8], {}, "MASK", cards)
    found = reading.read(Folder(tmp_path), "a.fits")
    assert (found.mask[0, 10:20] == SATURATED).all() and not found.mask[1:].any()
    assert np.isfinite(found.image[1]).all() and np.isnan(found.image[2, 10:20]).all()


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.int32, np.uint32])
def test_packed_and_unsigned_planes(tmp_path, kind):
    written(tmp_path, [4096, 4], HST, packed=True, kind=kind)
    found = reading.read(Folder(tmp_path), "a.fits")
    assert (found.mask[0, 10:20] == COSMIC_RAY).all() and np.isnan(found.image[1, 10:20]).all()


def test_a_plane_that_takes_most_of_the_image_away_is_not_believed(tmp_path):
    image = written(tmp_path, [0], HST)
    with fits.open(tmp_path / "a.fits", mode="update") as file:
        file["DQ"].data[:40] = 4
        file["DQ"].data[50] = 256
    found = reading.read(Folder(tmp_path), "a.fits")
    assert (found.image == image).all() and (found.mask[50] == SATURATED).all() and not found.mask[:50].any()


def test_of_two_chips_each_has_its_own_plane(tmp_path):
    image, one, other = stars((64, 64), [(40, 31, 1e4)], 4), np.zeros((64, 64), np.int16), np.zeros((64, 64), np.int16)
    one[3], other[5] = 4096, 4096
    hdus = [fits.PrimaryHDU(header=fits.Header(list(HST.items())))]
    for version, plane in ((1, one), (2, other)):
        hdus += [fits.ImageHDU(image, name="SCI", ver=version), fits.ImageHDU(plane, name="DQ", ver=version)]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    mask = reading.read(Folder(tmp_path), "a.fits").mask
    assert mask[3].all() and not mask[5].any()


def test_a_mask_alone_is_no_image(tmp_path):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((64, 64), np.int32), name="MASK")]).writeto(
        tmp_path / "a.fits"
    )
    with pytest.raises(Rejected, match="no image of two axes in it but MASK") as error:
        reading.read(Folder(tmp_path), "a.fits")
    assert error.value.reason == Reason.WRONG_PRODUCT


def test_a_real_frame_of_hst_tells_its_cosmic_rays(shared_data):
    folder = Folder(shared_data / "images" / "hst_sn2022qmx")
    found = reading.read(folder, "science_iebc16uaq_flc.fits.gz")
    assert found.image.shape == (512, 513)
    assert (found.mask & COSMIC_RAY > 0).sum() == pytest.approx(1550, abs=100)  # 4096, and no bad pixel
    assert 0.01 < np.isnan(found.image).mean() < 0.03  # bad, unstable, charge traps; none of the warm ones
