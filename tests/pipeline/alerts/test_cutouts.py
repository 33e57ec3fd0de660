"""Cutouts decode to the bit as astropy does it, lie where they should, and have a reason where they do not decode."""

import gzip
import io
import warnings
import zlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from pipeline.alerts.cutouts import BadCutout, cut, decode, triplet
from pipeline.alerts.packets import Packet, read
from tests.pipeline.alerts import made
from tests.properties.mutate import bomb

CUTOUT = made.packed(made.image())


def _packet(images, survey="ztf", **facts):
    return Packet(survey, "1", "X", "x#0", facts, tuple(made.packed(image) for image in images))


def _reference(data):
    data = zlib.decompress(data, 47) if data[:2] == b"\x1f\x8b" else data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fits.getdata(io.BytesIO(data))


@pytest.mark.parametrize("kind", [">f4", ">f8", "u1", ">i2", ">i4", ">i8"])
@pytest.mark.parametrize("cards", [{}, {"BSCALE": 0.5, "BZERO": 100.0}])
def test_every_kind_of_pixel_decodes_as_astropy_does_it(kind, cards):
    pixels = np.arange(63 * 40).reshape(63, 40).astype(kind)
    header = fits.PrimaryHDU(pixels).header
    header.update(cards)
    data = header.tostring().encode() + pixels.tobytes() + bytes(-pixels.nbytes % 2880)
    expected = _reference(data).astype(np.float32)
    for stored in (data, gzip.compress(data)):
        found = decode(stored)
        assert found.dtype == np.float32 and found.dtype.isnative
        assert np.array_equal(found, expected)


def test_blank_pixels_are_nan():
    pixels = np.arange(100, dtype=">i2").reshape(10, 10)
    header = fits.PrimaryHDU(pixels).header
    header["BLANK"] = 7
    found = decode(header.tostring().encode() + pixels.tobytes() + bytes(-pixels.nbytes % 2880))
    assert np.isnan(found[0, 7]) and np.isfinite(found).sum() == 99


def test_an_image_behind_an_empty_primary_or_a_long_header_is_found():
    image = made.image()
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image)]).writeto(buffer)
    assert np.array_equal(decode(buffer.getvalue()), image)
    cards = {f"KEY{number}": number for number in range(100)}
    assert np.array_equal(decode(made.packed(image, **cards)), image)


def _head():
    return gzip.decompress(CUTOUT)[:2880]


def _header(**cards):
    header = fits.PrimaryHDU(made.image()).header
    for key, value in cards.items():
        header[key] = value
    return header.tostring().encode() + bytes(5 * 2880 + 1440)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "cutout_jpeg"),
        (b"\x89PNG\r\n", "cutout_not_fits"),
        (b"SIMPLE  =", "cutout_truncated"),
        (CUTOUT[:5000], "cutout_truncated"),
        (CUTOUT[:2], "cutout_truncated"),
        (CUTOUT[:-8] + bytes(4) + CUTOUT[-4:], "cutout_crc"),
        (CUTOUT[:100] + b"\xff" * 50 + CUTOUT[150:], "cutout_gzip"),
        (gzip.compress(gzip.decompress(CUTOUT)[: 2880 * 2]), "cutout_truncated"),
        (gzip.compress(b""), "cutout_not_fits"),
        (gzip.compress(CUTOUT), "cutout_not_fits"),
        (bomb(200, _head()), "cutout_bomb"),
        (bytes(5 << 20), "cutout_bomb"),
        (_header(NAXIS1=513), "cutout_shape"),
        (_header(NAXIS2=0), "cutout_shape"),
        (_header(NAXIS1=1 << 40), "cutout_not_fits"),
        (_header(NAXIS=3, NAXIS3=2), "cutout_shape"),
        (_header(NAXIS=0), "cutout_not_fits"),
        (_header(BITPIX=7), "cutout_not_fits"),
        (_header(BSCALE="x"), "cutout_not_fits"),
        (_header(NAXIS1=-63), "cutout_not_fits"),
    ],
)
def test_what_does_not_decode_has_a_reason(data, reason):
    with pytest.raises(BadCutout) as error:
        decode(data)
    assert error.value.reason == reason, error.value


def test_a_whole_alert_is_as_it_was_sent():
    images = [made.image(seed=seed) for seed in range(3)]
    images[0][5, 6] = np.nan
    found = cut(_packet(images))
    assert found.pixels.dtype == np.float32
    assert np.array_equal(found.pixels, np.stack(images), equal_nan=True)
    assert (found.x, found.y, found.shape) == (31, 31, (63, 63))


