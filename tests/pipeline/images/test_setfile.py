"""Sets by description: which sources, whose labels, what is cut; nothing of unknown label gets in."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from catalogs import write
from catalogs.candidates import CANDIDATES
from catalogs.folder import Folder
from catalogs.triplets import TRIPLETS
from pipeline import stores
from pipeline.errors import Mismatch, Missing, UsageError
from pipeline.images import degraded, triplets, verdicts
from pipeline.images.difference import DIFFERENCE, part_path
from pipeline.images.gathered import Gathered
from pipeline.images.setfile import load
from pipeline.images.training import CandidateSet, index_path, store_path
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import Settings
from pipeline.simulate.fields import draw
from pipeline.simulate.nights import described, draw_night
from pipeline.stage import InputOutcome, Product, Stage, State

ALERTS = "ztf_alerts_triplets.parquet"


class Differenced(Stage):
    """Commits candidates and triplets as differencing does."""

    name, version = DIFFERENCE, 1

    def __init__(self, workspace, table, pixels):
        super().__init__(workspace, Settings())
        self.table, self.pixels = table, pixels

    def keys(self):
        return [Key("differences", "a.b", 0)]

    def upstream(self, key):
        return {}

    def inputs(self, key):
        return ["a.b band 0"]

    def prepare(self):
        stores.create(self.workspace, triplets.path("a.b"), triplets.template(), 1)

    def run(self, key, skip):
        rows = pa.Table.from_pandas(self.table[CANDIDATES.names], CANDIDATES.arrow_schema(), preserve_index=False)
        objects = [Object(*write.write(self.workspace, part_path("a.b", 0), rows, CANDIDATES))]
        objects += triplets.write(self.workspace, triplets.path("a.b"), 0, self.pixels)
        return Product(objects, len(self.table), [InputOutcome("a.b band 0", State.DONE)])


@pytest.fixture(scope="module")
def differenced(tmp_path_factory):
    """Return a workspace with one difference, and its candidates in the order of their triplets."""
    night = draw_night(replace(described(), shape=(224, 224)), 4)
    found = degraded.subtracted(draw(night.seed, night.settings), night)
    provenance = {"catalog_release": "", "stage_version": 1, "settings_hash": "", "manifest_key": ""}
    table = found.candidates.assign(pair_id="a.b", seeing_arcsec=1.5, pixscale=0.5, **provenance)
    table = triplets.assign(table.assign(is_injected=np.arange(len(table)) % 3 == 0), 0)
    planes = (found.band.science, found.band.reference, found.band.difference)
    pixels = triplets.cut(planes, table["x"].to_numpy(), table["y"].to_numpy()).pixels
    stage = Differenced(Folder(tmp_path_factory.mktemp("night")), table, pixels)
    stage.prepare()
    stage.execute(stage.keys()[0])
    return stage.workspace, table, pixels


def written(path, text):
    (path / "set.toml").write_text(text)
    return load(path / "set.toml")


def made(stages):
    """Run stages; return their indices and triplets together."""
    tables, pixels = [], []
    for stage in stages:
        stage.prepare()
        keys = stage.keys()
        for key in keys:
            outcome = stage.execute(key)
            assert outcome.counts["failed"] == 0
            table = write.read(stage.workspace, index_path(key), TRIPLETS).to_pandas()
            tables.append(table)
            if len(table):
                rows = slice(int(table["row"].min()), int(table["row"].max()) + 1)
                pixels.append(stores.read(stage.workspace, store_path(stage.where), ["triplet"], rows)["triplet"])
    return pd.concat(tables, ignore_index=True), np.concatenate(pixels)


def test_candidates_of_a_workspace_with_labels_of_a_file(differenced, tmp_path):
    workspace, table, pixels = differenced
    assert len(table) >= 6
    chosen = table.iloc[[5, 1, 3]]
    labels = pd.DataFrame({"candidate_id": chosen["candidate_id"], "label": ["real", "bogus", "real"]})
    labels.assign(kind=["mover", "dipole", None]).to_csv(tmp_path / "labels.csv", index=False)
    text = (
        f'[set]\nname = "one"\n[[source]]\nkind = "candidates"\nworkspace = "{workspace.root}"\nlabels = "labels.csv"\n'
    )
    found = written(tmp_path, text)
    whole = found.gather(Folder(tmp_path / "out"))
    index, stored = made(whole.stages)
    assert index["candidate_id"].tolist() == table.iloc[[1, 3, 5]]["candidate_id"].tolist()
    assert index["label"].tolist() == [0, 1, 1] and index["kind"].tolist() == ["dipole", "", "mover"]
    assert np.array_equal(stored, pixels[[1, 3, 5]], equal_nan=True)
    assert (index["seeing_px"] == 3).all() and index["field"].nunique() == 1
    told = whole.describe()
    assert told["sources"][0]["triplets"] == 3
    # the checksum holds for these labels, and for no others
    kept = text.replace('name = "one"', f'name = "one"\nchecksum = "{told["checksum"]}"')
    assert all(
        stage.execute(stage.keys()[0]).skipped
        for stage in written(tmp_path, kept).gather(Folder(tmp_path / "out")).stages
    )
    labels.assign(label="bogus").to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(Mismatch, match="checksum"):
        written(tmp_path, kept).gather(Folder(tmp_path / "out"))


@pytest.mark.parametrize(("rule", "bogus"), [("injected", False), ("injected-else-bogus", True)])
def test_injected_candidates_are_real(differenced, tmp_path, rule, bogus):
    workspace, table, _ = differenced
    text = f'[set]\nname = "two"\n[[source]]\nkind = "candidates"\nworkspace = "{workspace.root}"\nlabels = "{rule}"\n'
    index, _ = made(written(tmp_path, text).gather(Folder(tmp_path / "out")).stages)
    assert (index["label"] == 1).sum() == table["is_injected"].sum()
    assert (index["label"] == 0).sum() == (~table["is_injected"]).sum() * bogus


def test_what_reviewers_said_is_found_among_candidates_and_alerts(differenced, tmp_path, shared_alerts, monkeypatch):
    workspace, table, pixels = differenced
    name = table["candidate_id"].iloc[2]
    alert = pd.read_parquet(shared_alerts / ALERTS, columns=["candid"])["candid"].iloc[0]
    said = pd.DataFrame({"candidate_id": [name, f"ztf:{alert}"], "label": [0, 1], "type": ["hot", "strange"]})
    monkeypatch.setattr(verdicts, "training_labels", lambda folder: said)
    text = (
        f'[set]\nname = "three"\n[[source]]\nkind = "labels"\nworkspace = "{workspace.root}"\n'
        f'path = "{shared_alerts / ALERTS}"\n'
    )
    index, stored = made(written(tmp_path, text).gather(Folder(tmp_path / "out")).stages)
    assert index["candidate_id"].tolist() == [name, f"ztf:{alert}"]
    assert index["label"].tolist() == [0, 1] and index["kind"].tolist() == ["hot", ""]
    assert np.array_equal(stored[0], pixels[2], equal_nan=True) and np.isfinite(stored[1]).any()


@pytest.fixture
def shared_alerts(tree):
    folder = tree.parent / "shared" / "data" / "alerts"
    if not folder.is_dir():
        pytest.skip("real alerts are not here: no folder ../shared/data/alerts beside the repository")
    return folder


def test_alerts_that_are_vouched_for_are_real_and_the_others_are_not_there(shared_alerts, tmp_path):
    text = f'[set]\nname = "four"\n[[source]]\nkind = "alerts"\npath = "{shared_alerts / ALERTS}"\nlabels = "witness"\n'
    index, pixels = made(written(tmp_path, text).gather(Folder(tmp_path / "out")).stages)
    assert len(index) > 150 and (index["label"] == 1).all() and len(pixels) == len(index)
    assert {"mover", "transient", "variable"} <= set(index["kind"]) and (index["survey"] == "ztf").all()
    assert index["field"].str.startswith("ztf:").all() and index["object_id"].nunique() > 100
    # none is of zeros, and the candidate is in the middle of what was taken
    assert (np.nanmax(np.abs(pixels), axis=(1, 2, 3)) > 0).all()
    assert np.isfinite(pixels[:, :, 31, 31]).mean() > 0.97


def test_simulated_fields_and_cuts(tmp_path):
    found = written(
        tmp_path,
        '[set]\nname = "five"\n[[source]]\nkind = "simulated"\nfields = 8\nseed = 3\n[cuts]\nmin_snr = 6\n'
        'without_flags = 32\nfilters = ["g", "r"]\nwithout_kinds = ["trail"]\nwithout_objects = ["x"]\n'
        '[split]\nby = "survey:simulated-C"\ntest = 0.2\n',
    )
    (stage,) = found.gather(Folder(tmp_path / "out")).stages
    assert isinstance(stage, CandidateSet) and stage.where == "simulated-3" and len(stage.keys()) == 1
    assert found.split.options() == {"split_by": "survey:simulated-C", "test": 0.2}
    columns = ["snr", "flags", "filter", "survey", "kind", "object_id", "seeing_px"]
    rows = [
        (7.0, 0, "g", "a", "hot", "y", 2.0), (-7.0, None, "r", "a", "", "y", None),
        (None, 0, "g", "a", "hot", "y", 2.0),
        (5.0, 0, "g", "a", "hot", "y", 2.0), (7.0, 33, "g", "a", "hot", "y", 2.0), (7.0, 0, "i", "a", "hot", "y", 2.0),
        (7.0, 0, "g", "a", "trail", "y", 2.0), (7.0, 0, "g", "a", "hot", "x", 2.0),
    ]  # fmt: skip
    kept = found.cuts.keep(pd.DataFrame(rows, columns=columns).astype({"flags": "Int64"}))
    assert kept.tolist() == [True, True, True, False, False, False, False, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[set]\n", "name"),
        ('[set]\nname = "x"\n', "source"),
        ('[set]\nname = "../x"\n[[source]]\nkind = "simulated"\n', "name"),
        ('[set]\nname = "x"\n[[source]]\nkind = "dreamt"\n', "dreamt"),
        ('[set]\nname = "x"\n[[source]]\nkind = "simulated"\nfeilds = 3\n', "feilds"),
        ('[set]\nname = "x"\n[[source]]\nkind = "alerts"\npath = "a"\nlabels = "x"\nworkspace = "w"\n', "reviewers"),
        ('[set]\nname = "x"\n[[source]]\nkind = "simulated"\n[split]\nby = "luck"\n', "split.by"),
        ("[set\n", "set.toml"),
    ],
)
def test_a_file_that_will_not_do_is_named(tmp_path, text, message):
    with pytest.raises(UsageError, match=message) as found:
        written(tmp_path, text)
    assert "set.toml" in str(found.value)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ('kind = "alerts"\npath = "none/*.avro"\nlabels = "witness"', UsageError, "no file"),
        ('kind = "candidates"\nworkspace = "empty"\nlabels = "injected"', Missing, "difference_images"),
        ('kind = "candidates"\nworkspace = "empty"\nlabels = "none.csv"', UsageError, "none.csv"),
        ('kind = "candidates"\nworkspace = "empty"\nlabels = "odd.csv"', UsageError, "maybe"),
        ('kind = "candidates"\nworkspace = "empty"\nlabels = "twice.csv"', UsageError, "twice"),
        ('kind = "candidates"\nworkspace = "empty"\nlabels = "short.csv"', UsageError, "needs candidate_id"),
        ('kind = "simulated"\ndescription = "none.toml"', UsageError, "none.toml"),
    ],
)
def test_sources_that_are_not_there_are_named(tmp_path, source, error, message):
    (tmp_path / "odd.csv").write_text("candid,label\n1,maybe\n")
    (tmp_path / "twice.csv").write_text("candid,label\n1,real\n1,bogus\n")
    (tmp_path / "short.csv").write_text("name,label\n1,real\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=message):
        written(tmp_path, f'[set]\nname = "x"\n[[source]]\n{source}\n').gather(Folder(tmp_path / "out"))


def test_a_source_without_any_label_is_refused(differenced, tmp_path):
    workspace, _, _ = differenced
    (tmp_path / "labels.csv").write_text("candid,label\n1,real\n")
    text = (
        f'[set]\nname = "x"\n[[source]]\nkind = "candidates"\nworkspace = "{workspace.root}"\nlabels = "labels.csv"\n'
    )
    with pytest.raises(UsageError, match="none of its candidates has a label"):
        written(tmp_path, text).gather(Folder(tmp_path / "out"))
    assert Gathered.name != CandidateSet.name
