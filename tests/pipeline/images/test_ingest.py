"""From an archive of images to stores: every input with one outcome, the same bytes again, facts and masks right."""

import gzip
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from catalogs import schema, write
from catalogs.folder import Folder
from catalogs.images import IMAGE_PLAN, IMAGES
from pipeline import manifest, recipes
from pipeline.errors import Mismatch, Missing, Refused
from pipeline.images import ingest, plan
from pipeline.images.frame import UNUSABLE, Bit
from pipeline.images.ingest import IngestImages
from pipeline.images.status import outcomes
from pipeline.settings import ImageSettings
from pipeline.stage import outcome_path
from tests.pipeline.images import fields
from tests.pipeline.images.test_reading import damaged

SETTINGS = ImageSettings(max_gib=0.02)


def run(
    workspace: Folder, archive: Folder, settings: ImageSettings = SETTINGS, overwrite: bool = False, **references: str
) -> dict[str, tuple[str, str | None]]:
    """Ingest an archive in this process; return input → state and reason."""
    found = plan.find(archive, settings.pattern)
    rows = plan.inspect(archive, settings, found if overwrite else plan.fresh(workspace, found))
    outcomes = []
    for survey, change in plan.changes(workspace, rows, overwrite).items():
        plan.save(workspace, survey, change)
        refused = [row for row in change.plan.to_pylist() if row["verdict"] == plan.REJECTED]
        outcomes += [(row["input"], "rejected", row["reason"]) for row in refused]
        stage = IngestImages(workspace, archive, survey, settings, references)
        stage.prepare()
        for key in sorted(stage.keys()):
            stage.execute(key)
            table = write.read(workspace, outcome_path(stage.name, key), schema.OUTCOMES).to_pylist()
            outcomes += [(row["input"], row["state"], row["reason"]) for row in table]
    ingest.write_index(workspace)
    assert len({name for name, *_ in outcomes}) == len(outcomes)
    return {name: (state, reason) for name, state, reason in outcomes}


def content(workspace: Folder) -> dict[str, bytes]:
    """Return all products' bytes; manifests hold times."""
    return {e.path: workspace.read(e.path) for e in workspace.list() if not e.path.endswith("part-00000.json")}


def sky(seed: int = 0, **more: float) -> np.ndarray:
    return fields.field(seed, (256, 288), number=40, **more).data


@pytest.fixture
def archive(tmp_path: Path) -> Folder:
    folder = tmp_path / "archive"
    folder.mkdir()
    return Folder(folder)


def test_every_kind_of_file_ends_with_one_outcome(archive: Folder, workspace: Folder) -> None:
    top = Path(archive.root)
    pixels = sky()
    expected = {"good.fits[0]": ("done", None), "deep/good.fits.gz[0]": ("done", None)}
    fields.write(top / "good.fits", pixels, GAIN=1.6, RDNOISE=6.0)
    fields.write(top / "deep" / "good.fits.gz", sky(1))
    shutil.copy(top / "good.fits", top / "twice.fits")
    expected["twice.fits[0]"] = ("rejected", "duplicate")
    constant, nan = np.full((64, 64), 7, np.float32), np.full((64, 64), np.nan, np.float32)
    for name, data, cards, reason in (
        ("constant", constant, {}, "constant_image"),
        ("nan", nan, {}, "all_nan"),
        ("line", np.ones(300, np.float32), {}, "wrong_shape"),
        ("cube", np.ones((3, 64, 64), np.float32), {}, "wrong_shape"),
        ("nowhere", pixels, {"CTYPE1": None, "CTYPE2": None}, "no_wcs"),
        ("flat", pixels, {"IMAGETYP": "flat"}, "not_science"),
    ):
        fields.write(top / f"{name}.fits", data, **cards)
        expected[f"{name}.fits[0]"] = ("rejected", reason)
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(np.zeros(3, [("a", "i4")]))]).writeto(top / "table.fits")
    expected["table.fits[0]"] = ("rejected", "wrong_product")
    for kind, reason in (
        ("jpeg", "not_fits"), ("empty", "empty"), ("cut data", "truncated"), ("cut header", "truncated"),
        ("bitpix", "bad_header"), ("gzip cut", "bad_compression"), ("gzip junk", "bad_compression"),
    ):  # fmt: skip
        damaged(top / f"{kind}.fits", pixels[:70, :90], kind)
        expected[f"{kind}.fits[0]"] = ("rejected", reason)
    (top / "bomb.fits.gz").write_bytes(gzip.compress((top / "good.fits").read_bytes() + bytes(30 << 20)))
    expected["bomb.fits.gz[0]"] = ("rejected", "decompression_bomb")
    assert run(workspace, archive) == expected
    # A second time nothing is read again, and nothing changes.
    before = content(workspace)
    assert run(workspace, archive) == expected and content(workspace) == before
    assert len(ingest.index(workspace)) == 2
    table = outcomes(workspace, "ingest_images")
    reasons = table["reason"].astype(object).where(table["reason"].notna(), None)
    assert dict(zip(table["input"], zip(table["state"], reasons, strict=True), strict=True)) == expected
    assert table["message"][table["state"] == "rejected"].notna().all()


