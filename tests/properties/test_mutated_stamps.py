"""Whatever has become of a stamp file: stored or rejected with a reason, and nothing else raised."""

import io
import random
from collections import Counter
from pathlib import Path

import numpy as np
from astropy.io import fits

from catalogs.folder import Folder
from pipeline.partition import Key
from pipeline.settings import StampSettings
from pipeline.stamps import recipe, stacks, status
from tests.pipeline.stamps.files import stamp
from tests.properties import mutate
from tests.properties.test_mutated_images import mutated

NUMBER = 80
HOSTILE = 300


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
