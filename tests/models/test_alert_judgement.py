"""Models are judged on the pixels that they are given at work."""

from pathlib import Path

import numpy as np
import pytest

from catalogs.folder import Folder
from models.alert_judgement import witnessed
from models.examinees import Examinee
from models.registry import Registry
from models.service_bodies import read
from models.service_limits import Limits
from models.standing import Standing
from pipeline.images.sampling import rescale
from pipeline.settings import CandidateScoreSettings
from tests.models import toy_realbogus
from tests.pipeline.alerts import made

STANDING = Standing(scale=1.0, offset=0.0, threshold=0.5, prior=0.5)


@pytest.fixture
def alerts(tmp_path: Path) -> list[Path]:
    """Return files of alerts: one of ZTF, whose stars are as wide as models know them, two of Rubin, whose are not."""
    paths = [tmp_path / "a.avro", tmp_path / "b.parquet"]
    paths[0].write_bytes(made.avro([made.alert()]))
    paths[1].write_bytes(made.rubin())
    return paths


def looking(name: str, seen: list[np.ndarray], **facts) -> Examinee:
    """Return a model that keeps what it is shown."""

    def score(pixels: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(pixels)
        return {"logit": np.zeros(len(pixels))}

    return Examinee(name, STANDING, score, **facts)


def test_ours_see_what_batch_and_service_give_them_and_published_ones_what_was_sent(
    workspace: Folder, alerts: list[Path]
) -> None:
    toy_realbogus.save(workspace)
    ours, theirs = list[np.ndarray](), list[np.ndarray]()
    entry = Registry(workspace).resolve("realbogus")
    table, refused = witnessed(alerts, [looking("ours", ours, entry=entry), looking("theirs", theirs)])
    assert len(table) == 3 and not refused and {"logit:ours", "logit:theirs"} <= set(table)
    settings = CandidateScoreSettings.load(None, "score_candidates")
    served = [item.pixels for path in alerts[:1] for item in read(path.read_bytes(), "", Limits(), settings).items]
    np.testing.assert_array_equal(ours[0][:1], np.stack(served))
    np.testing.assert_array_equal(ours[0][0], theirs[0][0])
    for row in (1, 2):
        assert table["fwhm_px"][row] > settings.max_fwhm
        right = rescale(theirs[0][row : row + 1], settings.target_fwhm / float(table["fwhm_px"][row]))
        np.testing.assert_array_equal(ours[0][row], right[0])