def test_the_same_images_give_the_same_bytes_in_any_order(archive: Folder, tmp_path: Path) -> None:
    top = Path(archive.root)
    for number in range(3):
        fields.write(top / f"{number}.fits", sky(number, rays=20, trail=3.0 * (number == 1)), GAIN=1.6)
    once, bit = Folder(tmp_path / "once"), Folder(tmp_path / "bit")
    run(once, archive)
    for number in (2, 0, 1):
        run(bit, archive, SETTINGS.model_copy(update={"pattern": f"{number}.fits"}))
    assert content(once) == content(bit)


def test_images_are_only_added_and_what_has_changed_is_refused(archive: Folder, workspace: Folder) -> None:
    top = Path(archive.root)
    fields.write(top / "a.fits", sky(0))
    run(workspace, archive)
    before = content(workspace)
    fields.write(top / "b.fits", sky(1))
    run(workspace, archive)
    after = content(workspace)
    assert {path: data for path, data in after.items() if path in before and "plan" not in path} == {
        path: data for path, data in before.items() if "plan" not in path and path != "catalogs/images.parquet"
    } | {"catalogs/images.parquet": after["catalogs/images.parquet"]}
    with pytest.raises(Mismatch, match="cosmic_rays"):
        run(workspace, archive, SETTINGS.model_copy(update={"cosmic_rays": False}))
    fields.write(top / "a.fits", sky(2))
    with pytest.raises(Refused, match=r"a\.fits.*--overwrite"):
        run(workspace, archive)
    assert content(workspace) == after


def test_a_file_that_changes_between_plan_and_ingest_is_told(archive: Folder, workspace: Folder) -> None:
    path = fields.write(Path(archive.root) / "a.fits", sky(0))
    rows = plan.inspect(archive, SETTINGS, plan.find(archive, SETTINGS.pattern))
    (survey, change), *_ = plan.changes(workspace, rows).items()
    plan.save(workspace, survey, change)
    fields.write(path, sky(1))
    stage = IngestImages(workspace, archive, survey, SETTINGS)
    outcome = stage.execute(stage.keys()[0])
    assert outcome.counts["rejected"] == 1 and not workspace.list("images")
    assert len(ingest.index(workspace)) == 0
    with pytest.raises(Missing):
        ingest.load(workspace, stage.keys()[0].where)


