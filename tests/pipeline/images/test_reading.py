"""Image files whatever their packing and damage: pixels and a WCS that holds all of it, or one reason."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from catalogs.folder import Folder
from pipeline.errors import Rejected
from pipeline.images import coordinates
from pipeline.images.reading import opened
from tests.pipeline.images import fields

LIMIT = 8 << 20


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).normal(100, 5, (70, 90)).astype(np.float32)


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz"])
def test_rows_are_those_of_the_file(tmp_path: Path, pixels: np.ndarray, name: str) -> None:
    fields.write(tmp_path / name, pixels)
    with opened(Folder(tmp_path), name, LIMIT) as file:
        plane = file.plane(0)
        assert plane.shape == (70, 90) and file.images() == [0]
        np.testing.assert_array_equal(plane.counts(10, 20), pixels[10:20])
        assert plane.counts(0, 70).dtype == np.float32 and plane.counts(0, 70).dtype.isnative


def test_compressed_images_and_scaled_integers(tmp_path: Path, pixels: np.ndarray) -> None:
    whole = np.round(pixels).astype(np.int16)
    hdus = [fits.PrimaryHDU(), fits.CompImageHDU(whole, fields.header(whole.shape), name="N6")]
    hdus += [fits.ImageHDU(whole.astype(np.uint16), fields.header(whole.shape), name="S1")]
    hdus += [fits.CompImageHDU(whole.astype(np.uint16), fields.header(whole.shape), name="S2")]
    hdus += [fits.CompImageHDU(pixels, fields.header(whole.shape), name="S3", quantize_level=64)]
    scaled = fits.ImageHDU(whole, fields.header(whole.shape), name="S4")
    scaled.header["BLANK"] = int(whole[5, 5])
    hdus += [scaled]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits.fz")
    stored = (tmp_path / "a.fits.fz").read_bytes()
    with opened(Folder(tmp_path), "a.fits.fz", LIMIT) as file:
        assert file.images() == [1, 2, 3, 4, 5]
        for number in (1, 2, 3):
            np.testing.assert_array_equal(file.plane(number).counts(3, 9), whole[3:9])
        np.testing.assert_allclose(file.plane(4).counts(3, 9), pixels[3:9], atol=0.2)
        blank = whole[3:9] == whole[5, 5]
        assert np.isnan(file.plane(5).counts(3, 9)[blank]).all()
        np.testing.assert_array_equal(file.plane(5).counts(3, 9)[~blank], whole[3:9][~blank])
    assert (tmp_path / "a.fits.fz").read_bytes() == stored


def test_asinh_pixels_of_pan_starrs_become_linear(tmp_path: Path) -> None:
    flux = np.linspace(-300, 60000, 64 * 64).reshape(64, 64)
    soften, offset = 250.0, 12.0
    stored = 2.5 * np.log10(np.e) * np.arcsinh((flux - offset) / (2 * soften))
    fields.write(tmp_path / "a.fits", stored.astype(np.float64), BSOFTEN=soften, BOFFSET=offset)
    with opened(Folder(tmp_path), "a.fits", LIMIT) as file:
        np.testing.assert_allclose(file.plane(0).counts(0, 64), flux, rtol=1e-5, atol=1e-2)


def damaged(path: Path, pixels: np.ndarray, kind: str) -> None:
    """Write a file that is damaged in one way."""
    fields.write(path, pixels)
    good = path.read_bytes()
    bad = {
        "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(5000),
        "empty": b"",
        "text": b"SIMPLE is not what this is" * 200,
        "cut data": good[:-9000],
        "cut header": good[:2000],
        "endless header": good[:2880].replace(b"END     ", b"ENDX    ") * 1100,
        "huge": good.replace(b"NAXIS1  =                   90", b"NAXIS1  =           9000000000"),
        "bitpix": good.replace(b"BITPIX  =                  -32", b"BITPIX  =                   99"),
        "gzip cut": gzip.compress(good)[:-500],
        "gzip junk": gzip.compress(good) + b"junk",
        "gzip twice": gzip.compress(gzip.compress(good)),
        "gzip of nothing": gzip.compress(b""),
        "bomb": gzip.compress(good + bytes(3 * LIMIT)),
        "too large": good + bytes(2 * LIMIT),
    }
    path.write_bytes(bad[kind])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("jpeg", "not_fits"), ("empty", "empty"), ("text", "not_fits"), ("cut data", "truncated"),
        ("cut header", "truncated"), ("endless header", "absurd_size"), ("huge", "truncated"),
        ("bitpix", "bad_header"), ("gzip cut", "bad_compression"), ("gzip junk", "bad_compression"),
        ("gzip twice", "not_fits"), ("gzip of nothing", "empty"), ("bomb", "decompression_bomb"),
        ("too large", "absurd_size"),
    ],
)  # fmt: skip
def test_damage_is_told(tmp_path: Path, pixels: np.ndarray, kind: str, reason: str) -> None:
    damaged(tmp_path / "a.fits", pixels, kind)
    with pytest.raises(Rejected) as error, opened(Folder(tmp_path), "a.fits", LIMIT):
        pass
    assert str(error.value.reason) == reason


@pytest.mark.parametrize("shape", [(100,), (3, 64, 64), (8, 64), (64, 8)])
def test_only_planes_of_some_size_are_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    fields.write(tmp_path / "a.fits", np.ones(shape, np.float32))
    with opened(Folder(tmp_path), "a.fits", LIMIT) as file, pytest.raises(Rejected, match="wrong_shape"):
        file.plane(file.images()[0])


def test_a_compressed_image_larger_than_any_is_not_unpacked(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, fields.header(pixels.shape))]).writeto(path)
    card = b"ZNAXIS1 =                   90"
    assert card in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(card, b"ZNAXIS1 =            900000000"))
    with pytest.raises(Rejected, match="bomb"), opened(Folder(tmp_path), "a.fits", LIMIT):
        pass


def test_a_link_out_of_the_archive_is_not_followed(tmp_path: Path, pixels: np.ndarray) -> None:
    fields.write(tmp_path / "outside.fits", pixels)
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.fits").symlink_to(tmp_path / "outside.fits")
    with pytest.raises(Rejected, match="escapes"), opened(Folder(tmp_path / "archive"), "a.fits", LIMIT):
        pass


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE1": None, "CTYPE2": None},
        {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"},
        {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN"},
        {"RADESYS": "FK4", "EQUINOX": 1950.0},
        {"CD1_1": 0.0, "CD2_2": 0.0},
        {"CD1_1": 10.0, "CD2_2": 10.0},
        {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 100000, "B_ORDER": 2},
    ],
)
def test_a_wcs_that_is_no_use_is_told_with_the_cure(tmp_path: Path, pixels: np.ndarray, cards: dict) -> None:
    fields.write(tmp_path / "a.fits", pixels, **cards)
    with opened(Folder(tmp_path), "a.fits", LIMIT) as file:
        plane = file.plane(0)
        with pytest.raises(Rejected, match=r"no_wcs.*solve the field"):
            coordinates.read_wcs(plane.header, file.hdus, plane.shape)


@pytest.mark.parametrize(
    ("file", "number"),
    [
        ("goto_virgo/goto_1_crop1024.fits.gz", 0),  # SIP
        ("decam/DEC-OBS04a.mini.fits.gz", 0),  # TPV
        ("hst_sn2022qmx/template_iebc17enq_flc.fits.gz", 1),  # SIP and two kinds of lookup tables
    ],
)
def test_a_wcs_comes_back_whole_from_its_text_and_may_be_cut(shared_data: Path, file: str, number: int) -> None:
    with opened(Folder(shared_data / "images"), file, 1 << 30) as found:
        plane = found.plane(number)
        reference = WCS(plane.header, found.hdus)
        text = coordinates.text_of(coordinates.read_wcs(plane.header, found.hdus, plane.shape))
        y, x = (g.ravel() for g in np.mgrid[0 : plane.shape[0] : 20j, 0 : plane.shape[1] : 20j])
        wanted = np.array(reference.all_pix2world(x, y, 0))
    again = coordinates.wcs_from(text)
    assert coordinates.text_of(again) == text
    np.testing.assert_allclose(again.all_pix2world(x, y, 0), wanted, atol=1e-9)
    cut = coordinates.sliced(again, 100, 30)
    np.testing.assert_allclose(cut.all_pix2world(x - 30, y - 100, 0), wanted, atol=1e-9)
