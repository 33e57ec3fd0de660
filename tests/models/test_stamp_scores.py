import numpy as np
import pandas as pd
import pytest

from catalogs import write
from catalogs.folder import Folder
from catalogs.stamps import STACKS, StampFlag
from catalogs.visual_binaries import VISUAL_SCORES
from models.stamp_scores import ScoreStamps, able
from models.visual_catalogue import planned
from pipeline import manifest
from pipeline.errors import Missing, ModelNotFound
from pipeline.partition import Key
from pipeline.settings import VisualScoreSettings
from pipeline.stage import InputOutcome, State
from pipeline.stamps import layout
from tests.models import toy_visual

SETTINGS = VisualScoreSettings(runtime="torch", precision="fp32", batch_size=4)


@pytest.fixture
def workspace(tmp_path):
    folder = Folder(tmp_path)
    toy_visual.save(folder)
    toy_visual.stacked(folder, "pan-starrs", 0, {"a": 0, "b": 1, "c": 2, "d": -1, "e": 3, "f": 4})
    toy_visual.stacked(folder, "hst", 0, {"b": 1, "c": 2})
    toy_visual.stacked(folder, "unwise", 0, {"a": 0})
    return folder


def scored(workspace, settings=SETTINGS):
    stage = planned(workspace, "visualbinary", settings)
    done = {str(key): stage.execute(key) for key in stage.keys()}  # noqa: SIM118
    return stage, done


def test_a_row_for_each_stack_and_one_outcome_for_each_input(workspace):
    stage, done = scored(workspace)
    assert [len(stage.inputs(Key.parse(key))) for key in sorted(done)] == [2, 6, 1]
    counts = {key.split("survey=")[1]: outcome.counts for key, outcome in done.items()}
    assert counts["pan-starrs/part-00000"] == {"done": 5, "nothing": 0, "rejected": 1, "failed": 0}
    assert counts["unwise/part-00000"] == {"done": 0, "nothing": 1, "rejected": 0, "failed": 0}
    key = layout.score_key(stage.entry.id, layout.stacks_key(stage.keys()[1]))
    assert key == stage.keys()[1]
    rows = write.read(workspace, f"catalogs/{key}.parquet", VISUAL_SCORES).to_pandas()
    assert rows["source_id"].tolist() == ["a", "b", "c", "e", "f"]
    assert {len(one) for one in rows["logits"]} == {9}
    wise = write.read(workspace, f"catalogs/{stage.keys()[2]}.parquet", VISUAL_SCORES).to_pandas()
    assert len(wise) == 1 and not len(wise["logits"][0])
    assert manifest.read(workspace, layout.SCORE, key).details["runtime"]["runtime"] == "torch"


def test_scores_are_those_of_the_bare_predictor_and_of_no_neighbour(workspace):
    stage, _ = scored(workspace)
    key = stage.keys()[1]
    rows = write.read(workspace, f"catalogs/{key}.parquet", VISUAL_SCORES).to_pandas()
    index = write.read(workspace, layout.stacks_index(layout.stacks_key(key)), STACKS).to_pandas()
    wanted = index[index["source_id"] == "e"][list(stage.predictor.spec.columns)].to_numpy(float)
    alone = stage.predictor.outputs(toy_visual.pixels("pan-starrs", 3)[None], wanted)
    np.testing.assert_array_equal(rows.set_index("source_id").loc["e", "logits"], alone[0].astype(float))


def test_the_same_bytes_again_and_without_what_is_skipped(workspace, tmp_path):
    stage, _ = scored(workspace)
    key = stage.keys()[1]
    before = workspace.read(f"catalogs/{key}.parquet")
    manifest.discard(workspace, stage.name, key)
    ScoreStamps(workspace, stage.entry, SETTINGS).execute(key)
    assert workspace.read(f"catalogs/{key}.parquet") == before


def test_a_killer_is_left_out(workspace):
    stage = planned(workspace, "visualbinary", SETTINGS)
    key = stage.keys()[1]
    skip = {"b Pan-STARRS": InputOutcome("b Pan-STARRS", State.FAILED, "killed", "died")}
    stage.execute(key, skip)
    rows = write.read(workspace, f"catalogs/{key}.parquet", VISUAL_SCORES).to_pandas()
    assert rows["source_id"].tolist() == ["a", "c", "e", "f"]
    stage.probe(key, "c Pan-STARRS")


def test_settings_of_the_catalogue_make_no_score_another(workspace):
    scored(workspace)
    other = planned(workspace, "visualbinary", SETTINGS.model_copy(update={"prior": 0.3, "precision_asked": 0.5}))
    assert all(other.settled(key) is not None for key in other.keys())  # noqa: SIM118


def test_what_is_not_there_is_named(tmp_path, workspace):
    empty = Folder(tmp_path / "empty")
    toy_visual.save(empty)
    with pytest.raises(Missing, match="no stacks to score; run ingest_stamps"):
        planned(empty, "visualbinary", SETTINGS)
    manifest.discard(workspace, layout.STACK, "stacks/hst/part-00000")
    with pytest.raises(Missing, match="not stacked: stacks/hst/part-00000; run ingest_stamps, or"):
        planned(workspace, "visualbinary", SETTINGS)
    assert len(planned(workspace, "visualbinary", SETTINGS, allow_missing=True).keys()) == 2
    with pytest.raises(ModelNotFound, match="scores no stamps but"):
        planned(workspace, "eb", SETTINGS)


def test_a_stack_is_able_if_its_survey_is_and_it_is_sharp_itself():
    index = pd.DataFrame({
        "flags": [0, int(StampFlag.UNABLE), 0, 0, int(StampFlag.SATURATED)],
        "fwhm_arcsec": [1.2, 1.0, 2.6, None, 1.0], "pixscale": [0.25, 0.25, 0.25, 0.4, 1.3],
    })  # fmt: skip
    assert able(index).tolist() == [True, False, False, True, False]