def test_an_image_comes_back_as_it_was_but_for_what_is_masked(archive: Folder, workspace: Folder) -> None:
    field = fields.field(3, (1300, 200), number=120, rays=60)
    field.data[500:510, 20:30] = np.nan
    fields.write(Path(archive.root) / "Wide Field (r).fits", field.data, GAIN=1.6, RDNOISE=6.0, SATURATE=50000)
    run(workspace, archive)
    row = ingest.index(workspace).iloc[0]
    assert row["image_id"].startswith("wide-field-r-0-") and row["fwhm"] == pytest.approx(3.5, rel=0.05)
    assert row["estimated"] == "" and row["sky"] == pytest.approx(500, abs=3) and not row["sky_subtracted"]
    image = ingest.load(workspace, f"generic/{row['image_id']}")
    assert image.shape == (1300, 200) and image.facts.gain == 1.6 and image.facts.file == "Wide Field (r).fits"
    frame = image.read(0, 1300)
    good = (frame.mask & np.uint16(UNUSABLE & ~Bit.SATURATED)) == 0
    np.testing.assert_array_equal(frame.data[good], field.data[good])
    assert np.isfinite(frame.data).all() and np.isfinite(frame.variance).all() and (frame.variance > 0).all()
    assert (frame.mask[500:510, 20:30] & Bit.BAD).all() and good.mean() > 0.97
    hit = (frame.mask & np.uint16(Bit.COSMIC_RAY | Bit.HOT)) != 0
    assert hit[field.rays].mean() > 0.9  # those at the border are left alone
    # Across the border of two bands: sources once each, pixels as in the whole.
    part = image.read(1000, 1050, 30, 90)
    np.testing.assert_array_equal(part.data, frame.data[1000:1050, 30:90])
    ra, dec = frame.wcs.all_pix2world(40, 1020, 0)
    np.testing.assert_allclose(part.wcs.all_world2pix(ra, dec, 0), (10, 20), atol=1e-6)
    sources = image.sources()
    bright = field.flux > 4000
    near = np.hypot(sources["x"].to_numpy()[:, None] - field.x, sources["y"].to_numpy()[:, None] - field.y) < 1.5
    assert (near[:, bright].sum(0) >= 1).mean() > 0.9 and near.sum(0).max() == 1
    depth = 5 * np.sqrt(500 / 1.6 + (6 / 1.6) ** 2) * np.sqrt(4 * np.pi / (8 * np.log(2))) * 3.5
    assert row["depth"] == pytest.approx(depth, rel=0.07)


def test_what_the_header_lacks_is_estimated_and_said(archive: Folder, workspace: Folder) -> None:
    bright = fields.field(1, (400, 400), number=100)
    x, y, flux = np.random.default_rng(0).uniform(30, 370, (3, 8)) * [[1], [1], [3000]]
    data = np.minimum(bright.data + fields.stars((400, 400), x, y, flux + 4e5, 3.5), 30000).astype(np.float32)
    fields.write(Path(archive.root) / "a.fits", data)
    fields.write(Path(archive.root) / "b.fits", bright.data - 500)
    run(workspace, archive)
    a, b = (row for _, row in ingest.index(workspace).iterrows())
    assert a["estimated"] == "gain,read_noise,saturation" and a["gain"] == pytest.approx(1.6, rel=0.1)
    assert 29000 < a["saturation"] <= 30000
    assert b["sky_subtracted"] and b["gain"] == 1 and "gain" in b["estimated"] and "assumed" in b["notes"]


def test_planes_of_quality_and_error_go_with_their_image(archive: Folder, workspace: Folder) -> None:
    header = {"INSTRUME": "DECam", "FILTER": "g DECam SDSS", "GAIN": 1.6, "TELESCOP": None}
    hdus = [fits.PrimaryHDU()]
    for version, seed in ((1, 0), (2, 1)):
        data = sky(seed)
        quality = np.zeros(data.shape, np.int16)
        quality[10 * version, 20], quality[30, 40] = 5, 3
        card = fields.header(data.shape, **header)
        hdus += [fits.ImageHDU(data, card, "SCI", ver=version)]
        hdus += [fits.ImageHDU(quality, card, "DQ", ver=version), fits.ImageHDU(data * 0 + 7, card, "ERR", ver=version)]
    fits.HDUList(hdus).writeto(Path(archive.root) / "a.fits")
    assert Counter(run(workspace, archive).values()) == {("done", None): 2}
    for number, row in ingest.index(workspace).iterrows():
        frame = ingest.load(workspace, f"decam/{row['image_id']}").read(0, 256)
        assert frame.mask[10 * (number + 1), 20] == Bit.COSMIC_RAY and frame.mask[30, 40] & Bit.SATURATED
        assert frame.variance[100, 100] == 49 and frame.variance[10 * (number + 1), 20] >= 490


