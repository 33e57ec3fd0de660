"""Differencing on simulated fields: is a significance one, what is found, what is invented, how fast.

python -m tests.benchmarks differencing               # a few fields of each kind, two minutes
python -m tests.benchmarks differencing --fields 40   # as many as the figures asked for are defined on, half an hour

False candidates and those recovered are of the same fields; flagged ones are neither. Masks are those that ingest makes
of the pixels; PSFs are measured on the images, or the true one of the middle is given. The chain has ingest's part in
it, without its search for cosmic rays, which is printed apart.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from io import BytesIO
from time import process_time
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.wcs import FITSFixedWarning
from photutils.background import Background2D
from photutils.detection import DAOStarFinder
from reproject import reproject_interp

from pipeline.images import efficiency, subtract, triplets
from pipeline.images.detect import detect
from pipeline.images.efficiency import Efficiency
from pipeline.images.exposure import Exposure
from pipeline.images.forced import interpolate
from pipeline.images.harvest import Pair, harvest
from pipeline.images.ingest import BAND
from pipeline.images.match import Match, match
from pipeline.images.reading import ImageFile
from pipeline.images.selftest import both, calibrated
from pipeline.images.subtract import Band
from pipeline.images.whole import Whole
from pipeline.settings import ImageSettings
from pipeline.simulate.conditions import FieldSettings, dirty, misregistered, varying
from pipeline.simulate.fields import Field, draw
from tests.benchmarks import direct
from tests.benchmarks.figures import figure, heading

#: A little more than a third of what is asked in all comes from each environment: 40 fields hold 3,000 transients.
PLAIN = FieldSettings(transients=84)
BRIGHT = FieldSettings(transients=84, snr=(20.0, 60.0))
CONDITIONS = {"clean": PLAIN, "varying": varying(PLAIN), "misregistered": misregistered(PLAIN), "dirty": dirty(PLAIN)}
FEW = 2

#: False candidates in 10^6 pixels.
_ALLOWED = {"clean": 1.0, "varying": 1.0, "misregistered": 1.0, "dirty": 5.0}
_FLUX = {True: 0.01, False: 0.02}
_RECOVERED = {True: 0.95, False: 0.93}
THRESHOLD = 5.0

CHAIN = (
    "sky, variance, masks of both", "sources of both", "registration and PSFs", "align", "sky",
    "subtraction, as chosen", "candidates, detection in it", "triplets",
)  # fmt: skip

Seconds = dict[str, float]


def main(fields: int = FEW) -> None:
    """Print every figure; `fields` of every condition."""
    warnings.simplefilter("ignore", FITSFixedWarning)
    heading(f"differencing, {fields} fields of {PLAIN.shape[0]}² px a condition")
    for name, settings in CONDITIONS.items():
        # A PSF that varies cannot be given as one stamp.
        ways = (False,) if name == "varying" else (True, False)
        for given, found in _sums(settings, range(1, fields + 1), ways).items():
            _show(name, given, found)
    for given, found in _sums(BRIGHT, range(101, 101 + max(1, fields // 2)), (True, False)).items():
        _fluxes(given, found)
    heading("differencing, CPU seconds for 10^6 pixels, one thread")
    speed(fields=min(fields, 3))


def pair(field: Field, rays: bool = True) -> tuple[Whole, Whole]:
    """Return both images of a field as ingest makes them of files: masked by what their pixels tell."""
    settings = ImageSettings(cosmic_rays=rays)  # type: ignore[call-arg]
    images = []
    for name in ("science", "reference"):
        file = BytesIO()
        fits.PrimaryHDU(getattr(field, name), field.header(name)).writeto(file)
        exposure = Exposure(ImageFile(fits.open(BytesIO(file.getvalue())), "", 0), 0, settings)
        exposure.survey(BAND)
        images.append(Whole(exposure.band(0, exposure.shape[0]).frame, settings.mesh))
    return images[0], images[1]


def matched(field: Field, science: Whole, reference: Whole, given: bool) -> Match:
    """Match a pair with measured or given PSFs."""
    psfs = (field.psf("science"), field.psf("reference")) if given else ()
    return match(science, reference, science.sources, reference.sources, *psfs)


def told(image: Whole) -> dict[str, Any]:
    """Return the facts of an image, as in the table IMAGES, that candidates want."""
    facts = asdict(image.facts) | {"estimated": ",".join(image.facts.estimated)}
    return facts | {"image_id": "", "sky_rms": image.sky_rms, "pixscale": PLAIN.pixel_scale, "fwhm": None}


def harvested(images: tuple[Whole, Whole], found: Match, band: Band) -> tuple[Band, pd.DataFrame]:
    """Return the band with its noise calibrated, and its candidates."""
    science, reference = images
    ny, nx = reference.shape
    fwhm = max(psf.fwhm(nx / 2, ny / 2) for psf in (found.science_psf, found.reference_psf))
    band, _ = calibrated(band, both(science, reference, found, science.sources, reference.sources), fwhm)
    pair_of = Pair("", told(science), told(reference), found, found.warp(science, reference), reference.sources, False)
    return band, harvest(band, pair_of, THRESHOLD)


def scored(field: Field, images: tuple[Whole, Whole], given: bool) -> Efficiency:
    """Subtract a field and score it."""
    settings = field.settings
    found = matched(field, *images, given)
    band, candidates = harvested(images, found, subtract.subtract(*images, found, 0, images[1].shape[0]))
    return efficiency.score(
        field.truth,
        candidates,
        settings.science.fwhm / settings.zoom,
        band.significance,
        field.shown(),
        band.mask,
        field.movers(),
        interpolate(band.significance * band.flux_err, *field.truth[["x", "y"]].to_numpy().T),
    )


def _sums(settings: FieldSettings, seeds: range, ways: tuple[bool, ...]) -> dict[bool, Efficiency]:
    """Return what is found with PSFs given (True) and measured, of the same images."""
    found: dict[bool, Efficiency] = {}
    for seed in seeds:
        field = draw(seed, settings)
        images = pair(field)
        for given in ways:
            one = scored(field, images, given)
            found[given] = found[given] + one if given in found else one
    return found


def _show(name: str, given: bool, found: Efficiency) -> None:
    label = f"{name}, PSFs {'given' if given else 'measured'}"
    blank, cores = found.blank.std, found.cores.std
    note = f"{found.blank.beyond[1]} px > 5, {found.blank.beyond[0]} < -5 of {found.blank.size / 1e6:.1f} Mpix"
    figure(f"std of S_corr on blank sky, {label}", blank, "1.00 ± 0.02", abs(blank - 1) <= 0.02, note)
    figure(f"std of S_corr on bright sources, {label}", cores, "0.90–1.10", 0.9 <= cores <= 1.1, f"{cores_of(found)}")
    rate, low, high = found.false_rate(unflagged=True)
    note = f"{low:.2f}–{high:.2f}, {found.false_unflagged} in {found.area_mpix:.1f} Mpix; flagged too {found.false}"
    figure(f"false in 10^6 px, {label}", rate, f"≤ {_ALLOWED[name]:g}", rate <= _ALLOWED[name], note)
    for environment, row in found.recovery("environment").iterrows():
        least = _RECOVERED[given]
        note = f"{row['low']:.3f}–{row['high']:.3f}, {row['recovered']:.0f} of {row['expected']:.1f} expected"
        figure(f"recovered on {environment}, {label}", row["ratio"], f"≥ {least:g}", row["ratio"] >= least, note)


def cores_of(found: Efficiency) -> str:
    """Say how many pixels on sources there were."""
    return f"{found.cores.size} px, {found.cores.beyond[1]} > 5, {found.cores.beyond[0]} < -5"


def _fluxes(given: bool, found: Efficiency) -> None:
    label, within = "PSFs given" if given else "PSFs measured", _FLUX[given]
    for environment, (ratio, error, count) in found.flux_ratios().items():
        met = abs(ratio - 1) <= within
        figure(f"flux over true on {environment}, {label}", ratio, f"1 ± {within:g}", met, f"± {error:.4f}, {count}")
    certain = found.recovery("bin").loc[">10"]
    met = certain["recovered"] == certain["injected"]
    note = f"{certain['recovered']:.0f} of {certain['injected']:.0f}"
    figure(f"recovered above S/N 20, {label}", certain["ratio"], "all", bool(met), note)


# speed


@contextmanager
def _clocked(seconds: Seconds) -> Iterator[None]:
    """Add up what parts of `subtract` take while the block runs."""
    with ExitStack() as stack:
        for step, name in (("align", "_aligned"), ("sky", "sky"), ("sky", "level")):
            stack.enter_context(patch.object(subtract, name, _counting(getattr(subtract, name), step, seconds)))
        yield


def _counting(call: Callable[..., Any], step: str, seconds: Seconds) -> Callable[..., Any]:
    def counted(*args: Any) -> Any:
        start = process_time()
        result = call(*args)
        seconds[step] = seconds.get(step, 0.0) + process_time() - start
        return result

    return counted


def _timed(seconds: Seconds, step: str, call: Callable[..., Any], *args: Any) -> Any:
    return _counting(call, step, seconds)(*args)


def speed(fields: int) -> None:
    """Time every step, and a peer's on the first field."""
    _steps({}, draw(200, replace(PLAIN, shape=(512, 512))))  # compiles
    seconds: Seconds = {}
    for seed in range(201, 201 + fields):
        _steps(seconds, draw(seed, PLAIN))
    peer: Seconds = {}
    peers(peer, draw(201, PLAIN))
    size = PLAIN.shape[0] * PLAIN.shape[1] / 1e6
    ours = {step: value / size / fields for step, value in seconds.items()}
    theirs = {step: value / size for step, value in peer.items()}
    asked = {"subtraction, one PSF": 0.2, "subtraction, 128-px tiles": 0.45, "chain": 0.9, "cosmic rays of one": 1.6}
    ours["chain"] = sum(ours[step] for step in CHAIN)
    for step, value in ours.items():
        limit = asked.get(step)
        note = f"peer {theirs[step]:.3f}, {theirs[step] / value:.1f}×" if step in theirs else ""
        figure(step, value, f"≤ {limit:g}" if limit else "-", value <= limit if limit else None, note)


