import io
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io.votable import parse
from astropy.table import MaskedColumn
from astropy.table import Table as AstropyTable

from catalogs.export import ExportError, export, render, to_astropy
from catalogs.schema import OUTCOMES, PLAN, SCORES, SEGMENTS, STARS, SYSTEMS

LIST = "ascii.fixed_width_two_line"
COLUMNS = ["TIC", "m_TIC", "Disp", "RAJ2000", "DEJ2000", "HIP", "TYC", "2MASS", "Gaia", "Vmag", "Gmag"]


def test_csv_reads_back_in_pandas(stars):
    frame = pd.read_csv(io.BytesIO(render(stars, "csv")))
    assert frame["tic_id"].tolist() == stars["tic_id"].to_pylist()
    np.testing.assert_array_equal(frame["ra"], stars["ra"].to_numpy())
    assert frame["sectors"][3] == "1 4"


@pytest.mark.parametrize("form", ["ecsv", "votable"])
def test_astropy_formats_round_trip_with_units_ucds_and_lists(stars, form):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = render(stars, form)
        back = AstropyTable.read(io.BytesIO(data), format="ascii.ecsv" if form == "ecsv" else form)
    ours = to_astropy(stars)
    assert back.colnames == stars.column_names and back["tic_id"].dtype == np.int64
    for name in ("ra", "gls_period", "p_eb", "tic_id", "period", "is_new"):
        np.testing.assert_array_equal(np.ma.filled(back[name], -1), np.ma.filled(ours[name], -1))
        assert back[name].unit == ours[name].unit and " ".join(back[name].description.split()) == STARS[name].meaning
        assert back[name].meta["ucd"] == STARS[name].ucd
    assert list(back["sectors"][3]) == [1, 4] and back["ra"].mask[199] and not back["ra"].mask[0]


def test_votable_names_the_frames_of_position_and_time():
    file = parse(io.BytesIO(render(SCORES.empty(), "votable")), verify="exception")
    field = file.get_first_table().get_field_by_id("t_start")
    assert field.ref == "btjd" and str(field.unit) == "d"
    assert file.resources[0].time_systems[0].timeorigin == 2457000.0


@pytest.mark.parametrize("table", [SEGMENTS, SCORES, STARS, SYSTEMS, OUTCOMES, PLAN], ids=lambda table: table.name)
def test_empty_tables_are_valid_files(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vo = AstropyTable.read(io.BytesIO(render(table.empty(), "votable")), format="votable")
        ecsv = AstropyTable.read(render(table.empty(), "ecsv").decode().splitlines(), format="ascii.ecsv")
    assert vo.colnames == ecsv.colnames == table.names and len(vo) == len(ecsv) == 0
    assert render(table.empty(), "csv").decode().strip().split(",") == table.names


def test_a_data_frame_takes_its_units_from_the_schema(stars):
    frame = stars.select(["tic_id", "ra", "sectors"]).to_pandas().assign(separation=0.5)
    table = to_astropy(frame)
    assert str(table["ra"].unit) == "deg" and table["separation"].unit is None
    assert b"pos.eq.ra" in render(frame, "votable")


def test_export_chooses_the_format_by_the_ending_and_writes_whole(tmp_path, stars):
    for name in ("a.csv", "a.ecsv", "a.xml", "a.vot", "a.dat"):
        export(stars, tmp_path / "new" / name)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "a.csv",
        "a.dat",
        "a.ecsv",
        "a.vot",
        "a.xml",
    ]
    with pytest.raises(ExportError, match=r"a\.xlsx: \.xlsx names no format; .*one of csv, ecsv, votable, list"):
        export(stars, tmp_path / "a.xlsx")
    with pytest.raises(ExportError, match=r"'?fits'?: not a format"):
        export(stars, tmp_path / "a.csv", "fits")
    assert not (tmp_path / "a.xlsx").exists()


def test_the_real_published_list_comes_out_byte_for_byte(shared_data):
    path = shared_data / "catalogs/CALNet_newecl.dat"
    real = AstropyTable.read(path, format=LIST)
    assert real.colnames == COLUMNS
    rows = {"tic_id": real["TIC"].data, "ra": real["RAJ2000"].data, "dec": real["DEJ2000"].data}
    assert render(pa.table(rows), "list", path) == path.read_bytes()


GAIA = 6222363389392306433  # odd, and beyond the integers a float holds


