"""A simulated pair of images for the tests of stages and of the job: files, and the same with something changed."""

import shutil
from pathlib import Path

from astropy.io import fits

from pipeline.simulate.conditions import FieldSettings
from pipeline.simulate.fields import Field, draw


def tall() -> Field:
    """Return a pair that is subtracted in two bands."""
    return draw(5, FieldSettings(shape=(1056, 288)))


def square() -> Field:
    """Return a pair that is subtracted in one go."""
    return draw(5, FieldSettings(shape=(416, 416), snr=(8.0, 25.0)))


def altered(source: Path, target: Path, change) -> Path:
    """Copy a FITS file, and let `change` do something to its primary HDU."""
    shutil.copy(source, target)
    with fits.open(target, mode="update", memmap=False) as file:
        change(file[0])
    return target
