"""Published lists are recognised by what they hold, read in full, and matched by identifier or place."""

import numpy as np
import pytest

from catalogs.known import JOINT, KnownError, is_new, known_in, read

PRSA = (
    "{tic:010d}|1|2020-07-27|2021-09-16|Light Curve File (LCF)|175.108298759065   | -6.10253019588716  |    5.76498   |"
    " -10.3473    |10.9183 |1544.16|  2.1e-05|  0.3105640362990626 |1.4e-07| 0.8365841" + "|    " * 12 + "|  |9,36\n"
)
KEPLER = (
    "##\n## Kepler Eclipsing Binary Catalog\n#KIC,period,period_err,bjd0,bjd0_err,morph,GLon,GLat,kmag,Teff,SC,\n"
    "3863594,0.0532682,0.0,55000,0.004,-1,-1.0000,-1.0000,-1.0,-1.0,False,\n"
    "10417986,0.0737309,0.0,55000.0,0.004,0.99,81.0390,11.0820,9.1280,-1.0,True,\n"
)
SKARKA = "  21002598 272.68825562625 53.50038486202 {klass:14s}" + " " * 106 + "\n"
CALNET = "       TIC sector class\n---------- ------ -----\n     91961     11    EA\n    120016     38    EW\n"


@pytest.fixture
def lists(tmp_path):
    """Return a function that writes a list under a name that says nothing and reads it."""

    def make(text, name="some.txt"):
        (tmp_path / name).write_text(text)
        return read(tmp_path / name)

    return make


def test_each_kind_is_told_by_its_content(lists):
    prsa = lists(PRSA.format(tic=185259483))
    assert prsa.name == "Prša 2022"
    row = prsa.stars.iloc[0]
    assert (row["tic_id"], row["period"], row["morph"]) == (185259483, 0.3105640362990626, 0.8365841)
    assert (row["ra"], row["dec"]) == (175.108298759065, -6.10253019588716)
    kepler = lists(KEPLER)
    assert kepler.name == "Kepler EBs" and len(kepler.stars) == 1  # the other has no position to match by
    assert kepler.stars["tic_id"].isna().all()
    assert lists(CALNET).name == "CALNet classes"
    assert lists(SKARKA.format(klass="EA+DSCT") * 2).stars["klass"].tolist() == ["EA+DSCT"]
    own = lists("# mine\ntic_id, class, period\n7, EA, 1.5\n8, DSCT,\n", "my list.csv")
    assert own.name == "my list" and own.stars["period"].tolist() == pytest.approx([1.5, np.nan], nan_ok=True)


def test_stars_are_found_by_identifier_or_by_place(lists):
    every = [
        lists(PRSA.format(tic=5), "1"),
        lists(KEPLER, "2"),
        lists(SKARKA.format(klass="GDOR"), "3"),
        lists(CALNET, "4"),
    ]
    ra, dec = every[1].stars[["ra", "dec"]].iloc[0]
    tics = [5, 21002598, 91961, 77, 78, 79]
    place = [[10.0, 20, 30, ra, ra, np.nan], [0.0, 0, 0, dec + 2 / 3600, dec + 5 / 3600, np.nan]]
    found = known_in(tics, *place, every)
    assert found == [["Prša 2022"], ["Skarka 2022: GDOR"], ["CALNet classes"], ["Kepler EBs"], [], []]
    named = [JOINT.join(names) or None for names in found]
    assert is_new(named, ["high"] * 6) == [False, True, False, False, True, True]
    assert is_new(named, ["low", *["none"] * 5]) == [False, *[None] * 5]
    # Rows with a TIC are not matched by place: the neighbour of a binary is not the binary.
    assert known_in([6], [175.108298759065], [-6.10253019588716], every[:1]) == [[]]
    assert known_in([], [], [], every) == []


