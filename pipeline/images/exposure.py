"""One image on its way into the store: read band by band, calibrated, masked, its facts completed from the pixels."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Reason, Rejected
from pipeline.images import calibrate, coordinates, estimates, headers, quality
from pipeline.images.background import poisson_sky, sky
from pipeline.images.calibrate import References
from pipeline.images.cosmics import cosmic_rays
from pipeline.images.estimates import Census
from pipeline.images.frame import UNUSABLE, Bit, Facts, Frame, Pixels
from pipeline.images.reading import ImageFile
from pipeline.images.sources import detect, width_of_stars
from pipeline.images.trails import Coarse, Trail
from pipeline.images.variance import grown, variance
from pipeline.settings import ImageSettings

__all__ = ["Band", "Exposure"]

_WINDOWS = (768, 2048)  # side of the part in which the width of stars is measured, px; more where that has no stars


@dataclass
class Band:
    """Rows of an image, with the sky below them.

    Parameters
    ----------
    frame : Frame
        Data, variance and mask.
    level, rms : (n, nx) float32
        Sky level and noise.
    """

    frame: Frame
    level: Pixels
    rms: Pixels


@dataclass
class Exposure:
    """An image of an open file.

    Parameters
    ----------
    file : ImageFile
        The file.
    number : int
        The extension.
    settings : ImageSettings
        What is looked for.
    references : References
        Calibration frames.

    Attributes
    ----------
    facts : Facts
        By the header; complete once `survey` has been called.
    fwhm : float or None
        Of stars, px, for the search of cosmic rays.
    level : float
        Median sky level, counts.
    subtracted : bool
        The sky was subtracted before.
    trails : list of Trail
        Trails of satellites.
    notes : list of str
        What is doubtful.

    Raises
    ------
    Rejected
        If it is no image of the sky of two axes, with a WCS.
    """

    file: ImageFile
    number: int
    settings: ImageSettings
    references: References = field(default_factory=References)

    def __post_init__(self) -> None:
        cards = self.file.cards(self.number)
        self.told = headers.read(cards)
        headers.check_science(self.told.survey, cards)
        self.plane = self.file.plane(self.number)
        self.wcs = coordinates.read_wcs(self.plane.header, self.file.hdus, self.plane.shape)
        self.facts: Facts = self.told.facts
        self.notes = list(self.told.notes)
        self.fwhm: float | None = None
        self.subtracted = False
        self.level = 0.0
        self.empty: float | None = None
        self.rays_marked = False
        self.trails: list[Trail] = []
        survey = self.told.survey
        self._error = self.file.companion(self.number, survey.error)
        self._quality = self.file.companion(self.number, survey.quality)
        self._marks = survey
        if self._quality is not None:
            self._marks = quality.named(survey, self._quality.header)
            if (share := quality.share(self._quality, self._marks)) > quality.TRUSTED:
                name = self._quality.hdu.name
                self.notes.append(
                    f"{name} is left out: it marks {share:.0%} of the pixels, with bits of unknown meaning"
                )
                self._quality = None
        self.references.check(self.shape)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.plane.shape

    def _stored(self, y0: int, y1: int) -> Pixels:
        """Return counts as they are in the file."""
        data = self.plane.counts(y0, y1)
        if self.told.scale != 1:
            data *= np.float32(self.told.scale)
        return data

    def _raw(self, data: Pixels, y0: int, y1: int) -> tuple[Pixels, NDArray[np.uint16]]:
        """Return calibrated counts and what is known to be wrong with them; what is no number is 0.

        `data` are the counts as stored; they are overwritten.
        """
        empty = None if self.empty is None else data == np.float32(self.empty)
        self.references.apply(data, (y0, y1), self.told)
        mask = np.zeros(data.shape, np.uint16)
        if self._quality is not None:
            mask |= calibrate.quality(self._quality.rows(y0, y1), self._marks)
        finite = np.abs(data) < 1e30  # not NaN either
        if not finite.all():
            calibrate.mark(mask, ~finite, Bit.BAD)
            data[~finite] = 0
        if empty is not None:
            calibrate.mark(mask, empty, Bit.EDGE)
        if (bad := self.references.bad((y0, y1))) is not None:
            calibrate.mark(mask, bad, Bit.BAD)
        return data, mask

    def _sky(self, data: Pixels, mask: NDArray[np.uint16]) -> tuple[Pixels, Pixels]:
        unusable = (mask & np.uint16(UNUSABLE)) != 0
        if self.facts.unit == "photon":
            return poisson_sky(data, unusable, self.settings.mesh)
        return sky(data, unusable, self.settings.mesh)

    def survey(self, band: int) -> None:
        """Go through the image once, and complete its facts.

        Parameters
        ----------
        band : int
            Rows at a time, a multiple of 64.

        Raises
        ------
        Rejected
            If no pixel is finite, or all are equal.
        """
        census = Census()
        coarse = Coarse(self.shape) if self.settings.trails and self.facts.unit != "photon" else None
        ny, _ = self.shape
        for y0 in range(0, ny, band):
            y1 = min(y0 + band, ny)
            stored = self._stored(y0, y1)
            # What pixels without light hold is looked for before anything is subtracted from it.
            before = stored.copy() if self.references.changes(self.told) else None
            data, mask = self._raw(stored, y0, y1)
            good = (mask & np.uint16(Bit.BAD | Bit.EDGE)) == 0
            census.count(data, good, before)
            self.rays_marked |= bool((mask & np.uint16(Bit.COSMIC_RAY)).any())
            if good.mean() > 0.02:
                level, rms = self._sky(data, mask)
                census.measure(level, rms)
                if coarse is not None:
                    coarse.add(_excess(data, level, rms), (mask & np.uint16(UNUSABLE)) == 0, y0)
        if not census.finite or not census.levels:
            raise Rejected(Reason.ALL_NAN, f"{census.finite} of {census.pixels} pixels hold a number")
        if census.low == census.high or (census.rms == 0 and self.facts.unit != "photon"):
            raise Rejected(
                Reason.CONSTANT, f"sky of {census.level:g} without noise, pixels {census.low:g} … {census.high:g}"
            )
        self.empty = census.empty_value()
        self._complete(census)
        self._measure_width()
        self.trails = coarse.trails() if coarse is not None else []
        if self.trails:
            self.notes.append(f"{len(self.trails)} trails masked")

    def _complete(self, census: Census) -> None:
        """Fill in what the header does not tell."""
        facts, missing = self.facts, self.told.missing
        level, rms = census.level, census.rms
        self.level = level
        noise = None if "read_noise" in missing else facts.read_noise
        self.subtracted = estimates.is_subtracted(level, rms, None if "gain" in missing else facts.gain, noise or 0.0)
        gain, saturation = facts.gain, facts.saturation
        if "gain" in missing:
            gain = 1.0 if self.subtracted else estimates.gain(level, rms, noise)
            how = "assumed, the sky is subtracted" if self.subtracted else "from the level and noise of the sky"
            self.notes.append(f"gain {gain:.3g} {how}")
        if noise is None:
            noise = estimates.read_noise(level, rms, gain, self.subtracted or "gain" in missing)
        if "saturation" in missing:
            saturation = estimates.saturation(census.top, level, rms)
        elif self.subtracted and saturation is not None:
            saturation -= self.told.sky
        told = () if saturation is None and "saturation" in missing else ("saturation",)
        names = (n for n in ("gain", "read_noise", *told) if n in missing)
        estimated = tuple(sorted({*facts.estimated, *names}))
        self.facts = replace(facts, gain=gain, read_noise=noise, saturation=saturation, estimated=estimated)

    def _measure_width(self) -> None:
        """Measure the width of stars near the middle: what a cosmic ray is depends on it."""
        for side in _WINDOWS:
            self.fwhm = self._width_within(side)
            if self.fwhm is not None or side >= max(self.shape):
                return

    def _width_within(self, side: int) -> float | None:
        ny, nx = self.shape
        y0, x0 = max(0, (ny - side) // 2), max(0, (nx - side) // 2)
        y1 = min(ny, y0 + side)
        data, mask = self._raw(self._stored(y0, y1), y0, y1)
        data, mask = data[:, x0 : x0 + side].copy(), mask[:, x0 : x0 + side].copy()
        level, rms = self._sky(data, mask)
        if self.facts.saturation is not None:
            calibrate.mark(mask, data >= self.facts.saturation, Bit.SATURATED)
        calibrate.fill(data, level, mask)
        frame = Frame(data, variance(data, level, rms, self.facts.gain), mask, self.wcs, self.facts)
        return width_of_stars(frame, level, detect(frame, level, rms, 8.0))[0]

    def band(self, y0: int, y1: int) -> Band:
        """Return rows `y0` to `y1`, masked and filled; `survey` comes first."""
        data, mask = self._raw(self._stored(y0, y1), y0, y1)
        level, rms = self._sky(data, mask)
        noisy = calibrate.edges(data, level, rms)
        if noisy.any():
            calibrate.mark(mask, noisy, Bit.EDGE)
            level, rms = self._sky(data, mask)
        full = calibrate.saturated(data, level, rms, self.facts.saturation, mask)
        calibrate.mark(mask, calibrate.dilated(full, self.settings.grow), Bit.SATURATED)
        if self._quality is None and self.facts.unit != "photon":  # there three photons are far above the sky
            calibrate.mark(mask, calibrate.odd_pixels(data, level, rms, self.fwhm) & ~full, Bit.HOT)
        for trail in self.trails:
            calibrate.mark(mask, trail.mask(_excess(data, level, rms), y0, self.settings.grow), Bit.TRAIL)
        error = None if self._error is None else self._error.counts(y0, y1) * np.float32(self.told.scale)
        spread = variance(data, level, rms, self.facts.gain, error)
        if self._looks_for_rays:
            found = cosmic_rays(
                data - level,
                spread,
                (mask & np.uint16(UNUSABLE)) != 0,
                self.fwhm,
                self.settings.sigclip,
                self.settings.objlim,
                None if self.facts.saturation is None else self.facts.saturation,
            )
            calibrate.mark(mask, calibrate.dilated(found, self.settings.grow), Bit.COSMIC_RAY)
        calibrate.fill(data, level, mask)
        if calibrate.filled(mask).any():
            # Of the filled pixels: what was there before has no part in the variance around.
            spread = variance(data, level, rms, self.facts.gain, error)
            grown(spread, data, level, calibrate.filled(mask))
        return Band(Frame(data, spread, mask, coordinates.sliced(self.wcs, y0, 0), self.facts), level, rms)

    @property
    def _looks_for_rays(self) -> bool:
        return self.settings.cosmic_rays and not self.told.combined and not self.rays_marked


def _excess(data: Pixels, level: Pixels, rms: Pixels) -> Pixels:
    return np.asarray((data - level) / np.maximum(rms, np.float32(1e-20)), np.float32)
