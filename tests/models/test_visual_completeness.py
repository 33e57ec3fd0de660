"""The table of completeness that goes with a model of visual binaries."""

import numpy as np
import pandas as pd

from models import visual_completeness
from models.registry import Entry
from models.visual_standing import VisualStanding
from pipeline.fusion import Calibration
from pipeline.stamps import completeness


def _scored(n=3000):
    rng = np.random.default_rng(3)
    rows = pd.DataFrame({
        "survey": "SDSS", "label": rng.integers(0, 2, n), "sep_arcsec": rng.uniform(0.1, 2.5, n),
        "delta_mag": rng.uniform(0, 5, n), "snr_1": rng.uniform(20, 500, n),
    })  # fmt: skip
    return rows.assign(logit=np.where((rows["label"] == 1) & (rows["sep_arcsec"] > 1), 6.0, -6.0))


def _standing():
    own = Calibration(scale=1.0, offset=0.0)
    return VisualStanding(every=own, surveys={}, shares=[1 / 8] * 8, threshold=0.5, prior=0.09)


def test_what_is_kept_with_a_model_is_laid_beside_its_catalogue(tmp_path, workspace):
    scored, standing = _scored(), _standing()
    shelf = type(workspace)(tmp_path / "shelf")
    entry = Entry("visualbinary-0123abcd", "visualbinary", "0123abcd", "0123abcd" * 8, {}, shelf)
    assert visual_completeness.adopt(workspace, entry) is None
    for name, data in visual_completeness.kept(scored, standing).items():
        shelf.write(name, data)
    where = f"catalogs/visual_binaries/model={entry.id}"
    assert visual_completeness.adopt(workspace, entry) == workspace.url(f"{where}/completeness.parquet")
    table = completeness.read(workspace, where)
    wide, close = completeness.of(table, "SDSS", 100.0, [2.0, 0.5], np.nan)
    assert wide == 1 and close == 0  # as the logits were drawn: a prior of 0.09 changes neither
    before = workspace.read(f"{where}/completeness.parquet")
    shelf.write("completeness.parquet", b"another")
    visual_completeness.adopt(workspace, entry)
    assert workspace.read(f"{where}/completeness.parquet") == before
    assert workspace.read(f"{where}/completeness.png")[:4] == b"\x89PNG"
