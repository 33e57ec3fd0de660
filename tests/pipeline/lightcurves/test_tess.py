import gzip
import hashlib
import io
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.folder import Folder
from catalogs.schema import STARS
from pipeline.errors import ArchiveUnreachable, Reason, Rejected
from pipeline.lightcurves import tess
from tests.properties.mutate import good, set_card

Edit = Callable[[fits.HDUList], None]


def _write(tmp_path: Path, edit: Edit | None = None, **options: int) -> Folder:
    hdus = fits.open(io.BytesIO(good(**options)))
    if edit:
        edit(hdus)
    hdus.writeto(tmp_path / "a.fits", overwrite=True)
    return Folder(tmp_path)


def test_real_files_are_read_bit_by_bit_as_astropy_reads_them(shared_data: Path) -> None:
    folder = Folder(shared_data / "lightcurves" / "tess_2min")
    paths = [entry.path for entry in folder.list(suffix=".fits")]
    assert len(paths) >= 27
    for path in paths:
        curve, seen = tess.read(folder, path), tess.inspect(folder, path)
        raw = folder.read(path)
        assert (curve.sha256, curve.size) == (hashlib.sha256(raw).hexdigest(), len(raw))
        assert curve.note == ""  # header and data add up to CHECKSUM
        assert asdict(curve.facts) == pytest.approx(asdict(seen.facts), nan_ok=True)
        hdus = fits.open(io.BytesIO(raw))
        for name, (ours, _, dtype) in tess.COLUMNS.items():
            expected = np.ascontiguousarray(hdus[1].data[name]).astype(dtype)
            assert curve.columns[ours].dtype == dtype
            assert curve.columns[ours].tobytes() == expected.tobytes(), (path, name)
        header, facts = hdus[0].header, curve.facts
        keys = ("TICID", "SECTOR", "CAMERA", "CCD", "RA_OBJ", "DEC_OBJ", "TESSMAG", "DATA_REL", "DATE")
        ours = (facts.tic_id, facts.sector, facts.camera, facts.ccd, facts.ra, facts.dec, facts.tmag)
        assert (*ours, facts.data_rel, facts.date) == tuple(header[key] for key in keys)
        assert facts.cadence_s == 120
        cadences = curve.columns["cadenceno"]
        assert (seen.n_rows, seen.first_cadence, seen.last_cadence) == (
            len(cadences),
            cadences[0],
            cadences[-1],
        )


FACTS = {"PMRA": "pmra", "PMDEC": "pmdec", "TESSMAG": "tmag", "TEFF": "teff", "RADIUS": "radius"}
COLUMNS = FACTS | {"CROWDSAP": "crowdsap_min"}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, bytes]:
    """Return a folder, and a file with every number that a catalogue takes from headers."""
    folder = _write(tmp_path_factory.mktemp("full"), lambda hdus: hdus[0].header.update(dict.fromkeys(FACTS, 1.0)))
    return folder, folder.read("a.fits")


@settings(deadline=None, max_examples=80)
@given(st.sampled_from([*COLUMNS]), st.floats(allow_nan=False) | st.integers(-(10**40), 10**40))
def test_whatever_number_a_header_gives_a_catalogue_can_hold_what_is_kept(
    full: tuple[Folder, bytes], key: str, value: float
) -> None:
    folder, data = full
    text = {"inf": "1E999", "-inf": "-1E999"}.get(str(value), repr(value).upper())
    folder.write("odd.fits", set_card(data, key, text))
    curve = tess.read(folder, "odd.fits")
    fact = getattr(curve.facts, key.lower() if key == "CROWDSAP" else FACTS[key])
    stored = STARS[COLUMNS[key]].dtype.to_pandas_dtype()(np.float32(fact))
    if np.isnan(fact):
        assert f"{key} {float(value):g} is not from" in curve.note
    else:
        assert fact == value and key not in curve.note
        assert not list(STARS[COLUMNS[key]].faults(pa.array([stored])))


