"""Trials on a small workspace: as the catalogue's own stars, exactly once, the same bytes; deep ones are found."""

import shutil
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import nn

from catalogs import schema, write
from catalogs.folder import Folder
from catalogs.recovery import COMPLETENESS, INJECTIONS, RELIABILITY
from models import completeness, eb, injections, spec
from models.data import side
from models.injections import Injections
from models.registry import Registry
from models.score import Score
from pipeline import manifest
from pipeline.errors import Missing, UsageError
from pipeline.lightcurves import combine, page, plan, recovery, scored, trials
from pipeline.lightcurves.ephemeris import Ephemeris
from pipeline.lightcurves.evidence import Calibration
from pipeline.lightcurves.ingest import Ingest
from pipeline.lightcurves.labelled import Labelled
from pipeline.lightcurves.preprocess import Preprocess
from pipeline.lightcurves.star import Observation, StarCurves, load
from pipeline.lightcurves.trials import survey
from pipeline.lightcurves.views import FACTS
from pipeline.partition import Key
from pipeline.settings import CompletenessSettings, IngestSettings, PreprocessSettings, ScoreSettings, TrainSettings
from pipeline.simulate.lightcurves import observe
from pipeline.simulate.spoc import archive_path, write_spoc
from pipeline.simulate.stars import draw_star, simulated_tic_id

CADENCE, SEED, PART = 1800.0, 21, 8
SETTINGS = CompletenessSettings(
    runtime="torch", precision="fp32", injections=24, inverted=8, variables=8, seed=3, quiet_power=0.5
)
CALIBRATION = Calibration(
    prior=0.03, threshold=0.5, low_threshold=0.1, intercept=0, slope=1, constant=0, mean=1, mean_log=0, top=0,
    top_log=0, number=0,
)  # fmt: skip


