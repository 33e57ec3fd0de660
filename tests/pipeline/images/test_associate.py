"""Detections become objects: the right ones, with the same names in any order, movers told, limits where unseen."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from catalogs.candidates import Flag, FrameFlag
from catalogs.supernovae import LIGHT_CURVE, OBJECTS, Selection, is_selected
from pipeline.images import motion
from pipeline.images.associate import associate
from pipeline.images.epochs import light_curves, with_nondetections
from pipeline.images.forced import calibrated
from pipeline.images.select import body_distance, select_supernovae

ORIGIN = {"catalog_release": "r", "stage_version": 1, "settings_hash": "s", "manifest_key": "k"}


def detection(name, ra, dec, mjd, pair=None, band="r", **facts):
    row = {"candidate_id": name, "pair_id": pair or f"p{mjd}", "ra": ra, "dec": dec, "ra_err": 0.05, "dec_err": 0.05}
    row |= {"mjd_mid": mjd, "time_scale": "utc", "filter": band, "snr": 10.0, "is_positive": True, "flux": 5.0}
    row |= {"flux_unit": "uJy", "mag_ab": 22.0, "fwhm_arcsec": 2.0, "seeing_arcsec": 2.0, "ref_seeing_arcsec": 1.5}
    row |= {"align_rms_px": 0.05, "pixscale": 1.0, "flags": 0, "frame_flags": 0, "is_injected": False, "p_real": None}
    row |= {"ref_sep_arcsec": 3.0, "ref_is_star": None, "host_sep_arcsec": 2.0, "host_dlr": 1.0, "known_name": None}
    return row | {"known_sep_arcsec": None, "ssdistnr": None} | facts


def sky(seed=0, objects=40, epochs=4):
    """Return detections of fixed objects a minute of arc apart, with their errors."""
    rng, rows = np.random.default_rng(seed), []
    for k in range(objects):
        for epoch in range(epochs):
            ra = 359.99 + k / 60 + rng.normal(0, 0.05) / 3600 / np.cos(np.deg2rad(60))
            dec = 60 + rng.normal(0, 0.05) / 3600
            rows.append(detection(f"c{k:02d}{epoch}", ra % 360, dec, 59000.0 + 3 * epoch, band="gr"[epoch % 2]))
    return pd.DataFrame(rows)


def test_objects_are_what_was_put_in_and_do_not_depend_on_order():
    table = sky()
    found, objects = associate(table)
    assert len(objects) == 40 and (objects["n_det"] == 4).all() and (objects["filters"].map(tuple) == ("g", "r")).all()
    assert found.groupby("object_id")["candidate_id"].agg(lambda c: len({x[:3] for x in c})).eq(1).all()
    assert objects["mjd_first"].eq(59000).all() and objects["mjd_last"].eq(59009).all()
    shuffled = associate(table.sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(found, shuffled[0])
    pd.testing.assert_frame_equal(objects, shuffled[1])
    middle = objects.set_index(found.groupby("object_id")["candidate_id"].min().str[1:3].astype(int).reindex(
        objects["object_id"]).to_numpy())  # fmt: skip
    offset = (middle["ra"] - 359.99 - middle.index / 60 + 180) % 360 - 180
    assert np.abs(offset * np.cos(np.deg2rad(60)) * 3600).max() < 0.15
    # A later epoch changes no name.
    assert set(associate(table[table["mjd_mid"] < 59005])[1]["object_id"]) == set(objects["object_id"])
    assert (objects["motion_sigma"] < 5).all() and objects["ra_err"].between(0.02, 0.06).all()


def test_an_exposure_in_two_pairs_is_one_detection_and_two_detectors_are_two():
    rows = [
        detection(f"c{k}", 10.0, 20.0, 59000.0, f"p{k}", science_sha256=sha, science_extension=number)
        for k, (sha, number) in enumerate([("0", 1), ("0", 1), ("0", 2), ("1", 1)])
    ]
    for names, count in (([], 3), (["science_extension"], 2), (["science_extension", "science_sha256"], 4)):
        assert associate(pd.DataFrame(rows).drop(columns=names))[1]["n_det"].tolist() == [count]


def test_links_are_half_a_fwhm_or_three_sigma_and_chains_are_cut():
    def count(*offsets, **facts):
        rows = [detection(f"c{k}", 10.0, o / 3600, 59000.0 + k % 2, **facts) for k, o in enumerate(offsets)]
        return len(associate(pd.DataFrame(rows))[1])

    assert count(0, 0.95) == 1 and count(0, 1.3) == 2
    assert count(0, 1.3, ra_err=0.4, dec_err=0.4) == 1  # 3 sigma of their distance: 1.7
    chain = [0.9 * k for k in range(10)]
    assert 4 <= count(*chain) <= 6


def test_a_straight_way_is_one_object_that_moves():
    rows = [detection(f"m{k}", 10.0 + 0.8 * k / 3600, 20.0, 59000 + k / 24) for k in range(6)]
    rows += [detection("far", 10.1, 20.0, 59000.0), detection("nowhere", None, None, 59000.0)]
    found, objects = associate(pd.DataFrame(rows))
    assert len(objects) == 2 and found["object_id"].isna().sum() == 1
    mover = objects[objects["n_det"] == 6].iloc[0]
    assert mover["motion_ra"] == pytest.approx(0.8 * np.cos(np.deg2rad(20)), rel=0.01)
    assert mover["motion_sigma"] > 20 and abs(mover["motion_dec"]) < 0.01
    assert objects[objects["n_det"] == 1]["motion_sigma"].isna().all()


def test_the_significance_of_motion_is_one():
    rng, sigmas = np.random.default_rng(4), []
    for _ in range(500):
        x, y = rng.normal(0, 0.1, (2, 5))
        sigmas.append(motion.fit(np.arange(5.0), x, y, np.full(5, 0.1), np.full(5, 0.1)).sigma)
    assert np.mean(np.square(sigmas)) < 2.2 and np.mean(np.array(sigmas) > 5) == 0
    assert np.isnan(motion.fit(np.array([1.0, np.nan]), *np.ones((4, 2))).sigma)


def curve():
    """Return objects, detections, frames and what measures them: two fields, the second object off one of them."""
    rows = [
        detection("a0", 10.0, 0.0, 59000.0),
        detection("a1", 10.0, 0.0, 59003.0),
        detection("b0", 10.2, 0.0, 59000.0),
    ]
    found, objects = associate(pd.DataFrame(rows))
    wide, narrow = [9.9, -0.1, 10.3, -0.1, 10.3, 0.1, 9.9, 0.1], [9.9, -0.1, 10.1, -0.1, 10.1, 0.1, 9.9, 0.1]
    times = {"p59000.0": wide, "p59003.0": narrow, "p59006.0": wide, "p59009.0": wide}
    frames = [{"pair_id": p, "filter": "r", "mjd_mid": float(p[1:]), "time_scale": "utc", "footprint": f}
              for p, f in times.items()]  # fmt: skip
    asked = []

    def forced(pair_id, ra, dec):
        asked.append(pair_id)
        flux = np.full(len(ra), {"p59000.0": 9.0, "p59003.0": 8.0, "p59006.0": 0.5, "p59009.0": np.nan}[pair_id])
        limit = np.where(flux < 3, flux + 3, np.nan)
        table = pd.DataFrame({"flux": flux, "flux_err": flux * 0 + 1, "snr": flux, "flux_limit": limit, "flags": 0})
        return calibrated(table, 23.9 if pair_id != "p59006.0" else None)

    return objects, found, pd.DataFrame(frames), forced, asked


def test_light_curves_have_detections_limits_and_nothing_where_nothing_was_seen():
    objects, found, frames, forced, asked = curve()
    table = light_curves(objects, found, frames, forced)
    assert sorted(asked) == sorted(frames["pair_id"])
    first = objects[objects["n_det"] == 2]["object_id"].iloc[0]
    own = table[table["object_id"] == first]
    assert own["pair_id"].tolist() == ["p59000.0", "p59003.0", "p59006.0"]
    assert own["candidate_id"].tolist()[:2] == ["a0", "a1"] and own["candidate_id"].isna().tolist()[2]
    assert own["flux_limit"].tolist()[2] == 3.5 and own["flux_unit"].tolist() == ["uJy", "uJy", "count"]
    assert table[table["object_id"] != first]["pair_id"].tolist() == ["p59000.0", "p59006.0"]
    objects = with_nondetections(objects, table)
    assert objects["n_nondet"].tolist() == [1, 1]
    LIGHT_CURVE.check(LIGHT_CURVE.conform(pa.Table.from_pandas(table, preserve_index=False)))
    selected = select_supernovae(objects, found, curves=table).assign(**ORIGIN)
    OBJECTS.check(OBJECTS.conform(pa.Table.from_pandas(selected, preserve_index=False)))
    assert len(light_curves(objects, found, frames.iloc[:0], forced)) == 0


def test_the_same_images_the_other_way_round_are_no_other_look():
    sky = [9.9, -0.1, 10.1, -0.1, 10.1, 0.1, 9.9, 0.1]
    pairs = {"new-1-old-2": 59300.0, "old-2-new-1": 59000.0, "old-2-other": 59000.0}
    frames = pd.DataFrame(
        [
            {"pair_id": pair, "filter": "r", "mjd_mid": mjd, "time_scale": "utc", "footprint": sky}
            for pair, mjd in pairs.items()
        ]
    )
    objects = pd.DataFrame({"object_id": ["o"], "ra": [10.0], "dec": [0.0]})
    seen = pd.DataFrame({"object_id": ["o"], "pair_id": ["new-1-old-2"], "candidate_id": ["c"], "snr": [9.0]})

    def forced(pair_id, ra, dec):
        return pd.DataFrame({"flux": [1.0], "flux_err": [1.0], "snr": [1.0], "flux_unit": ["count"], "flags": [0]})

    assert light_curves(objects, seen, frames, forced)["pair_id"].tolist() == ["new-1-old-2", "old-2-other"]


def chosen(*rows, **options):
    """Return the selection bits of the one object that detections make."""
    found, objects = associate(pd.DataFrame(rows))
    assert len(objects) == 1
    return Selection(int(select_supernovae(objects, found, **options)["selection"].iloc[0]))


def pair(gap=3.0, **facts):
    return detection("a", 10.0, 0.0, 59000.0, **facts), detection("b", 10.0, 0.0, 59000.0 + gap, **facts)


def test_every_cut_is_a_bit():
    assert chosen(*pair(p_real=0.9)) == Selection(0)
    assert chosen(*pair()) == Selection.NO_P_REAL and is_selected([int(Selection.NO_P_REAL)])[0]
    cases = {
        Selection.LOW_P_REAL | Selection.UNCONFIRMED: pair(p_real=0.1),
        Selection.STELLAR: pair(p_real=1.0, ref_is_star=True, ref_sep_arcsec=0.3),
        Selection.NUCLEAR: pair(p_real=1.0, host_sep_arcsec=0.3),
        Selection.NEGATIVE: pair(p_real=1.0, is_positive=False),
        Selection.INJECTED: pair(p_real=1.0, is_injected=True),
        Selection.SPOILED | Selection.UNCONFIRMED: pair(p_real=1.0, flags=int(Flag.DIPOLE)),
        Selection.BAD_FRAMES: pair(p_real=1.0, frame_flags=int(FrameFlag.SELF_TEST)),
        Selection.SOLAR_SYSTEM: pair(p_real=1.0, ssdistnr=2.0),
        Selection.SINGLE_EPOCH: pair(gap=0.01, p_real=1.0),
    }
    for bits, rows in cases.items():
        assert chosen(*rows) == bits, bits
    assert chosen(*pair(p_real=1.0, ref_is_star=True, ref_sep_arcsec=1.5)) == Selection(0)
    variables = pd.DataFrame({"ra": [10.0001], "dec": [0.0]})
    assert chosen(*pair(p_real=1.0), variables=variables) == Selection.KNOWN_VARIABLE
    moving = [detection(f"m{k}", 10.0 + 0.8 * k / 3600, 0.0, 59000 + k / 24, p_real=1.0) for k in range(6)]
    assert chosen(*moving) == Selection.MOVING
    later = pd.DataFrame({"object_id": associate(pd.DataFrame(pair()[:1]))[1]["object_id"], "mjd_mid": [59005.0],
                          "flux_err": [1.0]})  # fmt: skip
    assert chosen(pair(p_real=1.0)[0], curves=later) == Selection.UNCONFIRMED
    nothing = associate(pd.DataFrame(pair()).iloc[:0])
    assert len(select_supernovae(nothing[1], nothing[0])) == 0


def test_known_bodies_are_met_where_they_are_at_that_time():
    track = pd.DataFrame({"name": ["x"] * 3 + ["y"], "mjd": [59000.0, 59000.2, 59010.0, 59000.1],
                          "ra": [10.0, 10.02, 50.0, 11.0], "dec": [0.0, 0, 0, 0]})  # fmt: skip
    rows = pd.DataFrame(
        {"mjd_mid": [59000.1, 59000.0, 59005.0, None], "ra": [10.01, 10.01, 10.01, 10.0], "dec": [0.0] * 4}
    )
    assert body_distance(rows, track) == pytest.approx([0, 36, np.nan, np.nan], abs=1e-3, nan_ok=True)
    bits = chosen(*pair(p_real=1.0), ephemerides=track.assign(ra=10.0))
    assert bits == Selection.SOLAR_SYSTEM
