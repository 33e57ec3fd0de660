"""From scores to the catalogue: exactly once, in any order, with the same bytes; one star spoils no other."""

import importlib
import json
import shutil
import time
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner
from obstore.exceptions import BaseError as StoreError

from catalogs import schema, write
from catalogs.binaries import Flag, meanings
from catalogs.folder import Folder
from catalogs.known import KnownList
from catalogs.query import query
from pipeline import manifest, stores
from pipeline.errors import Mismatch, Missing, Stale, UsageError
from pipeline.lightcurves import combine, ingest, lineage, plan, preprocess, prevalence, search, trials
from pipeline.lightcurves.ephemeris import Ephemeris
from pipeline.lightcurves.evidence import Calibration
from pipeline.lightcurves.ingest import Ingest
from pipeline.lightcurves.preprocess import Preprocess
from pipeline.lightcurves.vetting import Vetting
from pipeline.manifest import Object, Record
from pipeline.partition import Key, where_sector
from pipeline.run import run
from pipeline.settings import IngestSettings, PreprocessSettings, SystemsSettings
from pipeline.simulate.spoc import write_archive
from pipeline.stage import State
from tests.properties import mutate

MODEL, SHA = "eb-0123abcd", "0123abcd" * 8
CALIBRATION = Calibration(
    prior=0.1, threshold=0.7, low_threshold=0.3, intercept=0, slope=1, constant=0, mean=1, mean_log=0, top=0, top_log=0,
    number=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    """Return a workspace with five stars in sectors 1 and 2, preprocessed."""
    top = tmp_path_factory.mktemp("combine")
    write_archive(top / "archive", [1, 2], 5, seed=6)
    return prepared(top)


def prepared(top):
    """Return a workspace with the light curves of an archive, preprocessed."""
    workspace, archive = Folder(top / "workspace"), Folder(top / "archive")
    settings = IngestSettings()
    for sector, found in plan.find(archive, None, settings.pattern).items():
        for name, change in plan.changes(workspace, sector, plan.inspect(archive, found)).items():
            plan.save(workspace, name, change)
            for stage in (
                Ingest(workspace, archive, name, settings),
                Preprocess(workspace, name, PreprocessSettings(recipe="calnet")),
            ):
                stage.prepare()
                for key in sorted(stage.keys()):
                    stage.execute(key)
    return workspace


@pytest.fixture
def workspace(curves, tmp_path):
    shutil.copytree(curves.root, tmp_path / "workspace")
    return Folder(tmp_path / "workspace")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Stand in for the search of periods, which has tests of its own."""

    def find(star, p_contact):
        if star.tic_id % 5 == 4:
            raise ArithmeticError("no such star")
        nan, epochs = float("nan"), [o.time[0] for o in star.observations]
        count = 0 if star.tic_id % 5 == 3 else 1 + (star.tic_id % 5 == 2)
        return [
            Ephemeris(k + 1, 2.0 + k, 1e-4, "exact", 0.9, nan, epochs[-1], 1e-3, len(epochs), 0, 0.1, 1e-3, nan, nan,
                      3.0, 0.1, nan, nan, nan, nan, 50.0, nan, np.inf)
            for k in range(count)
        ]  # fmt: skip

    monkeypatch.setattr(search, "find", find)
    monkeypatch.setattr(search, "vet", lambda star, one, others: Vetting(1.0, 0.5, 0.09, 0.5, len(others)))


def score(workspace, sectors, chances=(0.9, 0.6, 0.95, 0.2, 0.8)):
    """Commit scores: star number k of a partition has the k-th chance of being an eclipsing binary."""
    for name in [f"s{sector:04d}" for sector in sectors]:
        curves = Key("curves", name, 0)
        source = manifest.read(workspace, "preprocess", curves)
        index = write.read(workspace, preprocess.index_path(curves), schema.SEGMENTS).to_pandas()
        stars = {tic_id: chances[number] for number, tic_id in enumerate(sorted(index["tic_id"].unique()))}
        p = index["tic_id"].map(stars)
        key = f"eclipsing_binary_scores/model={MODEL}/sector={where_sector(name):04d}/part-00000"
        columns = ["sector", "cadence_s", "tic_id", "segment", "t_start", "t_end"]
        origin = {"model_id": MODEL, "model_sha256": SHA, "catalog_release": "r", "stage_version": 1}
        origin |= {"settings_hash": "0", "manifest_key": f"score/{key}"}
        shares = {"p_ea": 0.5 * p, "p_beta": 0.3 * p, "p_ew": 0.2 * p, "p_ell": 0.0, "morph": 0.4, "morph_err": 0.1}
        table = pa.Table.from_pandas(index[columns].assign(score=p, **shares, **origin), preserve_index=False)
        written = Object(*write.write(workspace, f"catalogs/{key}.parquet", table, schema.SCORES))
        upstream = {manifest.path("preprocess", curves): source.identity}
        counts = {str(state): len(index) if state is State.DONE else 0 for state in State}
        manifest.commit(workspace, Record("score", 1, key, {}, "0", upstream, [written], len(index), counts))


def make(workspace, calibration=CALIBRATION, settings=None, listed=(), known=()):
    made = combine.draft(workspace, MODEL, SHA, calibration, settings, listed)
    outcomes = [made.systems.execute(key) for key in made.systems.keys()]  # noqa: SIM118 — no dict
    return made, outcomes, combine.combine(made, known)


def table(workspace, snapshot):
    return write.read(workspace, snapshot.path, schema.STARS).to_pandas(integer_object_nulls=True)


def test_one_row_a_system_with_everything_known_of_the_star(workspace):
    score(workspace, [1, 2])
    made, outcomes, snapshot = make(workspace)
    stars = table(workspace, snapshot)
    assert stars.columns.tolist() == schema.STARS.names
    number = (stars["tic_id"] % 5).tolist()  # of the star: what the stand-ins go by
    assert number == [0, 1, 2, 2, 3, 4] and stars["eb_id"].tolist() == [1, 1, 1, 2, 1, 1]
    assert stars["p_eb"].tolist() == pytest.approx([0.9, 0.6, 0.95, 0.95, 0.2, 0.8])
    assert stars["tier"].tolist() == ["high", "low", "high", "high", "none", "high"]
    assert stars["period"].fillna(0).tolist() == [2.0, 2.0, 2.0, 3.0, 0.0, 0.0]  # 3 is no candidate, 4 fails
    assert sum(outcome.counts["failed"] for outcome in outcomes) == 1 and len(made_stars(made)) == 4
    assert np.allclose(stars["p_ea"] + stars["p_beta"] + stars["p_ew"], stars["p_eb"], rtol=0, atol=1e-12)
    assert stars["odd_even_sigma"].isna().all() and stars["known_in"].isna().all() and stars["is_new"].isna().all()
    first = stars.iloc[0]
    assert list(first["sectors"]) == [1, 2] and list(first["cadence_s"]) == [120.0, 120.0]
    assert first["ref_epoch"] == 2000 and 0.5 < first["duty_cycle"] < 1 and first["p_prior"] == 0.1
    facts = [stores.read(workspace, ingest.store_path(name), _FACTS, slice(0, 1)) for name in ("s0001", "s0002")]
    assert facts[0]["tic_id"][0] == first["tic_id"] and first["pmra"] == facts[1]["pmra"][0]
    assert first["crowdsap_min"] == min(fact["crowdsap"][0] for fact in facts)


_FACTS = ["tic_id", "pmra", "crowdsap"]


def made_stars(made):
    return [star for stars in made.systems._stars.values() for star in stars]


def test_sectors_in_any_order_or_at_once_give_the_same_bytes(workspace, tmp_path):
    tables = []
    for order in ([[1, 2]], [[1], [2]], [[2], [1]]):
        copy = Folder(tmp_path / f"copy-{len(tables)}")
        shutil.copytree(workspace.root, copy.root)
        for sectors in order:
            score(copy, sectors)
            *_, snapshot = make(copy)
        tables.append(copy.read(snapshot.path))
        assert snapshot.number == len(order)
    assert tables[0] == tables[1] == tables[2]


def test_a_new_sector_makes_new_systems_beside_the_old(workspace):
    score(workspace, [1])
    first, _, before = make(workspace)
    old = {key: workspace.read(search.path(key)) for key in first.systems.keys()}  # noqa: SIM118 — no dict
    data = workspace.read(before.path)
    score(workspace, [2])
    second, outcomes, after = make(workspace)
    assert not set(first.systems.keys()) & set(second.systems.keys())
    assert all(workspace.read(search.path(key)) == data for key, data in old.items())
    assert workspace.read(before.path) == data and after.number == 2 and not any(o.skipped for o in outcomes)
    _, outcomes, again = make(workspace)
    assert all(outcome.skipped for outcome in outcomes) and again == after


def test_a_kill_between_systems_and_the_catalogue_is_harmless(workspace, tmp_path):
    score(workspace, [1, 2])
    calm = Folder(tmp_path / "calm")
    shutil.copytree(workspace.root, calm.root)
    *_, snapshot = make(calm)
    made = combine.draft(workspace, MODEL, SHA, CALIBRATION)
    keys = made.systems.keys()
    made.systems.execute(keys[0])
    with pytest.raises(Missing, match="no systems of systems/model=eb-0123abcd/inputs="):
        combine.combine(made)
    *_, again = make(workspace)
    assert again == snapshot and workspace.read(again.path) == calm.read(snapshot.path)
    workspace.remove(manifest.path("combine", f"eclipsing_binaries/model={MODEL}/release={again.release}"))
    *_, third = make(workspace)
    assert third == again and [entry.path for entry in workspace.list("catalogs/eclipsing_binaries")] == [again.path]


def test_a_star_that_fails_is_one_outcome_and_is_told(workspace, monkeypatch):
    score(workspace, [1, 2], chances=(0.9,) * 5)
    made, _, snapshot = make(workspace)
    combine.publish(workspace, snapshot)
    state = lineage.systems(workspace)
    assert state.counts["failed"] == 1 and state.counts["nothing"] == 1 and state.counts["done"] == 3
    assert sum(state.counts[str(one)] for one in State) == 5 == len(made_stars(made))
    assert state.outcomes["message"].dropna().tolist().count("ArithmeticError: no such star") == 1
    assert len(state.outcomes) == 5 and len(lineage.systems(workspace, [State.NOTHING]).outcomes) == 1
    shown = CliRunner().invoke(importlib.import_module("jobs.status").main, ["--workspace", workspace.root])
    assert "ephemerides of the catalogue: " in shown.output and "1 failed" in shown.output
    stars = table(workspace, snapshot)
    failed = stars[stars["tic_id"] % 5 == 4].iloc[0]
    assert pd.isna(failed["period"]) and failed["tier"] == "high"
    told = lineage.explain(workspace, int(failed["tic_id"]))
    assert told["systems"]["state"] == "failed" and told["systems"]["ephemerides"] == []
    good = int(stars.loc[stars["tic_id"] % 5 == 2, "tic_id"].iloc[0])
    told = lineage.explain(workspace, good)
    assert [one["eb_id"] for one in told["systems"]["ephemerides"]] == [1, 2] and told["systems"]["message"] is None
    assert json.dumps(told, allow_nan=False) and "neither in this workspace" in told["model"]["card"]
    workspace.write("shipped/eb/0123abcd/card.json", b'{"recipe": "robust"}')
    monkeypatch.setattr("pipeline.lineage._SHIPPED", workspace.child("shipped"))
    model = lineage.explain(workspace, good)["model"]
    assert model["card"] == "models/weights/eb/0123abcd/card.json" and model["recipe"] == "robust"


@pytest.mark.parametrize("error", [OSError(5, "I/O error"), StoreError("no bucket"), MemoryError()])
def test_what_is_the_machines_fault_is_committed_for_no_star(workspace, monkeypatch, error):
    score(workspace, [1], chances=(0.9,) * 5)
    made = combine.draft(workspace, MODEL, SHA, CALIBRATION)
    with monkeypatch.context() as patch:

        def load(workspace, sources):
            raise error

        patch.setattr(search, "load", load)
        for key in made.systems.keys():  # noqa: SIM118 — no dict
            with pytest.raises(type(error)):
                made.systems.execute(key)
    assert not manifest.committed(workspace, "systems")
    assert len(make(workspace)[1]) == len(made.systems.keys())


def test_systems_that_failed_are_looked_for_again_where_that_is_asked_for(workspace, monkeypatch):
    score(workspace, [1], chances=(0.9,) * 5)
    make(workspace)
    before = set(manifest.committed(workspace, "systems"))
    score(workspace, [2], chances=(0.9,) * 5)
    combine.discard(workspace, MODEL, ["s0002"])
    assert set(manifest.committed(workspace, "systems")) == before  # they rest on sector 1 alone
    assert sum(outcome.counts["failed"] for outcome in make(workspace)[1]) == 1
    prevalence.move(workspace, MODEL, 0.01, CALIBRATION.low_threshold)
    combine.discard(workspace, MODEL, ["s0001", "s0002"])
    assert set(manifest.committed(workspace, "systems")) == before  # on which the older catalogue rests
    monkeypatch.setattr(search, "find", lambda star, p_contact: [])
    outcomes = make(workspace)[1]
    assert not any(outcome.skipped or outcome.counts["failed"] for outcome in outcomes)


def test_candidates_are_those_above_a_probability_and_those_listed(workspace):
    score(workspace, [1])
    everyone = combine.draft(workspace, MODEL, SHA, CALIBRATION, SystemsSettings(min_p=0.0))
    assert len(made_stars(everyone)) == 5 and {star.p_contact for star in made_stars(everyone)} == {0.2}
    low = set(everyone.stars.loc[everyone.stars["tier"] == "none", "tic_id"])
    usual = {star.tic_id for star in made_stars(combine.draft(workspace, MODEL, SHA, CALIBRATION))}
    assert len(low) == 1 and not low & usual
    listed = combine.draft(workspace, MODEL, SHA, CALIBRATION, listed=[*low, 77])
    assert {star.tic_id for star in made_stars(listed)} == usual | low and listed.unscored == (77,)


def test_light_curves_that_change_meanwhile_are_refused(workspace):
    score(workspace, [1])
    made = combine.draft(workspace, MODEL, SHA, CALIBRATION)
    path = manifest.path("ingest", "lightcurves/s0001/part-00000")
    workspace.write(path, workspace.read(path).replace(b'"rows": 5', b'"rows": 6'))
    with pytest.raises(Stale, match="has changed while its stars were scored"):
        made.systems.execute(made.systems.keys()[0])


def test_known_lists_say_what_is_new(workspace):
    score(workspace, [1])
    *_, plain = make(workspace)
    tics = sorted(set(table(workspace, plain)["tic_id"]))
    frame = {"tic_id": pd.array(tics[:2], "Int64"), "ra": np.nan, "dec": np.nan, "klass": ["EA", "ELL"]}
    one = KnownList("prsa2022", pd.DataFrame(frame | {"period": np.nan, "morph": np.nan}))
    other = KnownList("more", one.stars.iloc[:1])
    *_, listed = make(workspace, known=[one, other])
    made, _, same = make(workspace, known=[other, one])
    assert combine.forgotten(made, [one, other]) is None
    said = f"known lists of snapshot {listed.number} (more, prsa2022) are not used this time: give --known again"
    assert combine.forgotten(made, ()) == said and "(more)" in str(combine.forgotten(made, [one]))
    stars = table(workspace, listed).drop_duplicates("tic_id").set_index("tic_id")
    assert same == listed and listed.number == plain.number + 1
    assert stars.loc[tics[0], "known_in"] == "more; prsa2022" and stars["is_new"].sum() == 3
    assert stars["is_new"].isna().equals(stars["tier"] == "none") and stars["is_new"].isna().sum() == 1
    assert stars.loc[tics[1], "known_in"] == "prsa2022: ELL" and pd.isna(stars.loc[tics[2], "known_in"])


def test_an_odd_header_spoils_neither_partition_nor_catalogue(tmp_path):
    write_archive(tmp_path / "archive", [1], 5, seed=6)
    path = sorted((tmp_path / "archive").rglob("*.fits"))[0]
    data = path.read_bytes()
    for card, value in (
        ("TESSMAG", "99.0"),
        ("TEFF", "-1"),
        ("RADIUS", "-9E9"),
        ("CROWDSAP", "-0.5"),
        ("PMRA", "1E39"),
    ):
        changed = mutate.set_card(data, card, value)
        assert changed != data, card
        data = changed
    path.write_bytes(data)
    workspace = prepared(tmp_path)
    score(workspace, [1])
    stars = table(workspace, make(workspace)[2]).set_index("tic_id")
    outcomes = write.read(workspace, "outcomes/ingest/s0001/part-00000.parquet").to_pandas()
    odd = outcomes.set_index("input").loc[path.relative_to(tmp_path / "archive").as_posix()]
    assert odd["state"] == "done" and "TESSMAG 99 is not from -5 to 40, and taken as unknown; TEFF" in odd["message"]
    tic_id = min(stars.index)
    unknown = ["tmag", "teff", "radius", "crowdsap_min", "pmra"]
    assert stars.loc[tic_id, unknown].isna().all() and stars.drop(tic_id)[unknown].notna().all(axis=None)


def test_blends_are_flagged_but_at_their_source(workspace, monkeypatch):
    score(workspace, [1], chances=(0.9,) * 5)

    def blend_groups(rows):
        first = rows["tic_id"].min()
        return pd.DataFrame({"blend_group": first, "source_tic_id": first}, index=rows.index, dtype="Int64")

    monkeypatch.setattr(combine, "blend_groups", blend_groups)
    *_, snapshot = make(workspace)
    stars = table(workspace, snapshot)
    found = stars[stars["period"].notna()]
    source = found["tic_id"].min()
    assert (found["source_tic_id"] == source).all() and stars.loc[stars["period"].isna(), "flags"].isna().all()
    flagged = found["flags"].astype(int) & int(Flag.BLENDED) > 0
    assert (flagged == (found["tic_id"] != source)).all() and flagged.any()


def test_a_catalogue_is_moved_to_another_prior_and_back(workspace):
    score(workspace, [1])
    *_, base = make(workspace)
    before = table(workspace, base)
    moved = prevalence.move(workspace, MODEL, 0.01, CALIBRATION.low_threshold)
    after = table(workspace, moved.after)
    assert set(after["p_prior"]) == {0.01} and (after["p_eb"] < before["p_eb"]).all()
    assert np.allclose(after["p_ea"] + after["p_beta"] + after["p_ew"], after["p_eb"])
    odds = before["p_eb"] / (1 - before["p_eb"]) * (0.01 / 0.99) / (0.1 / 0.9)
    assert np.allclose(after["p_eb"], odds / (1 + odds))
    rest = after.columns.difference(["p_eb", "p_prior", "tier", "p_ea", "p_beta", "p_ew", "p_ell", *PROVENANCE])
    pd.testing.assert_frame_equal(after[rest], before[rest])
    assert sum(moved.tiers.values()) == 5 and moved.tiers.get(("high", "high"), 0) < (before["tier"] == "high").sum()
    assert prevalence.move(workspace, MODEL, 0.01, CALIBRATION.low_threshold).after == moved.after
    assert prevalence.move(workspace, MODEL, 0.1, CALIBRATION.low_threshold).after == base
    more = prevalence.move(workspace, MODEL, 0.9, CALIBRATION.low_threshold)
    assert more.without == 1 and more.prior_before == 0.1
    assert lineage.explain(workspace, int(after["tic_id"][0]))["row"] is None  # nothing was published
    with pytest.raises(UsageError, match="not a share"):
        prevalence.move(workspace, MODEL, 1.0, 0.3)


PROVENANCE = [column.name for column in schema.PROVENANCE]


def test_every_way_to_ask_tells_the_catalogue_that_was_made_last(workspace):
    score(workspace, [1], chances=(0.9, 0.6, 0.95, 0.05, 0.8))
    card = {"weights_sha256": SHA, "calibration": CALIBRATION.model_dump()}
    workspace.write("models/eb/0123abcd/card.json", json.dumps(card).encode())
    promote = importlib.import_module("jobs.promote").main
    for prior, path in ((0.1, "score"), (0.01, "recalibrate"), (0.1, "score"), (0.01, "recalibrate"), (0.1, "score")):
        if path == "score":
            *_, made = make(workspace)
        else:
            made = prevalence.move(workspace, MODEL, prior, CALIBRATION.low_threshold).after
        time.sleep(0.002)
        now = datetime.now(UTC)
        combine.publish(workspace, made)
        for asked in ({}, {"model": MODEL}, {"as_of": now}, {"as_of": made.number}, {"as_of": made.release}):
            assert set(query(workspace, **asked)["p_prior"]) == {prior}, asked
        workspace.remove(combine.CURRENT)
        assert CliRunner().invoke(promote, ["--workspace", workspace.root, f"eb@{MODEL}"]).exit_code == 0
        assert workspace.read(combine.CURRENT) == workspace.read(made.path)
        again = prevalence.move(workspace, MODEL, prior, CALIBRATION.low_threshold)
        assert again.prior_before == prior and again.before == again.after == made
        assert trials.survey(workspace, MODEL, None, 1.0).stars["p_eb"].max() == pytest.approx(0.95)
    assert [one.number for one in combine.snapshots(workspace, MODEL)] == [1, 2]
    assert len(workspace.list("manifest/again")) == 3
    score(workspace, [2])
    *_, third = make(workspace)
    assert third.number == 3 and set(query(workspace, model=MODEL)["catalog_release"]) == {third.release}


def test_a_moved_catalogue_is_of_the_same_stage_and_asks_anew_who_is_new(workspace):
    score(workspace, [1])
    frame = {"tic_id": pd.array([1], "Int64"), "ra": np.nan, "dec": np.nan, "klass": "EA", "period": 1.0, "morph": 0.5}
    *_, base = make(workspace, known=[KnownList("one", pd.DataFrame(frame))])
    for prior, unlikely in ((0.9, 0), (0.1, 1), (0.001, 5)):
        moved = prevalence.move(workspace, MODEL, prior, CALIBRATION.low_threshold)
        stars = table(workspace, moved.after)
        record = manifest.read(workspace, *stars["manifest_key"][0].split("/", 1))
        assert set(stars["stage_version"]) == {record.version} == set(table(workspace, base)["stage_version"])
        assert stars["is_new"].isna().equals(stars["tier"] == "none")
        assert stars.loc[stars["tier"] == "none", "tic_id"].nunique() == unlikely


def test_without_a_calibration_there_is_no_prior_to_move(workspace):
    score(workspace, [1])
    *_, snapshot = make(workspace, calibration=None)
    assert table(workspace, snapshot)["p_prior"].isna().all()
    with pytest.raises(Mismatch, match="not calibrated"):
        prevalence.move(workspace, MODEL, 0.1, 0.3)


def test_the_catalogue_says_what_every_flag_means():
    assert [int(flag) for flag in Flag] == [1 << bit for bit in range(11)]
    assert meanings(4 | 1) == [Flag.ODD_EVEN.text, Flag.CENTROID_SHIFT.text]
    assert all(f"{int(flag)} {flag.text}" in schema.STARS["flags"].meaning for flag in Flag)
    assert "tier high, none of 2, 4, 8, 64, 256, 1024, and 16 only with 32" in schema.STARS["flags"].meaning


def test_recalibrate_says_what_changed_and_publishes(workspace):
    score(workspace, [1])
    *_, base = make(workspace)
    combine.publish(workspace, base)
    card = {"weights_sha256": SHA, "calibration": CALIBRATION.model_dump()}
    workspace.write("models/eb/0123abcd/card.json", json.dumps(card).encode())
    workspace.write("models/eb/aliases.json", json.dumps({"production": MODEL}).encode())
    job = importlib.import_module("jobs.recalibrate").main
    arguments = ["--workspace", workspace.root, "--model", "eb", "--prevalence"]
    result = CliRunner().invoke(job, [*arguments, "0.9"])
    assert result.exit_code == 0, result.output
    assert "p_prior 0.1 → 0.9" in result.output and "tier low → high: 1 stars" in result.output
    assert "1 of them have no ephemeris" in result.output
    assert set(pd.read_parquet(workspace.url(combine.CURRENT))["p_prior"]) == {0.9}
    told = lineage.explain(workspace, int(pd.read_parquet(workspace.url(combine.CURRENT))["tic_id"][0]))
    assert told["systems"]["state"] == "done" and lineage.systems(workspace).counts["committed"] == 4
    assert "p_prior 0.9 → 0.1" in CliRunner().invoke(job, [*arguments, "0.1"]).output
    assert "p_prior 0.1 → 0.1" in CliRunner().invoke(job, [*arguments, "0.1"]).output
    assert workspace.read(combine.CURRENT) == workspace.read(base.path)
    assert CliRunner().invoke(job, [*arguments, "7"]).exit_code == 2


@pytest.mark.slow
def test_dask_finds_systems_as_well(dask_client, workspace, monkeypatch):
    monkeypatch.undo()
    score(workspace, [1], chances=(0.9,) * 5)
    made = combine.draft(workspace, MODEL, SHA, CALIBRATION)
    report = run(made.systems, dask_client)
    assert report.exit_status == 0 and report.counts["done"] + report.counts["nothing"] == 5
    stars = table(workspace, combine.combine(made))
    assert stars["tic_id"].nunique() == 5 and stars["period"].notna().sum() == report.rows > 0
