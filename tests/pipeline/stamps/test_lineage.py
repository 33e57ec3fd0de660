import pytest

from catalogs.folder import Folder
from pipeline.errors import Missing
from pipeline.settings import StampSettings
from pipeline.stamps import lineage, recipe
from tests.pipeline.stamps.files import stamp


@pytest.mark.parametrize(
    ("gain", "extended", "words"),
    [(12.0, 4.0, "gain 12, and 30 is asked"), (300.0, -5.0, "an extended source fits as well as two stars")],
)
def test_why_there_is_no_separation(gain, extended, words):
    row = {"tier": "double", "p_double": 0.99, "threshold": 0.9, "prior": 0.09, "surveys_able": ["HST"], "p_fit": 0.1,
           "n_components": 1, "p_chance": None, "flags": 0}  # fmt: skip
    measured = {"delta_chi2": gain, "delta_chi2_extended": extended}
    assert any(words in one for one in lineage._why(row, [], measured))
    for other, known in ((row | {"n_components": 2}, measured), (row, None)):
        assert not any("no separation" in one for one in lineage._why(other, [], known))


def test_stamps_that_are_not_scored_are_told_from_sources_that_nobody_knows(tmp_path):
    workspace, archive = Folder(tmp_path / "ws"), tmp_path / "archive"
    stamp(archive, "22466", "SDSS", "r")
    list(recipe.ingest_stamps(None, workspace, Folder(archive), StampSettings()))
    with pytest.raises(Missing, match="22466 has stamps of sdss, but is in no catalogue yet"):
        lineage.check_scored(workspace, "22466")
    lineage.check_scored(workspace, "22467")
    assert lineage.explain(workspace, "22466") is None  # it may be meant as a star's