def with_plane(path: Path, data: np.ndarray, plane: np.ndarray, **cards: int) -> None:
    made = fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(data, fields.header(data.shape, GAIN=1.6, RDNOISE=6.0), "SCI"),
         fits.ImageHDU(plane, fits.Header(cards), "MASK")]
    )  # fmt: skip
    made.writeto(path)


def test_planes_of_unknown_surveys_are_read_by_their_names_or_with_doubt(archive: Folder, workspace: Folder) -> None:
    top, data = Path(archive.root), sky()
    plane = np.zeros(data.shape, np.int32)
    plane[40, 50], plane[60, 70], plane[80, 90] = 1 << 20, -(1 << 31), 1
    with_plane(top / "any.fits", data, plane)
    many = plane.copy()
    many[: int(0.35 * len(many))] |= 32
    with_plane(top / "sources.fits", data + 1, many)
    names = {"MP_BAD": 0, "MP_CR": 20, "MP_SAT": 31, "HIERARCH MP_DETECTED": 5, "MP_INTRP": 2}
    many[90, 100] = 4
    with_plane(top / "named.fits", data + 2, many, **names)
    run(workspace, archive)
    index = ingest.index(workspace).set_index("file")
    found = {}
    for file, row in index.iterrows():
        mask = ingest.load(workspace, f"generic/{row['image_id']}").read(0, len(data)).mask
        found[file] = [int(mask[y, x]) & ~int(Bit.HOT) for y, x in ((40, 50), (60, 70), (80, 90), (90, 100))]
        assert ((mask & np.uint16(Bit.BAD)) != 0).mean() < 0.01
    assert found["any.fits"] == [Bit.BAD, Bit.BAD, Bit.BAD, 0] and found["sources.fits"] == [0, 0, 0, 0]
    assert found["named.fits"][0] & Bit.COSMIC_RAY and found["named.fits"][1] & Bit.SATURATED
    assert found["named.fits"][2:] == [Bit.BAD, Bit.WEAK]
    assert "MASK is left out: it marks 35% of the pixels" in index.loc["sources.fits", "notes"]
    assert not any("left out" in index.loc[name, "notes"] for name in ("any.fits", "named.fits"))


def test_uvot_has_an_image_a_snapshot(archive: Folder, workspace: Folder) -> None:
    rng = np.random.default_rng(0)
    hdus = [fits.PrimaryHDU(header=fits.Header({"TELESCOP": "SWIFT", "INSTRUME": "UVOTA", "FILTER": "UVW1"}))]
    x, y = rng.uniform(10, 290, (2, 30))
    clean = 0.03 + fields.stars((300, 300), x, y, np.full(30, 150.0), 5.0)
    for number in range(3):
        cards = {
            "TELESCOP": "SWIFT",
            "INSTRUME": "UVOTA",
            "FILTER": "UVW1",
            "EXPTIME": None,
            "EXPOSURE": 100.0 + number,
        }
        card = fields.header((300, 300), **cards, **{"DATE-OBS": f"2021-05-06T0{number}:00:00"})
        hdus += [fits.ImageHDU(rng.poisson(clean).astype(np.float32), card, f"w{number}I")]
    fits.HDUList(hdus).writeto(Path(archive.root) / "sw_uw1_sk.img.fits.gz")
    assert Counter(run(workspace, archive).values()) == {("done", None): 3}
    index = ingest.index(workspace)
    assert index["exptime_s"].tolist() == [100, 101, 102] and (index["mission"] == "Swift").all()
    assert index["sky"].to_numpy() == pytest.approx(0.034, rel=0.1) and (index["n_stars"] > 2).all()
    assert index["fwhm"].to_numpy(float) == pytest.approx(5, rel=0.25)
    frame = ingest.load(workspace, f"uvot/{index['image_id'][0]}").read(0, 300)
    assert np.median(frame.variance) == pytest.approx(0.034, rel=0.1) and not frame.mask.any()


