import pytest

from pipeline.stamps import lineage


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
