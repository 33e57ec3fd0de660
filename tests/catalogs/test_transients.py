"""Lists of known transients are read in the forms they come in, and label what is within an arcsecond."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from catalogs.lists import KnownError
from catalogs.transients import label, read

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "catalogs" / "AstrID_sncat_compiled.txt"
BARS = (
    " sn_name | gal_ra | sn_type |    sn_ra    |   sn_dec    \n"
    "---------+--------+---------+-------------+-------------\n"
    "2014dm |  | Ia | 04 08 07.13 | - 8 49 37.0 \n"
    "2014xx |  |  |  | \n"
    "2014dk |  | IaPec | 00 28 11.97 | + 0 09 43.9 \n"
)
PLACES = {"2014dm": (62.02970833, -8.82694444), "2014dk": (7.049875, 0.16219444)}


@pytest.fixture
def lists(tmp_path):
    """Return a function that writes a list and reads it."""

    def make(content, name="list.txt"):
        if isinstance(content, pd.DataFrame):
            content.to_parquet(tmp_path / name)
        else:
            (tmp_path / name).write_text(content)
        return read(str(tmp_path / name))

    return make


def test_all_forms_give_the_same(lists):
    degrees = [{"name": name, "ra": ra, "dec": dec} for name, (ra, dec) in PLACES.items()]
    osc = {
        "2014dm": {"ra": [{"value": "04:08:07.13"}], "dec": [{"value": "-08:49:37.0"}]},
        "2014dk": {"ra": [{"value": "00:28:11.97"}], "dec": [{"value": "+00:09:43.9"}], "claimedtype": []},
    }
    table = pd.DataFrame(degrees)
    forms = [
        lists(BARS),
        lists(json.dumps(osc), "osc.json"),
        lists(json.dumps(degrees), "list.json"),
        lists(table, "list.parquet"),
        lists("# mine\n" + table.to_csv(index=False), "a.csv"),
        lists("Name, RA, Dec\n2014dm,04h08m07.13s,-08d49m37.0s\n2014dk,0 28 11.97,+0 9 43.9\n", "b.csv"),
    ]
    for one in forms:
        assert one.table["name"].tolist() == list(PLACES)
        assert one.table[["ra", "dec"]].to_numpy() == pytest.approx(np.array(list(PLACES.values())), abs=1e-7)
    assert forms[0].skipped == 1 and forms[0].table["kind"].tolist() == ["Ia", "IaPec"]


def test_what_is_within_an_arcsecond_is_labelled(lists):
    known = lists(BARS)
    (ra, dec), step = PLACES["2014dm"], 1 / 3600
    names, separation = label([ra, ra + 0.9 * step, ra, np.nan, 200], [dec, dec, dec + 1.1 * step, dec, 0], [known])
    assert names == ["2014dm", "2014dm", None, None, None]
    assert separation == pytest.approx(
        [0, 0.9 * np.cos(np.deg2rad(dec)), np.nan, np.nan, np.nan], abs=2e-3, nan_ok=True
    )
    assert label([], [], [known])[0] == [] and label([ra], [dec], []) == ([None], pytest.approx([np.nan], nan_ok=True))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("name,dec\na,1\n", "no column ra among name, dec"),
        ("name,ra,dec\na,ten,1\n", "row 1: 'ten' is no angle"),
        (BARS + "cut | off\n", "line 6: 2 fields between bars, not 5"),
        ("[1, 2]", "no list of objects"),
        ("[{", "not readable JSON"),
    ],
)
def test_what_does_not_read_says_where(lists, text, says):
    with pytest.raises(KnownError, match=says):
        lists(text)
    with pytest.raises(KnownError, match="no such list"):
        read("nowhere/list.csv")


@pytest.mark.skipif(not REAL.exists(), reason="no ../shared beside the repository")
def test_the_compilation_is_read_in_full():
    known = read(str(REAL))
    assert len(known.table) == 6539 and known.skipped == 0
    row = known.table.set_index("name").loc["2014dm"]
    assert (row["ra"], row["dec"]) == pytest.approx(PLACES["2014dm"], abs=1e-7)
    assert label([row["ra"]], [row["dec"]], [known])[0] == ["2014dm"]