@pytest.mark.parametrize(
    ("klass", "new"),
    [
        *((eclipsing, False) for eclipsing in ("EB", "ELL|EW", "GDOR+EA", "EA?", "EA:", "ea/sd")),
        *((other, True) for other in ("ELL", "VAR", "DSCT?", "")),
    ],
)
def test_a_class_that_may_be_eclipsing_is_not_new(lists, klass, new):
    skarka = [lists(SKARKA.format(klass=klass))]
    said = [] if not klass else [f"Skarka 2022: {klass}"] if new else ["Skarka 2022"]
    assert known_in([21002598], [0.0], [0.0], skarka) == [said]
    assert is_new([JOINT.join(said) or None], ["low"]) == [new]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty; give the list"),
        ("a,b\n1,2\n", "not a known list; it begins with 'a,b'"),
        (
            PRSA.format(tic=5) + PRSA.format(tic=6).replace("0.3105", "O.3105"),
            r"line 2: period 'O.3105\d+' is no number",
        ),
        (
            PRSA.format(tic=5).replace("\n", "") * 0 + PRSA.format(tic=5)[:200] + "\n" + PRSA.format(tic=5),
            "line 1: .*cut",
        ),
        (KEPLER + "3863594,0.05\n", "line 6: 2 fields between ',', not 8"),
        (KEPLER.replace("0.99", "high"), "line 5: morph 'high' is no number"),
        (SKARKA.format(klass="EA") * 3 + "  21002598 272.6", "line 4: 16 bytes, not 162"),
        (CALNET + "    12e016     38    EW\n", "line 5: TIC '12e016' is no whole number"),
        ("tic_id,class\n1,EA\nx,EA\n", "line 3: TIC 'x' is no whole number"),
    ],
)
def test_errors_name_file_line_and_cure(lists, text, message):
    with pytest.raises(KnownError, match=r"some\.txt: " + message):
        lists(text)


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(KnownError, match="no such list; give its full path"):
        read(tmp_path / "none.dat")


@pytest.mark.parametrize(
    ("file", "name", "stars", "sample"),
    [
        ("J-ApJS-258-16_tess-ebs.dat", "Prša 2022", 4584, {"tic_id": 185259483, "period": 0.3105640363}),
        ("CALNet_training_samples.dat", "CALNet training", 4225, {"tic_id": 91961, "klass": "EA", "ra": 221.69755}),
        ("CALNet_newecl.dat", "CALNet new", 10531, {"tic_id": 52357, "dec": -28.06576}),
        ("CALNet_newclass_samples.dat", "CALNet classes", None, {"tic_id": 91961, "klass": "EA"}),
        ("KEBCv3.csv", "Kepler EBs", 2920, {"period": 0.0737309, "morph": 0.99}),
        ("skarka2022_table5.dat", "Skarka 2022", 5923, {"tic_id": 21002602, "klass": "ROTS", "ra": 272.77455218491}),
    ],
)
def test_the_real_lists(shared_data, file, name, stars, sample):
    known = read(shared_data / "catalogs" / file)
    assert known.name == name
    if stars:
        assert len(known.stars) == pytest.approx(stars, abs=28)
    key, value = next(iter(sample.items()))
    rows = known.stars[np.isclose(known.stars[key].astype(float), value, rtol=1e-9)]
    exact = {k: v if isinstance(v, str) else pytest.approx(v, rel=1e-6) for k, v in sample.items()}
    assert any(all(row[k] == v for k, v in exact.items()) for row in rows.to_dict("records"))
    places = known.stars[["ra", "dec"]].dropna()
    assert places["ra"].between(0, 360).all() and places["dec"].between(-90, 90).all()


def test_known_stars_of_the_real_lists(shared_data):
    names = ("J-ApJS-258-16_tess-ebs.dat", "CALNet_newclass_samples.dat", "KEBCv3.csv", "skarka2022_table5.dat")
    every = [read(shared_data / "catalogs" / name) for name in names]
    # KIC 8912468 stands in Kepler's field, and its place there is right to an arcsecond.
    row = every[2].stars.iloc[1]
    assert 279 < row["ra"] < 302 and 36 < row["dec"] < 53
    found = known_in([350298314, 270501383], [0.0, 0.0], [0.0, 0.0], every)
    assert found == [["Prša 2022", "CALNet classes"], []]
