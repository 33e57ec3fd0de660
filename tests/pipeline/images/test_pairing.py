"""Every image gets a reference or one reason why not; the choice is what depth, seeing and epoch say."""

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import UsageError
from pipeline.images.pairing import pairs, read_list
from pipeline.settings import PairSettings


def image(name, mjd=59000.0, ra=10.0, dec=0.0, size=0.1, **facts):
    h = size / 2
    footprint = [ra - h, dec - h, ra + h, dec - h, ra + h, dec + h, ra - h, dec + h]
    row = {"image_id": name, "file": f"night/{name}.fits", "extension": 0, "sha256": name.ljust(64, "0")}
    row |= {"survey": "ztf", "mission": "ZTF", "instrument": "CAM", "ccd": "1", "filter": "r", "mjd_mid": mjd}
    row |= {
        "exptime_s": 30.0,
        "footprint": footprint,
        "pixscale": 1.0,
        "fwhm": 2.0,
        "maglim_5sigma": 20.5,
        "depth": 50.0,
    }
    return row | facts


def run(*images, explicit=None, **settings):
    return pairs(pd.DataFrame(images), PairSettings(**settings), explicit)


def outcomes(accepted, refused):
    return sorted([*accepted["science_id"], *refused["science_id"]])


def test_the_deep_sharp_and_old_one_is_chosen_and_the_score_is_its_product():
    new = image("new", 59100.0)
    accepted, refused = run(
        new, image("deep", 59000, maglim_5sigma=22.5), image("shallow", 59000), image("blurred", 59000, fwhm=4.0,
        maglim_5sigma=22.5), image("recent", 59099, maglim_5sigma=22.5),
    )  # fmt: skip
    row = accepted.set_index("science_id").loc["new"]
    assert row["reference_id"] == "deep" and row["pair_id"] == "new-deep" and row["days"] == 100
    assert row["score_depth"] == pytest.approx(1 / (1 + 10**-1.6)) and row["score_seeing"] == pytest.approx(0.5)
    assert row["score_epoch"] == pytest.approx(1 - np.exp(-100 / 30)) and row["overlap"] == pytest.approx(1)
    assert row["score"] == pytest.approx(row["score_depth"] * row["score_seeing"] * row["score_epoch"])
    assert not row["ref_after_event"] and not row["explicit"]
    assert outcomes(accepted, refused) == ["blurred", "deep", "new", "recent", "shallow"]
    # The three of the first night have nothing older: what others are subtracted by is no failure.
    states = refused.set_index("science_id")[["state", "reason"]].to_dict("index")
    assert states["deep"] == {"state": "nothing", "reason": "epoch"} and states["shallow"]["state"] == "rejected"


def test_each_refusal_has_its_reason_and_figure():
    cases = {
        "cross_mission": image("b", 58000, mission="PS1", survey="ps1"),
        "cross_filter": image("b", 58000, filter="g"),
        "overlap": image("b", 58000, ra=10.08),
        "epoch": image("b", 59100.0),
        "no_date": image("b", None),
        "same_exposure": image("b", 59000.0),
        "alone": image("b", 58000, ra=40.0),
        "unknown_filter": image("b", 58000, filter="", instrument="X"),
    }
    for reason, other in cases.items():
        science = image("a") if reason != "unknown_filter" else image("a", filter="")
        accepted, refused = run(science, other)
        row = refused.set_index("science_id").loc["a"]
        # The younger of two epochs is subtracted by the older one, which therefore is of use.
        assert row["reason"] == reason and row["state"] == ("nothing" if reason == "epoch" else "rejected"), reason
        assert outcomes(accepted, refused) == ["a", "b"]
    text = run(image("a"), cases["overlap"])[1]["message"][0]
    assert "covers 0.200 of it, less than 0.3" in text and "(b)" in text
    assert "mission ZTF is not PS1" in run(image("a"), cases["cross_mission"])[1]["message"][0]
    assert pd.isna(run(image("a"), cases["alone"])[1]["reference_id"][0])