def test_ps1_and_ztf(archive: Folder, workspace: Folder) -> None:
    flux = sky(0)
    stored = 2.5 * np.log10(np.e) * np.arcsinh((flux - 3.0) / 200.0)
    cards = {"PSCAMERA": "GPC1", "FPA__FILTERID": "g.00000", "CELL__GAIN": 1.0, "BSOFTEN": 100.0, "BOFFSET": 3.0}
    fields.write(
        Path(archive.root) / "rings.v3.skycell.stk.r.unconv.fits",
        stored,
        **cards,
        TELESCOP=None,
        FILTER=None,
        STK_TYPE="DEEP_STACK",
    )
    ztf = {"INSTRUME": "ZTF/MOSAIC", "FILTER": "ZTF_r", "MAGZP": 26.3, "GAIN": 6.2, "READNOI": 10.0, "SATURATE": 5e4}
    fields.write(Path(archive.root) / "ztf_g_sciimg.fits", sky(1, gain=6.2), **ztf)
    run(workspace, archive)
    index = ingest.index(workspace).set_index("survey")
    assert index["filter"].to_dict() == {"ps1": "g", "ztf": "r"}  # by the header, whatever the name says
    assert index["sky"]["ps1"] == pytest.approx(500, rel=0.01)
    assert index["zp_ab"].to_dict() == {"ps1": pytest.approx(25 + 2.5 * np.log10(60)), "ztf": 26.3}
    assert index["maglim_5sigma"]["ztf"] == pytest.approx(26.3 - 2.5 * np.log10(index["depth"]["ztf"]))


def test_calibration_frames_are_applied_and_are_part_of_what_is_compared(
    archive: Folder, workspace: Folder, tmp_path: Path
) -> None:
    flat = 1 + 0.2 * np.sin(np.arange(288) / 40)[None].repeat(256, 0)
    raw = (sky(0) * flat + 300).astype(np.float32)
    fields.write(Path(archive.root) / "raw.fits", raw, GAIN=1.6)
    bad = np.zeros(raw.shape, np.uint8)
    bad[100, 100] = 1
    given = {
        "bias": str(fields.write(tmp_path / "bias.fits", np.full(raw.shape, 300, np.float32))),
        "flat": str(fields.write(tmp_path / "flat.fits", flat)),
        "bad_pixels": str(fields.write(tmp_path / "bad.fits", bad)),
    }
    run(workspace, archive, **given)
    row = ingest.index(workspace).iloc[0]
    frame = ingest.load(workspace, f"generic/{row['image_id']}").read(0, 256)
    good = frame.mask == 0
    np.testing.assert_allclose(frame.data[good], sky(0)[good], rtol=1e-4, atol=0.1)
    assert frame.mask[100, 100] & Bit.BAD
    fields.write(tmp_path / "bias.fits", np.full(raw.shape, 301, np.float32))
    with pytest.raises(Refused, match="calibration/bias"):
        run(workspace, archive, **given)


