"""Whatever has become of a stamp file: stored or rejected with a reason, and nothing else raised."""

import io
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from catalogs.folder import Folder
from models.visual_catalogue import planned
from pipeline.errors import Reason
from pipeline.partition import Key
from pipeline.settings import StampSettings, VisualScoreSettings
from pipeline.stamps import recipe, stacks, status
from tests.models import toy_visual
from tests.pipeline.stamps import toy_archive
from tests.pipeline.stamps.files import stamp
from tests.properties import mutate, stamp_mutations
from tests.properties.test_mutated_images import mutated

NUMBER = 80
HOSTILE = 300
ODD = 200

#: Of what odd stamps are rejected for, and no file that is damaged.
REASONS = (
    Reason.BAD_NAME, Reason.UNKNOWN_SURVEY, Reason.WRONG_SURVEY, Reason.OFF_CENTRE, Reason.NO_WCS, Reason.ALL_NAN,
    Reason.CONSTANT, Reason.WRONG_SHAPE,
)  # fmt: skip


def test_every_mutated_stamp_is_stored_or_rejected(tmp_path: Path) -> None:
    archive, rng = tmp_path / "archive", random.Random(6)
    seed = stamp(tmp_path, "seed", EXPTIME=30.0, SATURATE=6e4).read_bytes()
    archive.mkdir()
    for number in range(NUMBER):
        (archive / f"{number:03d}_SDSS_r.fits").write_bytes(mutated(seed, rng))
    workspace = Folder(tmp_path / "workspace")
    for report in recipe.ingest_stamps(None, workspace, Folder(archive), StampSettings()):
        assert not report.counts["failed"]
    table = status.outcomes(workspace, "ingest_stamps")
    assert len(table) == NUMBER and table["input"].is_unique
    assert set(table["state"]) == {"done", "rejected"} and (table["state"] == "done").sum() > NUMBER / 10
    assert len(Counter(table["reason"].dropna())) >= 5
    index = stacks.read_index(workspace, Key("stacks", "sdss", 0))
    assert np.isfinite(index["x0"]).all() and (index["noise"] >= 0).all()


def test_hostile_files_and_names_end_in_an_outcome(tmp_path: Path) -> None:
    """They are read by a pattern that takes any name: hardly one of these tells a survey."""
    whole = fits.open(stamp(tmp_path, "seed"))[0]
    with fits.open(io.BytesIO(mutate.good())) as file:
        file.append(fits.ImageHDU(whole.data, whole.header, "SCI"))
        file.writeto(tmp_path / "seed.fits")
    made = mutate.write(
        tmp_path / "archive/SDSS", (tmp_path / "seed.fits").read_bytes(), HOSTILE, np.random.default_rng(1)
    )
    workspace, settings = Folder(tmp_path / "workspace"), StampSettings(pattern="SDSS/<source>")
    for report in recipe.ingest_stamps(None, workspace, Folder(tmp_path / "archive"), settings):
        assert not report.counts["failed"]
    table = status.outcomes(workspace, "ingest_stamps")
    assert table["input"].is_unique and 0.5 * len(made) < len(table) <= len(made)
    assert (table["state"] == "rejected").sum() > 0.5 * len(table)


@pytest.mark.parametrize("number", [ODD, pytest.param(3000, marks=pytest.mark.fuzz)])
def test_odd_stamps_go_all_the_way_and_none_is_lost(tmp_path: Path, number: int) -> None:
    """What is not rejected is stacked, measured and scored; no step fails on any of it."""
    made = dict(stamp_mutations.mutations(number))
    for name, data in made.items():
        path = tmp_path / "archive" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    workspace = Folder(tmp_path / "workspace")
    toy_archive.fill(workspace, tmp_path / "archive")
    toy_visual.save(workspace)
    scoring = planned(workspace, "visualbinary", VisualScoreSettings(runtime="torch", precision="fp32"))
    for key in scoring.keys():  # noqa: SIM118
        scoring.execute(key)
    tables = {stage: status.outcomes(workspace, stage) for stage in status.STAGES}
    files = tables["ingest_stamps"]
    assert len(made) == number == len(files) and files["input"].is_unique
    assert {str(reason) for reason in REASONS} <= set(files["reason"].dropna())
    assert (files["state"] == "done").sum() > number / 2
    assert len(tables["measure_stamps"]) > number / 3
    for stage, table in tables.items():
        assert not (table["state"] == "failed").any(), table[table["state"] == "failed"]
        assert table["input"].is_unique, stage
    stacked = tables["stack_stamps"]
    assert len(tables["score_stamps"]) == (stacked["state"] == "done").sum()
    assert tables["measure_stamps"]["input"].str.split("/").str[-1].is_unique
