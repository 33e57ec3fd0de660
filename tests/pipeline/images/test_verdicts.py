"""Who says what is real: reviewers, whatever types they give."""

from catalogs.review import append
from pipeline.images.verdicts import Verdicts


def test_a_label_of_an_odd_type_counts_and_spoils_no_other(workspace):
    said = {"a": ("real", "dipole"), "b": ("bogus", "dipole"), "c": ("real", "unusual"), "d": ("bogus", None)}
    rows = [{"item_id": name, "label": label, "type": kind, "who": "ada"} for name, (label, kind) in said.items()]
    append(workspace, "transient_candidates", rows)
    verdicts = Verdicts.of_reviewers(workspace)
    assert verdicts.labels == {"a": (1, ""), "b": (0, "dipole"), "c": (1, ""), "d": (0, "")}
    assert verdicts.of("x", "b") == (0, "dipole") and verdicts.of("x") is None