def _steps(seconds: Seconds, field: Field) -> None:
    twice: Seconds = {}
    _timed(twice, "with", pair, field)
    science, reference = _timed(twice, "without", pair, field, False)
    rays = (twice["with"] - twice["without"]) / 2
    for step, value in (("sky, variance, masks of both", twice["without"]), ("cosmic rays of one", rays)):
        seconds[step] = seconds.get(step, 0.0) + value
    _timed(seconds, "sources of both", lambda: (science.sources, reference.sources))
    found = _timed(seconds, "registration and PSFs", matched, field, science, reference, False)
    one = matched(field, science, reference, True)
    inner: Seconds = {}
    for step, pairing, tile in (
        ("subtraction, one PSF", one, 512),
        ("subtraction, 128-px tiles", found, 128),
        ("subtraction, as chosen", found, 0),
    ):
        inner.clear()
        with _clocked(inner):
            start = process_time()
            band = subtract.subtract(science, reference, pairing, 0, reference.shape[0], tile)
            whole = process_time() - start
        seconds[step] = seconds.get(step, 0.0) + whole - sum(inner.values())
    for step, value in inner.items():
        seconds[step] = seconds.get(step, 0.0) + value
    _timed(seconds, "detection", detect, band)
    _, table = _timed(seconds, "candidates, detection in it", harvested, (science, reference), found, band)
    planes = (band.science, band.reference, band.difference)
    _timed(seconds, "triplets", triplets.cut, planes, table["x"].to_numpy(), table["y"].to_numpy())