@pytest.mark.parametrize(("survey", "side"), [("lsst", 30), ("lsst", 38), ("pgir", 61), ("wntr", 81), ("lsst", 63)])
def test_another_size_keeps_its_pixels_around_the_middle(survey, side):
    images = [made.image((side, side), seed=seed) for seed in range(3)]
    found = cut(_packet(images, survey))
    assert found.pixels[:, 31, 31] == pytest.approx([image[side // 2, side // 2] for image in images])
    assert np.isfinite(found.pixels).all(0).sum() == min(side, 63) ** 2
    assert abs(found.x - 31) <= 0.5 and abs(found.y - 31) <= 0.5


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("shape", "at", "facts"),
    [
        ((43, 63), (11, 31), {"ypos": 12.0, "xpos": 1000.0}),
        ((43, 63), (31, 31), {"ypos": 3069.0, "xpos": 1000.0}),
        ((63, 50), (31, 18), {"ypos": 1000.0, "xpos": 19.0}),
        ((40, 50), (8, 31), {"ypos": 9.0, "xpos": 3054.0}),
    ],
)
def test_a_cutout_at_the_edge_of_the_chip(shape, at, facts, known):
    images = [made.image(shape, at, seed) for seed in range(3)]
    packet = _packet(images, **(facts if known else {}))
    found = cut(packet)
    # As ZTF pads it: bottom and right.
    assert np.array_equal(found.pixels[:, : shape[0], : shape[1]], np.stack(images))
    assert np.isnan(found.pixels[:, shape[0] :]).all() and np.isnan(found.pixels[:, :, shape[1] :]).all()
    assert (found.y, found.x) == at
    centred = cut(packet, centred=True)
    assert (centred.y, centred.x) == (31, 31)
    assert centred.pixels[0, 31, 31] == images[0][at]
    assert np.isfinite(centred.pixels).sum() == 3 * shape[0] * shape[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda images: [*images[:2], made.image((63, 62))], "cutout_shape"),
        (lambda images: [made.image((63, 7))] * 3, "cutout_shape"),
        (lambda images: [images[0] * np.nan, *images[1:]], "cutout_empty"),
        (lambda images: [*images[:2], np.zeros((63, 63), np.float32)], "cutout_empty"),
        (lambda images: [*images[:2], np.full((63, 63), np.inf, np.float32)], "cutout_empty"),
    ],
)
def test_three_cutouts_that_make_no_triplet_have_a_reason(change, reason):
    images = change([made.image(seed=seed) for seed in range(3)])
    with pytest.raises(BadCutout) as error:
        triplet(_packet(images))
    assert error.value.reason == reason


def test_a_sliver_that_does_not_reach_the_candidate_is_refused():
    with pytest.raises(BadCutout, match="hold no candidate"):
        triplet(_packet([made.image((63, 20))] * 3))


def test_infinite_pixels_are_none():
    image = made.image()
    image[3, 4] = -np.inf
    found = triplet(_packet([image] * 3))
    assert np.isnan(found[:, 3, 4]).all() and np.isfinite(found).sum() == 3 * (63 * 63 - 1)


def test_a_missing_cutout_is_missing():
    packet = _packet([made.image()] * 3)
    for nothing in (None, b""):
        with pytest.raises(BadCutout, match="no template cutout"):
            triplet(replace(packet, cutouts=(packet.cutouts[0], nothing, packet.cutouts[2])))


def test_real_alerts_decode_to_the_bit_and_those_that_do_not_are_counted(shared_data):
    counts, odd = Counter(), 0
    for packet in read(shared_data / "alerts" / "ztf_alerts_triplets.parquet"):
        try:
            found = cut(packet)
        except BadCutout as error:
            counts[str(error.reason)] += 1
            continue
        expected = np.stack([_reference(data).astype("=f4") for data in packet.cutouts])
        for data, image in zip(packet.cutouts, expected, strict=True):
            assert decode(data).tobytes() == image.tobytes()
        ny, nx = found.shape
        assert np.array_equal(found.pixels[:, :ny, :nx], expected, equal_nan=True)
        odd += found.shape != (63, 63)
    assert counts == {"cutout_jpeg": 4, "cutout_crc": 1}
    assert odd == 11  # and the four pictures: 15 that are not 63 x 63


def test_real_packets_of_every_survey_decode(shared_data):
    folder = shared_data / "alerts"
    paths = [*folder.glob("avro/**/*.avro"), *folder.glob("rubin/*.parquet"), *shared_data.glob("braai/*.json")]
    shapes = Counter()
    for path in paths:
        for packet in read(path):
            for data in packet.cutouts:
                assert np.array_equal(decode(data), _reference(data).astype("=f4"), equal_nan=True)
            shapes[packet.survey, cut(packet).shape[0]] += 1
    assert shapes == {("ztf", 63): 52, ("wntr", 81): 11, ("pgir", 61): 17,
                      ("lsst", 32): 1, ("lsst", 36): 1, ("lsst", 38): 2}  # fmt: skip


def test_the_difference_of_a_negative_candidate_of_ztf_is_sent_flipped(shared_data):
    brighter = Counter()
    for packet in read(shared_data / "alerts" / "ztf_alerts_triplets.parquet"):
        try:
            found = cut(packet, centred=True).pixels[2]
        except BadCutout:
            continue
        if found.shape == (63, 63) and np.isfinite(found).all():
            brighter[packet.facts["isdiffpos"], bool(found[30:33, 30:33].mean() > np.median(found))] += 1
    assert brighter["f", True] > 200 and brighter["f", False] == 0 and brighter["t", False] == 0