def test_what_is_not_covered_is_found_before_a_bias_is_subtracted(
    archive: Folder, workspace: Folder, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    bias = (300 + rng.normal(0, 3, (256, 288))).astype(np.float32)
    raw = (sky(0) + bias).astype(np.float32)
    raw[:, :60] = 0
    fields.write(Path(archive.root) / "raw.fits", raw, GAIN=1.6)
    run(workspace, archive, bias=str(fields.write(tmp_path / "bias.fits", bias)))
    row = ingest.index(workspace).iloc[0]
    mask = ingest.load(workspace, f"generic/{row['image_id']}").read(0, 256).mask
    edge = (mask & np.uint16(Bit.EDGE)) != 0
    assert edge[:, :60].all() and edge[:, 60:].mean() < 0.08
    assert row["sky"] == pytest.approx(500, rel=0.05)


def test_the_recipe_on_dask(archive: Folder, workspace: Folder, dask_client: object) -> None:
    for number in range(3):
        fields.write(Path(archive.root) / f"{number}.fits", sky(number))
    (Path(archive.root) / "bad.fits").write_bytes(b"no")
    reports = list(recipes.ingest_images(dask_client, workspace, archive, SETTINGS))
    assert sum(report.counts["done"] for report in reports) == 3
    assert sum(report.counts["rejected"] for report in reports) == 1
    assert not any(report.exit_status for report in reports)
    before = content(workspace)
    list(recipes.ingest_images(dask_client, workspace, archive, SETTINGS, overwrite=True))
    assert content(workspace) == before
    table = write.read(workspace, "catalogs/images.parquet", IMAGES)
    assert table.num_rows == 3 and write.read(workspace, plan.path("unknown"), IMAGE_PLAN).num_rows == 1
    assert len(manifest.committed(workspace, "ingest_images")) == 3


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Return a workspace with all real images."""
    workspace = Folder(tmp_path_factory.mktemp("real"))
    outcomes = run(workspace, Folder(shared_data / "images"), ImageSettings())
    assert Counter(outcomes.values()) == {("done", None): 14}
    return workspace


def test_real_images(real: Folder) -> None:
    index = ingest.index(real)
    assert index["survey"].value_counts().to_dict() == {"decam": 6, "hst": 4, "goto": 2, "generic": 2}
    by_survey = index.set_index("survey")
    assert by_survey["sky_subtracted"]["decam"].all() and not by_survey["sky_subtracted"]["goto"].any()
    assert (by_survey["estimated"]["goto"] == "gain,read_noise,saturation").all()
    # The widths that the observers' own pipelines state.
    stated = {"dec-obs04a": 5.23, "dec-obs04b": 5.16, "dec-obs04c": 5.89, "dec-obs18a": 3.85, "dec-obs18b": 4.11}
    widths = {name[:10]: width for name, width in zip(index["image_id"], index["fwhm"], strict=True)}
    assert {name: widths[name] for name in stated} == pytest.approx(stated, rel=0.12)
    assert by_survey["zp_ab"]["hst"].notna().all() and index["zp_ab"].notna().sum() == 4
    assert not index["notes"].str.contains("trail").any() and (index["masked"] < 0.09).all()


def test_real_hst_images_keep_what_their_data_quality_says(real: Folder, shared_data: Path) -> None:
    index = ingest.index(real).set_index("survey").loc["hst"]
    for _, row in index.iterrows():
        frame = ingest.load(real, f"hst/{row['image_id']}").read(0, 10_000)
        with fits.open(shared_data / "images" / row["file"]) as hdus:
            quality, error, data = hdus["DQ"].data, hdus["ERR"].data, hdus["SCI"].data
        assert (((frame.mask & np.uint16(Bit.COSMIC_RAY)) != 0) == ((quality & (4096 | 8192)) != 0)).all()
        assert (((frame.mask & np.uint16(Bit.HOT)) != 0) == ((quality & 32) != 0)).all()
        good = (frame.mask & np.uint16(UNUSABLE)) == 0
        np.testing.assert_array_equal(frame.data[good], data[good])
        np.testing.assert_allclose(frame.variance[good], error[good] ** 2, rtol=1e-5)