def peers(seconds: Seconds, field: Field) -> None:
    """Time reproject (bicubic), the paper's formulae written plainly, photutils' background and DAOStarFinder."""
    science, reference = pair(field)
    m = matched(field, science, reference, True)
    frames = science.frame, reference.frame

    def align() -> Any:
        planes = [(plane, science.wcs) for plane in (frames[0].data, frames[0].variance)]
        return [reproject_interp(one, reference.wcs, reference.shape, order="bicubic")[0] for one in planes]

    data, variance = (np.nan_to_num(plane, nan=float(np.nanmedian(plane))) for plane in _timed(seconds, "align", align))

    def sky() -> Any:
        return [image - Background2D(image, 128).background for image in (data, frames[1].data)]

    new, ref = _timed(seconds, "sky", sky)
    result = _timed(
        seconds, "subtraction, one PSF", direct.zogy, new, ref, m.science_psf.at(0, 0), m.reference_psf.at(0, 0),
        m.science_noise, m.reference_noise, variance, frames[1].variance, m.flux_ratio,
    )  # fmt: skip
    finder = DAOStarFinder(threshold=5.0, fwhm=field.settings.science.fwhm, exclude_border=True)
    _timed(seconds, "detection", lambda: (finder(result.significance), finder(-result.significance)))
