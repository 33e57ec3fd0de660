"""One run a folder, and no file of anybody else is lost."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from pipeline.errors import Refused
from pipeline.images.delivery import FILES
from pipeline.images.occupation import foreign, identity, occupied


def test_a_second_run_is_refused_and_a_lock_of_a_dead_process_is_taken_over(tmp_path):
    out = tmp_path / "new" / "out"
    with occupied(out):
        with pytest.raises(Refused, match=r"another run is at work there, process [0-9]+; wait"), occupied(out):
            pass
        (lock,) = out.iterdir()
    assert not out.exists()  # nothing came to lie in it
    code = f"import os; from pathlib import Path\nfrom pipeline.images.occupation import occupied\n" \
           f"with occupied(Path({str(out)!r})): os._exit(9)"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9 and lock.exists()
    with occupied(out):
        assert lock.exists()
    assert not lock.exists()


def test_what_lies_beside_our_image_is_ours_and_all_else_is_not(tmp_path):
    for name in ("candidates.parquet", "panel.png"):
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "triplets.zarr").mkdir()
    fits.writeto(tmp_path / "difference.fits", np.zeros((4, 4)))
    names = {"candidates.parquet", "panel.png", "triplets.zarr", "difference.fits"}
    assert {path.name for path in foreign(tmp_path, FILES)} == names and identity(tmp_path) is None
    # A run that was cut off has put the significance there, and no difference yet.
    fits.writeto(tmp_path / "significance.fits", np.zeros((4, 4)), fits.Header({"SKYSIFT": "0123"}))
    assert {path.name for path in foreign(tmp_path, FILES)} == {"difference.fits"}
    fits.setval(tmp_path / "difference.fits", "SKYSIFT", value="0123")
    assert not foreign(tmp_path, FILES) and identity(tmp_path) == "0123"
    (tmp_path / "panel.png").unlink()
    (tmp_path / "panel.png").mkdir()
    assert [path.name for path in foreign(tmp_path, FILES)] == ["panel.png"]
