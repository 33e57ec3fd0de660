"""The job that subtracts images: one pair of files, what it writes, and what it refuses."""

import shutil

import numpy as np
import pandas as pd
import pytest
import zarr
from astropy.io import fits
from astropy.wcs import WCS
from click.testing import CliRunner

from catalogs import write
from catalogs.candidates import CANDIDATES, Flag, is_good
from catalogs.folder import Folder
from catalogs.recovery import IMAGE_INJECTIONS
from jobs.difference_images import main
from pipeline.errors import UsageError
from pipeline.images.delivery import FILES
from pipeline.images.given import stamp
from pipeline.images.occupation import occupied
from tests.pipeline.images import archives


def run(*options):
    return CliRunner().invoke(main, [str(option) for option in options])


def one_pair(science, reference, out, *options):
    return run("--science", science, "--reference", reference, "--out", out, *options)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with a pair, its PSFs and its masks."""
    return archives.square().write(tmp_path_factory.mktemp("field"))


@pytest.fixture(scope="module")
def made(files, tmp_path_factory):
    """Return the results of the pair, and what was said."""
    out = tmp_path_factory.mktemp("one")
    said = one_pair(files / "science.fits", files / "reference.fits", out)
    assert said.exit_code == 0, said.output
    return out, said.output


def good(out):
    table = pd.read_parquet(out / "candidates.parquet")
    return table[is_good(table["flags"])]


def test_the_images_open_as_they_should(made, files):
    out, _ = made
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    reference = fits.getheader(files / "reference.fits")
    for name, dtype in (("difference", "f4"), ("significance", "f4"), ("footprint", "u2")):
        with fits.open(out / f"{name}.fits") as file:
            file.verify("exception")
            assert file[0].data.shape == (416, 416) and file[0].data.dtype.str[1:] == dtype
            sky = [WCS(header, naxis=2).all_pix2world(10, 400, 0) for header in (reference, file[0].header)]
            assert np.allclose(*sky, rtol=0, atol=1e-9)
            assert file[0].header["SCIFILE"] == "science.fits[0]" and len(file[0].header["REFSHA"]) == 64
    footprint, significance = (fits.getdata(out / f"{name}.fits") for name in ("footprint", "significance"))
    outside = (footprint & 32) > 0
    assert 0 < outside.mean() < 0.1 and (np.isnan(significance) == outside).all()
    assert abs(np.median(significance[footprint == 0])) < 0.2
    header = fits.getheader(out / "difference.fits")
    assert header["BUNIT"] == "adu" and "MAGZP" not in header and 0.5 < header["FLUXRAT"] < 2
    assert header["SELFTEST"] in ("passed", "failed") and 0.9 < header["STDBLANK"] < 1.1
    psf = fits.getdata(out / "difference.fits", "PSF")
    assert psf.shape[0] % 2 and psf.argmax() == psf.size // 2 and abs(psf.sum() - 1) < 0.01


def test_candidates_and_triplets_are_one(made):
    out, _ = made
    table = write.read(Folder(out), "candidates.parquet", CANDIDATES).to_pandas()
    store = zarr.open_group(out / "triplets.zarr", mode="r")["triplet"]
    difference = fits.getdata(out / "difference.fits")
    rows = table[table["triplet_row"].notna() & ((table["flags"] & int(Flag.EDGE)) == 0)].head(8)
    assert len(rows) and table["scorr_std_blank"].notna().all()
    for row in rows.itertuples():
        cut = store[int(row.triplet_row)]
        assert cut.shape == (3, 63, 63) and cut[2, 31, 31] == difference[round(row.y), round(row.x)]


def test_it_says_what_there_is_to_say(made):
    out, said = made
    for word in ("offset", "RMS of", "sigma (", "FWHM", "flux ratio", "correlation", "self-test", "good positive"):
        assert word in said, said
    assert str(out) in said and (out / "panel.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_transients_are_found(made, files):
    truth = pd.read_parquet(files / "truth.parquet")
    bright, found = truth[truth["snr_opt"].abs() > 8], good(made[0])
    near = [np.hypot(found["x"] - x, found["y"] - y).min() for x, y in zip(bright["x"], bright["y"], strict=True)]
    assert len(bright) >= 5 and np.mean(np.array(near) < 1.5) > 0.8


def test_frames_swapped_give_the_other_sign(made, files, tmp_path):
    said = one_pair(files / "reference.fits", files / "science.fits", tmp_path / "swapped", "--workers", 1)
    assert said.exit_code == 0, said.output
    one, other = (table[table["snr"].abs() > 8] for table in (good(made[0]), good(tmp_path / "swapped")))
    assert len(one) >= 5
    cos = np.cos(np.deg2rad(2.2))
    matches = []
    for row in one.itertuples():
        away = np.hypot((other["ra"] - row.ra) * cos, other["dec"] - row.dec) * 3600
        if away.min() < 0.5:
            matches.append((row.snr, other["snr"].iloc[int(away.argmin())]))
    ours, theirs = np.array(matches).T
    assert len(matches) >= 0.8 * len(one) and (np.sign(ours) == -np.sign(theirs)).all()
    assert np.abs(ours + theirs).max() < 0.15 * np.abs(ours).max()


def test_the_same_again_gives_the_same_bytes_and_another_needs_overwrite(made, files, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(made[0], out)
    (out / "panel.png").unlink()
    inputs = (files / "science.fits", files / "reference.fits", out)
    assert one_pair(*inputs).exit_code == 0
    for name in set(FILES) - {"triplets.zarr"}:
        assert (out / name).read_bytes() == (made[0] / name).read_bytes(), name
    refused = one_pair(*inputs, "--threshold", 6)
    assert refused.exit_code == 3 and "--overwrite" in refused.output
    assert one_pair(*inputs, "--threshold", 6, "--dry-run").exit_code == 0


def test_files_of_others_are_left_alone(files, tmp_path):
    inputs = files / "science.fits", files / "reference.fits"
    for name, options in (
        ("candidates.parquet", ()), ("difference.fits", ()), ("triplets.zarr/keep", ("--overwrite",)),
        (".work/keep", ("--overwrite",)), ("panel.png/keep", ("--overwrite",)),
    ):  # fmt: skip
        out = tmp_path / name.replace("/", "-")
        (out / name).parent.mkdir(parents=True)
        (out / name).write_bytes(b"mine")
        said = one_pair(*inputs, out, *options)
        assert said.exit_code == 3 and f"{out / name.split('/')[0]}: not made by skysift; " in said.output, said.output
        cure = "move it away, or" if options else "--overwrite replaces it, or"
        assert cure in said.output and (out / name).read_bytes() == b"mine"
        assert [path for path in out.rglob("*") if path.is_file()] == [out / name]
    with occupied(tmp_path / "busy"):
        said = one_pair(*inputs, tmp_path / "busy")
    assert said.exit_code == 3 and "another run is at work there" in said.output


def test_injections_are_counted_beside_the_result(made, files, tmp_path):
    inputs = (files / "science.fits", files / "reference.fits", tmp_path)
    said = one_pair(*inputs, "--injections", 24)
    assert said.exit_code == 0 and "24 of 24 transients" in said.output, said.output
    table = write.read(Folder(tmp_path), "injections.parquet", IMAGE_INJECTIONS).to_pandas()
    assert len(table) == 24 and table["environment"].value_counts().tolist() == [8, 8, 8] and table["found"].any()
    for name in ("candidates.parquet", "difference.fits"):
        assert (tmp_path / name).read_bytes() == (made[0] / name).read_bytes(), name
    assert one_pair(*inputs).exit_code == 0 and not (tmp_path / "injections.parquet").exists()
    assert one_pair(*inputs, "--injections", -1).exit_code == 2


def test_psfs_and_a_mask_are_used_and_packed_files_read(files, tmp_path):
    mask = np.zeros((416, 416), np.uint8)
    mask[200:230, 100:140] = 7
    fits.writeto(tmp_path / "mask.fits", mask)
    with fits.open(files / "science.fits") as file:
        parts = [fits.PrimaryHDU(), fits.ImageHDU(file[0].data, file[0].header, name="SCI")]
        parts.append(fits.ImageHDU(file[0].data + 1, file[0].header, name="SCI", ver=2))
        fits.HDUList(parts).writeto(tmp_path / "two.fits.gz")
    given = ["--science-psf", files / "science_psf.fits", "--reference-psf", files / "reference_psf.fits"]
    two, reference, out = tmp_path / "two.fits.gz", files / "reference.fits", tmp_path / "out"
    named = one_pair(two, reference, out)
    assert named.exit_code == 2 and "two.fits.gz[1] (SCI), " in named.output and not out.exists()
    assert "no such image" in one_pair(f"{two}[ERR]", reference, out).output
    said = one_pair(f"{two}[SCI,1]", reference, out, *given, "--mask", tmp_path / "mask.fits", "--keep")
    assert said.exit_code == 0 and "of 0 and 0 stars" in said.output, said.output
    footprint = fits.getdata(out / "footprint.fits")
    assert (footprint[205:225, 105:135] & 1).all() and (out / ".work").is_dir()


def changed(files, folder, name, change):
    return archives.altered(files / f"{name}.fits", folder / f"changed_{name}.fits", change)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda hdu: hdu.header.update(TELESCOP="OTHER"), "cross_mission: mission OTHER is not SIMULATED"),
        (lambda hdu: hdu.header.update(FILTER="g"), "cross_filter: filter g is not r"),
        (lambda hdu: hdu.header.update(CRVAL1=hdu.header["CRVAL1"] + 0.0606), "overlap: the reference covers 0.0"),
        (lambda hdu: hdu.header.update(CRVAL1=200.0), "overlap: the reference covers 0.000"),
        (lambda hdu: hdu.data.fill(np.nan), "all_nan"),
        (lambda hdu: hdu.header.update(CTYPE1="LINEAR", CTYPE2="LINEAR"), "no_wcs"),
    ],
    ids=["mission", "filter", "sliver", "elsewhere", "nan", "no wcs"],
)
def test_what_is_no_pair_is_refused_with_the_reason(files, tmp_path, change, why):
    science = changed(files, tmp_path, "science", change)
    said = one_pair(science, files / "reference.fits", tmp_path / "out")
    assert said.exit_code == 3 and why in said.output, said.output
    assert not (tmp_path / "out").exists()


def test_wrong_usage_is_2_and_says_what_is_right(files, tmp_path):
    science, reference, out = files / "science.fits", files / "reference.fits", tmp_path / "out"
    fits.writeto(tmp_path / "small.fits", np.zeros((40, 50), np.uint8))
    cases = [
        ((science, reference, out, "--science-psf", "none.fits"), "--science-psf none.fits: no such file"),
        ((science, reference, out, "--science-psf", science), "416 x 416 pixels; give a square of 5 to 255 a side"),
        ((science, reference, out, "--mask", tmp_path / "small.fits"), "50 x 40 pixels, the science image 416 x 416"),
        (("none.fits", reference, out), "--science none.fits: no such file"),
        ((science, reference, "s3://bucket/out"), "give a local folder"),
    ]
    for options, cure in cases:
        said = one_pair(*options)
        assert said.exit_code == 2 and cure in said.output, said.output
    assert run("--science", science).exit_code == 2
    shutil.copy(science, tmp_path / "copy.fits")
    same = one_pair(science, tmp_path / "copy.fits", out)
    assert same.exit_code == 3 and "the same image" in same.output
    assert not out.exists()


def test_a_workspace_needs_images(dask_client, tmp_path):
    said = run("--workspace", tmp_path, "--dask-address", dask_client.scheduler.address)
    assert said.exit_code == 3 and "run ingest_images first" in said.output


def gaussian(size, x, y):
    rows, columns = np.indices((size, size))
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 1.7**2))


@pytest.mark.parametrize(("size", "middle"), [(31, 15.0), (32, 15.5), (32, 16.0), (32, 15.0)])
def test_a_stamp_is_odd_centred_and_of_sum_one(tmp_path, size, middle):
    fits.writeto(tmp_path / "psf.fits", 300 * gaussian(size, middle, middle))
    made = stamp("--science-psf", str(tmp_path / "psf.fits"))
    half = len(made) // 2
    expected = gaussian(len(made), half, half)
    assert len(made) % 2 and abs(made.sum() - 1) < 1e-5
    assert np.abs(made - expected / expected.sum()).max() < 5e-4 * made.max()


def test_what_is_no_stamp_is_refused(tmp_path):
    cases = [
        (np.where(gaussian(31, 15, 15) > 0.99, np.nan, 1.0), "1 pixels are no number"),
        (-gaussian(31, 15, 15), "a PSF is positive"),
        (gaussian(31, 20, 15), "its light is about pixel (20.0, 15.0)"),
        (np.ones((31, 33)), "33 x 31 pixels"),
        (np.ones((3, 31, 31)), "no image of two axes"),
    ]
    for number, (image, why) in enumerate(cases):
        fits.writeto(tmp_path / f"{number}.fits", image)
        with pytest.raises(UsageError) as caught:
            stamp("--science-psf", str(tmp_path / f"{number}.fits"))
        assert why in str(caught.value)