def test_a_reference_after_the_event_must_wait_and_is_recorded():
    early, late = image("early", 59000), image("late", 59322)
    accepted, _ = run(early, late)
    table = accepted.set_index("science_id")
    assert table.loc["early", "ref_after_event"] and not table.loc["late", "ref_after_event"]
    assert 0 < table.loc["early", "score_epoch"] < table.loc["late", "score_epoch"]
    accepted, refused = run(early, late, after_days=400)
    assert accepted["science_id"].tolist() == ["late"] and refused["reason"].tolist() == ["epoch"]
    assert refused["state"].tolist() == ["nothing"]


def test_named_pairs_need_no_dates_but_one_mission_filter_and_field():
    images = [image("a", None), image("b", None), image("c", None, filter="g"), image("d", 59000), image("e", 59000)]
    names = [("a.fits", "night/b.fits"), ("a", "c"), ("d", "e"), ("a", "a"), ("x.fits", "b")]
    accepted, refused = run(*images, explicit=names)
    assert accepted["pair_id"].tolist() == ["a-b", "d-e"] and accepted["explicit"].all()
    assert accepted["ref_after_event"].isna().tolist() == [True, False] and np.isnan(accepted["score"][0])
    reasons = {(row.science_id, row.reason, row.state) for row in refused.itertuples()}
    assert reasons == {("a", "cross_filter", "rejected"), ("a", "same_exposure", "rejected"),
                       ("x.fits", "unknown_image", "rejected"), ("b", "reference_only", "nothing"),
                       ("c", "not_listed", "nothing"), ("e", "reference_only", "nothing")}  # fmt: skip
    twins = [image("a0", None, file="m.fits"), image("a1", None, file="m.fits", extension=1, ra=11.0)]
    accepted, _ = run(*twins, image("r1", None, file="n.fits", ra=11.0), image("r0", None, file="n.fits", extension=1),
                      explicit=[("m.fits", "n.fits")])  # fmt: skip
    assert accepted["pair_id"].tolist() == ["a0-r0", "a1-r1"]


def test_order_does_not_matter_and_nothing_gives_nothing():
    rng = np.random.default_rng(1)
    images = [image(f"i{k:02d}", 59000 + 40.0 * k, 10 + rng.uniform(-0.05, 0.05), fwhm=rng.uniform(1, 3),
                    maglim_5sigma=None if k % 3 else 21.0) for k in range(12)]  # fmt: skip
    first = run(*images)
    second = run(*[images[k] for k in rng.permutation(12)])
    assert all(one.equals(other) for one, other in zip(first, second, strict=True))
    assert len(first[0]) + len(first[1]) == 12
    lost = [image("x", footprint=None), image("y", footprint=None, mjd_mid=59900.0), image("z", 58000.0, dec=89.99)]
    accepted, refused = run(*lost)
    assert len(accepted) == 0 and refused["reason"].tolist() == ["alone"] * 3
    assert run(*lost, explicit=[("x", "z")])[1]["reason"].tolist() == ["overlap", "not_listed", "not_listed"]
    empty = pairs(pd.DataFrame(images).iloc[:0], PairSettings())
    assert len(empty[0]) == len(empty[1]) == 0


def test_lists_are_read_or_refused(tmp_path):
    (tmp_path / "p.csv").write_text("science, reference\n# mine\na.fits, b.fits\nc,d\n")
    assert read_list(tmp_path / "p.csv") == [("a.fits", "b.fits"), ("c", "d")]
    for text, says in (("a,b\n1,2\n", "give science,reference"), ("science,reference\na,\n", "line 2 names one")):
        (tmp_path / "q.csv").write_text(text)
        with pytest.raises(UsageError, match=says):
            read_list(tmp_path / "q.csv")
    with pytest.raises(UsageError, match="not a readable CSV"):
        read_list(tmp_path / "none.csv")
