"""Small simulated pairs for tests: drawn, held in memory, matched, each once."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from pipeline.images.frame import Facts
from pipeline.images.match import Match, match
from pipeline.images.subtract import Band, subtract
from pipeline.images.whole import Whole
from pipeline.simulate.conditions import FieldSettings
from pipeline.simulate.fields import Field
from pipeline.simulate.fields import draw as draw_field
from pipeline.simulate.scene import Population

#: More stars a pixel than in a whole field, so that a small one has enough of them.
CROWDED = Population(stars=2500.0, brightest=0.7)
SMALL = FieldSettings(shape=(400, 448), population=CROWDED, transients=9, snr=(15.0, 60.0))


def moffat(fwhm, beta=3.5, ellipticity=0.0, half=20):
    """Return a PSF of sum one, its pixels sampled."""
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    r2 = (x * (1 + ellipticity)) ** 2 + (y * (1 - ellipticity)) ** 2
    image = (1 + r2 * 4 * (2 ** (1 / beta) - 1) / fwhm**2) ** -beta
    return (image / image.sum()).astype(np.float32)


@lru_cache(maxsize=8)
def draw(seed: int = 1, **changes) -> Field:
    """Draw a small field; `variation` is that of both PSFs."""
    variation = changes.pop("variation", 0.0)
    settings = replace(SMALL, **changes)
    views = {name: replace(getattr(settings, name), variation=variation) for name in ("science", "reference")}
    return draw_field(seed, replace(settings, **views))


def images(field: Field) -> tuple[Whole, Whole]:
    """Return both images, with the masks that are true."""
    return tuple(
        Whole.of(
            getattr(field, name),
            getattr(field.pointing, name),
            Facts(gain=getattr(field.settings, name).gain, saturation=getattr(field.settings, name).saturation),
            getattr(field, f"{name}_mask"),
        )
        for name in ("science", "reference")
    )


@lru_cache(maxsize=8)
def matched(given: bool = False, seed: int = 1, **changes) -> tuple[Field, Whole, Whole, Match]:
    """Return a field, its images, and their match with PSFs measured or given."""
    field = draw(seed, **changes)
    science, reference = images(field)
    psfs = (field.psf("science"), field.psf("reference")) if given else ()
    return field, science, reference, match(science, reference, science.sources, reference.sources, *psfs)


@lru_cache(maxsize=4)
def subtracted(tile: int = 0, given: bool = False, seed: int = 1, **changes) -> Band:
    """Return a field's whole difference."""
    _, science, reference, found = matched(given, seed, **changes)
    return subtract(science, reference, found, 0, reference.shape[0], tile)
