"""The tables of image differencing: understood by others, strict where it matters, null where nothing is known."""

import pyarrow as pa
import pytest
from astropy.io.votable.ucd import parse_ucd
from astropy.units import Unit

from catalogs.candidates import CANDIDATES, SPOILED, Flag, FrameFlag, is_good
from catalogs.folder import Folder
from catalogs.query import query
from catalogs.schema import TABLES, SchemaError
from catalogs.supernovae import CUTS, LIGHT_CURVE, OBJECTS, Selection, is_selected
from catalogs.write import read, to_bytes, write
from pipeline.images.frame import Bit

COLUMNS = """candidate_id survey instrument ccd filter science_file reference_file mjd_mid exptime_s ref_mjd_min
ref_mjd_max ref_after_event ra dec ra_err dec_err x y x_sci y_sci snr is_positive flux flux_err mag_ab zp_ab
maglim_5sigma ref_flux fwhm_arcsec pixscale scorr_std_blank scorr_std_src align_rms_px overlap ref_sep_arcsec
ref_is_star host_sep_arcsec host_dlr is_injected flags catalog_release model_id model_sha256 stage_version
settings_hash manifest_key"""
PROMISED = COLUMNS.split()


def row(name="a", **columns):
    texts = ("candidate_id", "pair_id", "survey", "mission", "instrument", "ccd", "filter", "time_scale",
             "science_file", "reference_file", "catalog_release", "settings_hash", "manifest_key")  # fmt: skip
    values = dict.fromkeys(texts, name) | {"science_sha256": "0" * 64, "reference_sha256": "1" * 64}
    values |= {"x": 1.0, "y": 2.0, "snr": -6.0, "is_positive": False, "flux": -3.0, "flux_err": 0.5}
    values |= {"flux_unit": "count", "n_neighbours": 0, "is_injected": False, "flags": 0, "frame_flags": 0}
    return values | {"selection": 0, "stage_version": 1} | columns


@pytest.mark.parametrize("table", [CANDIDATES, OBJECTS, LIGHT_CURVE], ids=lambda table: table.name)
def test_every_column_has_a_unit_ucd_and_meaning_that_others_understand(table):
    assert TABLES[table.name] is table
    for column in table.columns:
        assert column.meaning and parse_ucd(column.ucd, check_controlled_vocabulary=True), column.name
        Unit(column.unit)
    table.check(table.empty())


def test_the_columns_promised_are_there_in_order():
    names = [name for name in CANDIDATES.names if name in PROMISED]
    assert names == PROMISED


def test_the_mask_of_the_images_is_carried_bit_by_bit():
    assert {bit.name: int(bit) for bit in Bit} == {flag.name: int(flag) for flag in Flag if flag < 128}
    for words in (Flag, FrameFlag, Selection):
        assert [int(flag) for flag in words] == [1 << place for place in range(len(words))]
        assert len({flag.text for flag in words}) == len(words)


def test_what_is_unknown_is_null_and_a_detection_without_zero_point_is_complete(tmp_path):
    table = CANDIDATES.of([row("b", mag_ab=float("nan"), ra=10.0, dec=-5.0), row("a", ra=10.001, dec=-5.0)])
    write(Folder(tmp_path), "catalogs/candidates.parquet", table, CANDIDATES)
    back = read(Folder(tmp_path), "catalogs/candidates.parquet", CANDIDATES)
    assert back["candidate_id"].to_pylist() == ["a", "b"] and back["mag_ab"].null_count == 2
    assert back["model_id"].null_count == back["p_real"].null_count == back["ref_after_event"].null_count == 2
    assert to_bytes(table, CANDIDATES) == to_bytes(table.take([1, 0]), CANDIDATES)
    near = query(tmp_path, "candidates", cone=(10.0, -5.0, 0.01))
    assert near["candidate_id"].tolist() == ["b", "a"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("flux_unit", "Jy"), ("science_sha256", "00"), ("overlap", 1.1), ("flags", -1), ("flux_err", None)],
)
def test_what_cannot_be_is_refused(name, value):
    loose = pa.schema([field.with_nullable(True) for field in CANDIDATES.arrow_schema()])
    with pytest.raises(SchemaError, match=f"candidates.{name}"):
        CANDIDATES.check(CANDIDATES.of([row(**{name: value})]).cast(loose))


def test_remarks_spoil_nothing_and_cuts_do():
    assert is_good([0, int(Flag.PADDED | Flag.NO_TRIPLET | Flag.WEAK), int(Flag.SHARP), int(Flag.EDGE | Flag.WEAK)]
                   ).tolist() == [True, True, False, False]  # fmt: skip
    assert SPOILED & Flag.COSMIC_RAY and not CUTS & (Selection.NUCLEAR | Selection.SINGLE_EPOCH | Selection.NO_P_REAL)
    assert is_selected([int(Selection.NUCLEAR), int(Selection.NUCLEAR | Selection.MOVING)]).tolist() == [True, False]