class Sharp(nn.Module):
    """Stand in for a trained network: an EA is what has a significant box, an EW what has a strong sine."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(len(FACTS), len(eb.CLASSES) + 2)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.bias.copy_(torch.tensor([0.0, -9.0, -18.0, -9.0, -9.0, 0.5, -2.0]))
            self.head.weight[eb.CLASSES.index("EA"), FACTS.index("log_box_snr")] = 12.0  # half at 30 sigma
            self.head.weight[eb.CLASSES.index("EW"), FACTS.index("sine_power")] = 15.0

    def forward(self, facts):
        return self.head(facts)


TRIVIAL = replace(
    spec.SPECS["eb"], name="trivial", network=Sharp, inputs={"facts": (len(FACTS),)}, augment=None, training={}
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(spec.SPECS, "trivial", TRIVIAL)
    monkeypatch.setattr(injections, "TRIALS", PART)
    # The search of periods has tests of its own.
    nan = float("nan")
    blank = dict.fromkeys([field.name for field in fields(Ephemeris)], nan)
    found = Ephemeris(**blank | {"eb_id": 1, "period": 1.5, "depth_1": 0.05, "period_flag": "exact"})
    monkeypatch.setattr(injections, "find", lambda star, p_contact: [found])


@pytest.fixture(scope="module")
def catalogued(tmp_path_factory):
    """Return a workspace with ten quiet stars and four binaries in sectors 1 and 2, scored and combined."""
    top = tmp_path_factory.mktemp("trials")
    kinds = [["QUIET"]] * 10 + [["EA"]] * 4
    for number, kind in enumerate(kinds):
        star = draw_star(simulated_tic_id(number, SEED), SEED, kinds=kind)
        star = replace(star, tmag=8.5 + 0.5 * number)
        for sector in (1, 2):
            curve = observe(star, sector, SEED, CADENCE)
            write_spoc(top / "archive" / archive_path(curve), curve)
    workspace, archive, settings = Folder(top / "workspace"), Folder(top / "archive"), IngestSettings()
    names = []
    for sector, found in plan.find(archive, None, settings.pattern).items():
        for name, change in plan.changes(workspace, sector, plan.inspect(archive, found)).items():
            plan.save(workspace, name, change)
            names.append(name)
            for stage in (
                Ingest(workspace, archive, name, settings),
                Preprocess(workspace, name, PreprocessSettings(recipe="robust")),
            ):
                execute(stage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(spec.SPECS, "trivial", TRIVIAL)
        registry = Registry(workspace)
        card = {"calibration": CALIBRATION.model_dump(mode="json")}
        registry.set_alias("trivial", "production", registry.save("trivial", Sharp().state_dict(), card, {}))
        entry = registry.resolve("trivial")
        execute(Score(workspace, entry, names, ScoreSettings(runtime="torch"), "cpu"))
    made = combine.draft(workspace, entry.id, entry.sha256, CALIBRATION)
    execute(made.systems)
    combine.publish(workspace, combine.combine(made))
    return workspace, entry


def execute(stage):
    stage.prepare()
    return [stage.execute(key) for key in stage.keys()]  # noqa: SIM118 — no dict


@pytest.fixture
def workspace(catalogued, tmp_path):
    shutil.copytree(catalogued[0].root, tmp_path / "workspace")
    return Folder(tmp_path / "workspace")


def stage_of(workspace, entry, settings=SETTINGS, labelled=None):
    return Injections(
        workspace, entry, survey(workspace, entry.id, None, settings.quiet_power), settings, labelled, "cpu"
    )


def read(workspace, stage):
    tables = [write.read(workspace, recovery.trials_path(key), INJECTIONS) for key in stage.keys()]  # noqa: SIM118
    return pa.concat_tables(tables).to_pandas()


def test_trials_on_quiet_stars_give_tables_that_the_catalogue_carries(catalogued, workspace):
    entry = catalogued[1]
    stage = stage_of(workspace, entry)
    counts = execute(stage)
    assert sum(one.counts["done"] for one in counts) == 24 + 8 + 8
    rows = read(workspace, stage)
    assert rows["sort"].value_counts().to_dict() == {"injected": 24, "inverted": 8, "simulated": 8}
    sky = survey(workspace, entry.id, None, SETTINGS.quiet_power)
    assert rows.loc[rows["sort"] != "inverted", "tic_id"].isin(sky.quiet).all()
    asked = SETTINGS.model_copy(update={"injections": 24, "inverted": 9, "variables": 7})
    notes = completeness._unlike(asked, stage.counts)
    assert notes == ["8 trials inverted for 9 (all there are)", "8 trials simulated for 7 (rounded up)"]
    tables = recovery.Tables(workspace, entry.id, sky, stage.keys(), SETTINGS)
    assert tables.replace().rows == 40 and tables.replace().skipped
    assert len(write.read(workspace, recovery.path(entry.id, COMPLETENESS), COMPLETENESS)) == 7 * 8 * 7
    write.read(workspace, recovery.path(entry.id, RELIABILITY), RELIABILITY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recovery.Tables, "version", recovery.Tables.version + 1)
        assert recovery.read(workspace, entry.id) is None
    before = combine.snapshots(workspace, entry.id)
    made = combine.draft(workspace, entry.id, entry.sha256, CALIBRATION)
    after = combine.combine(made)
    assert after.number == len(before) + 1
    record = manifest.read(workspace, "combine", f"eclipsing_binaries/model={entry.id}/release={after.release}")
    assert any("/completeness/" in name for name in record.upstream)
    again = recovery.Tables(workspace, entry.id, survey(workspace, entry.id, None, 0.5), stage.keys(), SETTINGS)
    assert again.replace().skipped and combine.combine(made) == after
    combine.publish(workspace, after)
    stars = write.read(workspace, after.path, schema.STARS).to_pandas()
    known = stars["period"].notna() & (stars["tier"] != "none")
    assert known.any() and stars.loc[~known & stars["period"].isna(), "completeness"].isna().all()
    assert stars["reliability"].isna().all()  # eight trials of a sort say nothing
    page.write_report(workspace)
    assert "What is found, and what is false" in workspace.read(page.PATH).decode()


def test_stars_on_a_published_list_are_not_quiet(catalogued):
    workspace, entry = catalogued
    every = survey(workspace, entry.id, None, SETTINGS.quiet_power)
    whole, planet = write.read, int(every.quiet[0])

    def listed(folder, path, table):
        rows = whole(folder, path, table)
        if table is not schema.STARS:
            return rows
        names = ["a list: PLANET" if star == planet else None for star in rows["tic_id"].to_pylist()]
        return rows.set_column(rows.column_names.index("known_in"), "known_in", pa.array(names, pa.string()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "read", listed)
        some = survey(workspace, entry.id, None, SETTINGS.quiet_power)
    assert some.quiet.tolist() == every.quiet[1:].tolist() and len(some.stars) == len(every.stars)


def test_of_some_sectors_found_and_possible_are_of_the_same_stars(catalogued, workspace):
    entry = catalogued[1]
    every = survey(workspace, entry.id, None, SETTINGS.quiet_power)
    # As of a catalogue of which only every other star was observed in sector 1.
    kept = set(every.stars["tic_id"][::2])
    whole = scored.rows

    def rows(*args):
        found = whole(*args)
        return found[(found["sector"] == 2) | found["tic_id"].isin(kept)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scored, "rows", rows)
        some = survey(workspace, entry.id, [1], SETTINGS.quiet_power)
    assert set(some.systems["tic_id"]) == set(some.stars["tic_id"]) == kept and some.sectors == [1]
    assert set(every.systems["tic_id"]) == set(every.stars["tic_id"]) and every.sectors == [1, 2]
    made = [Injections(workspace, entry, sky, SETTINGS, None, "cpu") for sky in (every, some)]
    assert not set(made[0].keys()) & set(made[1].keys())
    tables = recovery.Tables(workspace, entry.id, some, [], SETTINGS)
    tables.replace()
    assert manifest.read(workspace, "completeness", tables.keys()[0]).details == {"sectors": [1]}


def test_deep_eclipses_of_bright_stars_are_found_and_lost_ones_are_not(catalogued, monkeypatch):
    workspace, entry = catalogued
    stage = stage_of(workspace, entry)
    depths = [0.3, 0.4, 0.2, 2e-6, 1e-6, 1e-6]
    drawn = [one for one in map(injections.draw_injection, range(25), [9] * 25) if one.klass == "EA"]

    def draw(number, seed):
        depth = depths[number]
        own = next(one for one in drawn if one.depth / one.share > depth and 0.6 < one.period < 6)
        ratio = depth / own.depth
        return replace(own, share=own.share * ratio, depth=depth, depth_2=own.depth_2 * ratio)

    monkeypatch.setattr(injections, "draw_injection", draw)
    bright = [star for star in survey(workspace, entry.id, None, 0.5).quiet if stage._tmag[star] < 11.1]
    stage._stars["injected"] = (bright * 3)[:6]
    rows = pd.DataFrame(stage._judge("injected", {n: stage._made("injected", n) for n in range(6)}, {}))
    assert rows["tier"].tolist() == ["high"] * 3 + ["none"] * 3
    assert (rows["snr"][:3] > 100).all() and (rows["snr"][3:] < 3).all() and (rows["n_eclipses"] > 0).all()


def test_what_nothing_is_put_into_gets_the_catalogues_own_probability(catalogued, monkeypatch):
    workspace, entry = catalogued
    monkeypatch.setattr(trials, "inject", lambda star, light: star)
    stage = stage_of(workspace, entry)
    rows = pd.DataFrame(stage._judge("injected", {n: stage._made("injected", n) for n in range(8)}, {}))
    stars = write.read(workspace, combine.CURRENT, schema.STARS).to_pandas().drop_duplicates("tic_id")
    own = stars.set_index("tic_id").loc[rows["tic_id"]]
    np.testing.assert_allclose(rows["p_eb"], own["p_eb"], atol=1e-9)
    assert all(list(a) == list(b) for a, b in zip(rows["sectors"], own["sectors"], strict=True))


def test_killed_and_run_again_the_bytes_are_the_same_and_more_trials_change_none(catalogued, workspace):
    entry = catalogued[1]
    stage = stage_of(workspace, entry)
    keys = stage.keys()
    stage.execute(keys[0])
    first = workspace.read(recovery.trials_path(keys[0]))
    manifest.discard(workspace, "injections", keys[0])  # as if killed before the commit
    workspace.write(recovery.trials_path(keys[0]), first[:100])
    fresh = stage_of(workspace, entry, SETTINGS.model_copy(update={"injections": 40}))
    assert set(keys) < set(fresh.keys())
    assert not fresh.execute(keys[0]).skipped and workspace.read(recovery.trials_path(keys[0])) == first
    assert stage.execute(keys[0]).skipped


def test_upside_down_means_two_less_the_relative_flux(catalogued):
    workspace, entry = catalogued
    sky = survey(workspace, entry.id, None, 0.5)
    star = load(workspace, sky.sources([int(sky.others[0])])[int(sky.others[0])].sources)
    for one, turned in zip(star.observations, trials.invert(star).observations, strict=True):
        good = (one.quality == 0) & np.isfinite(one.flux)
        median = np.median(one.flux[good])
        left = good & np.isfinite(turned.flux)
        assert left.sum() > 0.95 * good.sum()
        np.testing.assert_allclose(turned.flux[left] / median, 2 - one.flux[left] / median)


def test_flares_are_not_turned_into_dips():
    time, rng = np.arange(0, 20, 120 / 86400), np.random.default_rng(0)
    flux = 1000 * (1 + rng.normal(0, 1e-3, time.size))
    since = (time - 10) * 86400 / 900
    bump = 50 * np.exp(-(((time - 5) * 24) ** 2))  # as slow up as down: no flare
    flaring = flux + bump + 200 * np.where(since < 0, 0, np.exp(-np.maximum(since, 0)))
    seen = Observation(1, 120.0, time, flaring, np.full(time.size, 1.0), np.zeros(time.size, np.int32))
    (turned,) = trials.invert(StarCurves(1, (seen,))).observations
    lost = np.isnan(turned.flux)
    assert np.nanmin(turned.flux[np.abs(time - 10) < 1]) > 994 and lost.sum() < 120
    assert np.nanmin(turned.flux[np.abs(time - 5) < 0.1]) < 955


def test_labelled_stars_that_vary_are_tried_and_no_others(catalogued, tmp_path):
    workspace, entry = catalogued
    time = 1400 + np.arange(0, 26, CADENCE / 86400)
    flux = 1000 * (1 + 0.05 * np.sin(2 * np.pi * time / 0.7))
    columns = {"time": time, "flux": flux, "quality": np.zeros(time.size, int), "sector": 14}
    stars = [columns | {"tic_id": n, "label": label}
             for n, label in enumerate(["DSCT", "NONVAR", "EB:EW", "GDOR?", "RRL_or_DSCT"])]  # fmt: skip
    file = tmp_path / "labelled.parquet"
    pd.DataFrame(stars).to_parquet(file)
    stage = stage_of(workspace, entry, labelled=Labelled(file))
    (key,) = (key for key in stage.keys() if key.where.endswith("labelled"))  # noqa: SIM118
    stage.execute(key)
    rows = write.read(workspace, recovery.trials_path(key), INJECTIONS).to_pandas()
    assert rows["kind"].tolist() == ["DSCT", "RRL_or_DSCT"] and list(rows["sectors"][0]) == [14]
    assert (rows["klass_found"][rows["tier"] == "high"] == "EW").all()
    file.rename(tmp_path / "renamed.parquet")
    assert stage_of(workspace, entry, labelled=Labelled(tmp_path / "renamed.parquet")).execute(key).skipped


def test_labelled_stars_that_the_model_learnt_from_are_left_out(workspace, catalogued, tmp_path):
    file, stars = tmp_path / "labelled.parquet", range(400)
    empty = {"label": "DSCT", "time": [], "flux": [], "quality": []}
    pd.DataFrame([empty | {"tic_id": star} for star in stars]).to_parquet(file)
    simulated = {"sets": [{"simulated_with_seed": 7}]}
    first = {"settings": TrainSettings(seed=1).model_dump(), "data": simulated}
    last = {"settings": TrainSettings(start_from="eb-00000000").model_dump(), "rehearsal": first}
    entry = replace(catalogued[1], card=last | {"data": {"sets": [*simulated["sets"], {"file": "x"}]}})
    found = completeness._held_out(workspace, entry, str(file))
    assert found.tic_ids == [star for star in stars if side(star, TrainSettings()) != "train"]
    assert len(completeness._held_out(workspace, replace(entry, card=first), str(file))) == 400  # it saw no real star
    with pytest.raises(UsageError, match="does not say how it was trained"):
        completeness._held_out(workspace, catalogued[1], str(file))


def test_one_trial_that_fails_spoils_no_other(catalogued, workspace, monkeypatch):
    stage = stage_of(workspace, catalogued[1])
    draw = injections.draw_variable

    def broken(number, seed):
        if number == 3:
            raise ArithmeticError("no such star")
        return draw(number, seed)

    monkeypatch.setattr(injections, "draw_variable", broken)
    (key,) = (key for key in stage.keys() if key.where.endswith("simulated"))  # noqa: SIM118
    outcome = stage.execute(key)
    assert outcome.counts["failed"] == 1 and outcome.rows == PART - 1


def test_what_cannot_be_tried_is_refused(catalogued, workspace):
    entry = catalogued[1]
    with pytest.raises(Missing, match="run score_sectors"):
        survey(Folder(workspace.url("nothing")), entry.id, None, 0.5)
    with pytest.raises(Missing, match="quiet_power"):
        survey(workspace, entry.id, [3], 0.5)
    stage = stage_of(workspace, entry)
    manifest.discard(workspace, "ingest", str(Key("lightcurves", "s0001-ffi1800", 0)))
    with pytest.raises(Missing, match="lightcurves/s0001-ffi1800"):
        stage.execute(stage.keys()[0])


@pytest.mark.slow
def test_one_call_on_ray_measures_a_model(ray_cluster, workspace):
    torch.manual_seed(0)
    registry, shy = Registry(workspace), CALIBRATION.model_copy(update={"constant": -20.0})
    card = {"calibration": shy.model_dump(mode="json")}
    registry.set_alias("eb", "production", registry.save("eb", eb.EBNet().state_dict(), card, {}))
    entry = registry.resolve("eb")
    execute(Score(workspace, entry, ["s0001-ffi1800"], ScoreSettings(runtime="torch"), "cpu"))
    made = combine.draft(workspace, entry.id, entry.sha256, shy)
    combine.combine(made)
    settings = SETTINGS.model_copy(update={"injections": 64, "inverted": 0, "variables": 0, "quiet_power": 1.0})
    first, last = completeness.measure(workspace, "eb", None, settings, None, (2, 0.0))
    assert first.exit_status == last.exit_status == 0 and first.rows == last.rows == 64
    assert any(note.startswith("injected EA: tier high 0 of ") for note in last.notes)
    again, same = completeness.measure(workspace, "eb", None, settings, None, (2, 0.0))
    assert again.skipped == again.partitions and same.skipped == 1
    assert combine.combine(made).number == 2