@pytest.mark.parametrize("cadence_s", [20, 120, 200, 600, 1800])
def test_every_cadence_is_known(tmp_path: Path, cadence_s: int) -> None:
    folder = _write(tmp_path, cadence_s=cadence_s)
    assert tess.read(folder, "a.fits").facts.cadence_s == cadence_s

    def frames(hdus: fits.HDUList) -> None:
        del hdus[1].header["TIMEDEL"]
        hdus[1].header.update(FRAMETIM=2.0, NUM_FRM=cadence_s // 2)

    assert tess.read(_write(tmp_path, frames, cadence_s=cadence_s), "a.fits").facts.cadence_s == cadence_s


def test_gzip_gives_the_same_light_curve(tmp_path: Path) -> None:
    folder = _write(tmp_path)
    (tmp_path / "b.fits.gz").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    plain, packed = tess.read(folder, "a.fits"), tess.read(folder, "b.fits.gz")
    for name in tess.DTYPES:
        np.testing.assert_array_equal(plain.columns[name], packed.columns[name])
    assert tess.inspect(folder, "a.fits").checksum == tess.inspect(folder, "b.fits.gz").checksum


def test_absent_facts_are_nan_and_object_names_the_star_too(tmp_path: Path) -> None:
    def strip(hdus: fits.HDUList) -> None:
        for key in ("TICID", "CAMERA", "RA_OBJ", "TESSMAG", "DATA_REL"):
            del hdus[0].header[key]

    facts = tess.inspect(_write(tmp_path, strip), "a.fits").facts
    assert (facts.tic_id, facts.camera, facts.data_rel) == (25155310, -1, -1)
    assert np.isnan([facts.ra, facts.tmag, facts.teff]).all()


def test_optional_columns_may_be_absent(tmp_path: Path) -> None:
    def strip(hdus: fits.HDUList) -> None:
        hdus[1].columns.del_col("POS_CORR1")

    columns = tess.read(_write(tmp_path, strip), "a.fits").columns
    assert np.isnan(columns["pos_corr_col"]).all()
    assert np.isfinite(columns["pos_corr_row"]).all()


def _set(hdu: int, **cards: object) -> Edit:
    return lambda hdus: hdus[hdu].header.update(cards)


@pytest.mark.parametrize(
    ("edit", "reason", "words"),
    [
        (_set(0, TELESCOP="Kepler"), Reason.WRONG_PRODUCT, "Kepler"),
        (_set(1, EXTNAME="PIXELS"), Reason.WRONG_PRODUCT, "target pixel file"),
        (_set(1, EXTNAME="TCE_1"), Reason.WRONG_PRODUCT, "data validation"),
        (_set(1, EXTNAME="CAMERA.CCD 1.1 CAL"), Reason.WRONG_PRODUCT, "full-frame image"),
        (lambda hdus: hdus.__delitem__(slice(1, None)), Reason.TRUNCATED, "ends before its LIGHTCURVE"),
        (_set(0, SECTOR=0), Reason.BAD_HEADER, "SECTOR = 0"),
        (_set(0, TICID="x"), Reason.BAD_HEADER, "TICID = 'x"),
        (_set(1, TTYPE8="SOMETHING"), Reason.MISSING_COLUMN, "no column PDCSAP_FLUX"),
        (_set(1, TIMEDEL=0.0208333), Reason.BAD_CADENCES, "rows are 120 s apart, its TIMEDEL says 1800 s"),
        (_set(1, TIMEDEL=1.0), Reason.BAD_HEADER, "TIMEDEL"),
        (_set(1, DATASUM="12345"), Reason.CHECKSUM, "DATASUM = '12345"),
        (lambda hdus: hdus[1].data["PDCSAP_FLUX"].fill(np.nan), Reason.ALL_NAN, "400 rows"),
        (
            lambda hdus: hdus[1].data["CADENCENO"].put(7, 70444),
            Reason.BAD_CADENCES,
            "70444 follows 70450 in row 8",
        ),
    ],
)
def test_what_is_no_light_curve_is_said_to_be_what_it_is(
    tmp_path: Path, edit: Edit, reason: Reason, words: str
) -> None:
    with pytest.raises(Rejected, match=words) as caught:
        tess.read(_write(tmp_path, edit), "a.fits")
    assert caught.value.reason == reason


def test_a_damaged_file_is_noted(tmp_path: Path, shared_data: Path) -> None:
    """TESS files hold CHECKSUM only, which editors break: a mismatch is noted."""
    folder = Folder(shared_data / "lightcurves" / "tess_2min" / "s001")
    data = bytearray(folder.read(folder.list(suffix=".fits")[0].path))
    data[1_000_001] ^= 1
    (tmp_path / "a.fits").write_bytes(data)
    assert "CHECKSUM" in tess.read(Folder(tmp_path), "a.fits").note


def test_a_planned_file_may_be_gone_but_not_its_archive(tmp_path: Path) -> None:
    (tmp_path / "s001").mkdir()
    (tmp_path / "s001" / "b.fits").write_bytes(b"x")
    folder = Folder(tmp_path)
    with pytest.raises(Rejected, match="was there when planned, is gone") as caught:
        tess.read(folder, "s001/a.fits")
    assert caught.value.reason == Reason.CHANGED
    with pytest.raises(Rejected) as caught:
        tess.inspect(folder, "s001/a.fits")
    assert caught.value.reason == Reason.UNREADABLE
    shutil.rmtree(tmp_path / "s001")
    with pytest.raises(ArchiveUnreachable):
        tess.read(folder, "s001/a.fits")


def test_an_inspection_takes_two_ranged_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _write(tmp_path, rows=20_000)
    reads = []
    read = Folder.read
    monkeypatch.setattr(Folder, "read", lambda self, *args: reads.append(args) or read(self, *args))
    tess.inspect(folder, "a.fits")
    assert len(reads) == 2
    assert max(length for _, _, length in reads) <= 65_536
