"""The demo's images from end to end: what was put in is found, and what is known to be something else is cut."""

import numpy as np
import pandas as pd
import pytest

from catalogs.folder import Folder
from catalogs.supernovae import Selection, is_selected
from pipeline.images import gallery, supernovae
from pipeline.images.footprints import unit_vectors
from pipeline.simulate.demo import find_candidates, find_supernovae, write_demo_images


def objects_at(objects, rows):
    """Return the object within an arcsecond of each row, or None."""
    chord = np.linalg.norm(
        unit_vectors(objects["ra"], objects["dec"])[None] - unit_vectors(rows["ra"], rows["dec"])[:, None], axis=2
    )
    near = np.rad2deg(chord) * 3600
    return [objects.iloc[int(row.argmin())] if row.min() < 1 else None for row in near]


@pytest.mark.slow
def test_supernovae_are_found_in_the_demos_images(tmp_path):
    field, workspace = write_demo_images(tmp_path / "field"), Folder(tmp_path / "workspace")
    reports = [*find_candidates(None, workspace, field), *find_supernovae(None, workspace, field, 12, "simulated")]
    assert not any(report.exit_status for report in reports)
    truth, tables = pd.read_csv(field / "truth.csv"), supernovae.read(workspace)
    at = {
        kind: objects_at(tables.objects, rows if kind == "mover" else rows.drop_duplicates("id"))
        for kind, rows in truth.groupby("kind")
    }
    assert len(at["transient"]) == 6 and all(
        one is not None and is_selected(one["selection"]) for one in at["transient"]
    )
    assert all(int(one["selection"]) & Selection.SOLAR_SYSTEM for one in at["mover"])
    assert all(int(one["selection"]) & Selection.KNOWN_VARIABLE for one in at["variable"] if one is not None)
    assert is_selected(tables.objects["selection"]).sum() == 6
    # Flux of the truth is in counts of the science image: 30 mag + 2.5 log10(0.9) is one.
    scale = 10 ** (0.4 * (23.9 - 30 - 2.5 * np.log10(0.9)))
    for one, (_, rows) in zip(at["transient"], truth[truth["kind"] == "transient"].groupby("id"), strict=True):
        curve = tables.curves[tables.curves["object_id"] == one["object_id"]].sort_values("mjd_mid")
        pull = (curve["flux"].to_numpy() - rows["flux"].to_numpy() * scale) / curve["flux_err"].to_numpy()
        assert np.abs(pull).max() < 5, rows
    assert len(list(workspace.list(gallery.PATH))) == 7
    # The text of the picture of a difference.
    assert "candidates without" in workspace.read(f"{gallery.PATH}/index.html").decode()
    before = workspace.read(supernovae.CURRENT)
    again = [*find_candidates(None, workspace, field), *find_supernovae(None, workspace, field, 12, "simulated")]
    assert workspace.read(supernovae.CURRENT) == before and not any(report.exit_status for report in again)
