"""Ephemerides are read with their times; what has none, or no place, is left out."""

import pandas as pd
import pytest

from catalogs.lists import KnownError
from catalogs.movers import read


def test_times_and_places_are_read_together(tmp_path):
    path = tmp_path / "bodies.csv"
    rows = ("Ceres,2459000.5,10.5,-3", "Ceres,,11,-3", "Vesta,2459001.5,,", "4,2459002.0,01:00:00,+2:30:00")
    path.write_text("\n".join(["# mine", "Name,JD,RA,Dec", *rows]))
    table = read(str(path))
    assert table["name"].tolist() == ["Ceres", "4"] and table["mjd"].tolist() == [59000.0, 59001.5]
    assert table["ra"].tolist() == [10.5, 15.0] and table["dec"].tolist() == [-3.0, 2.5]
    table.to_parquet(tmp_path / "bodies.parquet")
    pd.testing.assert_frame_equal(read(str(tmp_path / "bodies.parquet")), table)


@pytest.mark.parametrize(
    ("text", "what"),
    [("name,ra,dec\na,1,2\n", "no column mjd"), ("name,mjd,ra,dec\na,soon,1,2\n", "row 1: 'soon' is no time")],
)
def test_what_does_not_read_is_named(tmp_path, text, what):
    (tmp_path / "bodies.csv").write_text(text)
    with pytest.raises(KnownError, match=what):
        read(str(tmp_path / "bodies.csv"))
