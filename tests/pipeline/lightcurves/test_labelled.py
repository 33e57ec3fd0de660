"""What labels teach: those of the file of real stars as ever, the VSX's in any spelling, and nothing where in doubt."""

import numpy as np
import pandas as pd
import pytest

from pipeline.lightcurves.labelled import Labelled

MEANING = {
    **dict.fromkeys(("EB:EA", "EA", "EA/SD", "eb:ea"), ("EA", 3.0)),
    **dict.fromkeys(("EB:EB", "EB"), ("EB", 3.0)),
    **dict.fromkeys(("EB:EW", "EW/KW"), ("EW", 3.0)),
    **dict.fromkeys(("E", "EC", "ECL", "EA|EB"), ("E", 3.0)),
    **dict.fromkeys(("EB:KEBC", "ELL|EW", "EA?", "EW|PULS"), ("E", 0.0)),
    "ELL": ("ELL", 3.0),
    **dict.fromkeys(("GDOR", "DSCT", "RRL_or_DSCT_unspecified", "NONVAR", "RRC/BL", "ROT", "HB"), ("other", 1.0)),
    **dict.fromkeys(("NONVAR?", "VAR", "mystery", "ELL:", "ELL|ROT"), ("other", 0.0)),
}


@pytest.fixture
def labelled(tmp_path):
    time = np.arange(0, 3, 1800 / 86400)
    rows = [
        {"tic_id": number, "label": label, "time": time, "flux": time, "quality": np.zeros(time.size, np.int32)}
        for number, label in enumerate(MEANING)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "labelled.parquet")
    return Labelled(tmp_path / "labelled.parquet")


def test_every_label_says_what_it_says(labelled):
    stars = [labelled.star(number) for number in range(len(labelled))]
    assert {star.label: (star.klass, star.weight) for star in stars} == MEANING