def mast(tmp_path, ending):
    """Write a TIC table with MAST's names in some format; the second star has hardly any."""
    if ending == "csv":
        path = tmp_path / "tic.csv"
        text = "ID,ra,HIP,TYC,TWOMASS,GAIA,Vmag,GAIAmag,duplicate_id,disposition,extra\n"
        text += "16,1,,,,,,,10.0,DUPLICATE,\n"
        path.write_text(text + f"10,1,71862.0,6754-00117-1,14415716-2803568,{GAIA},7.014,6.5,,,x\n")
        return path
    masked = {
        "ID": [16, 10],
        "HIP": [0, 71862],
        "TYC": ["", "6754-00117-1"],
        "TWOMASS": ["", "14415716-2803568"],
    }
    masked |= {"GAIA": [0, GAIA], "Vmag": [0.0, 7.014], "GAIAmag": [0.0, 6.5]}
    table = AstropyTable({k: MaskedColumn(v, mask=[k != "ID", False]) for k, v in masked.items()})
    table["duplicate_id"] = MaskedColumn([10, 0], mask=[False, True])
    table["disposition"] = MaskedColumn(["DUPLICATE", ""], mask=[False, True])
    path = tmp_path / f"tic.{ending}"
    if ending == "parquet":
        columns = {name: np.ma.array(table[name]) for name in table.colnames}
        arrays = {name: pa.array(c.data.tolist(), mask=c.mask) for name, c in columns.items()}
        pq.write_table(pa.table(arrays), path)
    else:
        table.write(path, format={"fits": "fits", "vot": "votable"}[ending])
    return path


@pytest.mark.parametrize("ending", ["csv", "parquet", "fits", "vot"])
def test_names_are_joined_from_a_tic_table_of_any_kind(tmp_path, stars, ending):
    data = render(stars.slice(0, 3), "list", mast(tmp_path, ending)).decode()
    lines = data.splitlines()
    assert lines[0].split() == COLUMNS and set(lines[1]) == {"-", " "} and len({len(line) for line in lines}) == 1
    table = AstropyTable.read(data, format=LIST)
    assert table["TIC"].tolist() == [10, 13, 16] and table["Gaia"][0] == GAIA and table["HIP"][0] == 71862
    assert table["Vmag"][0] == 7.01 and table["2MASS"][0] == "14415716-2803568"
    assert table["m_TIC"][2] == 10 and table["Disp"][2] == "DUPLICATE" and table["Gaia"].mask.tolist() == [0, 1, 1]
    np.testing.assert_allclose(table["RAJ2000"], stars["ra"].to_numpy()[:3], atol=5.1e-6)
    assert lines[2].index(f"{stars['ra'][0].as_py():.5f}") + 9 <= lines[0].index("RAJ2000") + 7 + 2


def test_list_without_names_positions_or_rows(stars):
    none = render(STARS.empty(), "list").decode()
    assert none.splitlines()[0] == " ".join(COLUMNS) and AstropyTable.read(none, format=LIST).colnames == COLUMNS
    table = AstropyTable.read(render(stars.slice(198), "list").decode(), format=LIST)
    assert table["RAJ2000"].mask.tolist() == [False, True] and table["Vmag"].mask.all()
    edge = pa.table({"tic_id": [1], "ra": [359.999999], "dec": [-0.5]})
    assert b" 0.00000 -0.50000 " in render(edge, "list")


def test_a_names_table_that_cannot_serve_says_why(tmp_path, stars):
    (tmp_path / "a.csv").write_text("star,Vmag\n1,2\n")
    with pytest.raises(ExportError, match=r"a\.csv: no column ID, TIC or tic_id among star, Vmag"):
        render(stars, "list", tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("ID,Vmag\n10,bright\n")
    with pytest.raises(ExportError, match=r"b\.csv: column Vmag: .*bright.*; correct it"):
        render(stars, "list", tmp_path / "b.csv")
    pd.DataFrame({"ID": [10], "Gaia": [float(GAIA)]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(ExportError, match=r"c\.parquet: column Gaia: .*6\.22.*e\+18.*never floats"):
        render(stars, "list", tmp_path / "c.parquet")
    with pytest.raises(ExportError, match=r"a\.pkl: pkl ending; give \.csv"):
        render(stars, "list", tmp_path / "a.pkl")
    with pytest.raises(ExportError, match="needs tic_id"):
        render(stars.drop_columns("tic_id"), "list")
