"""Point sources stay unflagged, events in a single pixel, dipoles and streaks do not; errors are what they say."""

import numpy as np
import pandas as pd
import pytest
from scipy.fft import irfft2, rfft2
from scipy.ndimage import maximum_filter

from catalogs.candidates import Flag
from pipeline.images.features import measure, position_error
from pipeline.images.frame import Bit
from pipeline.images.templates import amplitudes, cutouts, fwhm, shifted

N, M = 512, 41


def moffat(width, size, dx=0.0, dy=0.0, beta=3.5):
    y, x = np.mgrid[:size, :size] - size // 2
    core = width / 2 / np.sqrt(2 ** (1 / beta) - 1)
    psf = (1 + ((x - dx) ** 2 + (y - dy) ** 2) / core**2) ** -beta
    return psf / psf.sum()


class Field:
    """A difference after ZOGY (2016, eq. 13-16) of two images of white noise, with the truth put in."""

    def __init__(self, science, reference, noise_n, noise_r, seed):
        self.rng, self.width, self.noise = np.random.default_rng(seed), science, (noise_n, noise_r)
        pn, pr = (rfft2(np.fft.ifftshift(moffat(width, N))) for width in (science, reference))
        root = np.sqrt(noise_r**2 * abs(pn) ** 2 + noise_n**2 * abs(pr) ** 2)
        self.kn, self.kr, self.psf_hat = pr / root, pn / root, pn * pr / root
        self.psf, self.delta_n, self.delta_r = (self.stamp(hat) for hat in (self.psf_hat, self.kn, self.kr))
        self.science, self.reference = np.zeros((N, N)), np.zeros((N, N))
        grid = np.arange(24, N - 24, 32)
        self.x, self.y = (axis.ravel().astype(float) for axis in np.meshgrid(grid, grid))

    def stamp(self, hat):
        image, half = np.fft.fftshift(irfft2(hat, s=(N, N))), M // 2
        return image[N // 2 - half : N // 2 + half + 1, N // 2 - half : N // 2 + half + 1].astype(np.float32)

    def sources(self, snr, image=None, shift=(0.0, 0.0), jitter=True):
        image = self.science if image is None else image
        if jitter:
            self.x += self.rng.uniform(-0.5, 0.5, len(self.x))
            self.y += self.rng.uniform(-0.5, 0.5, len(self.y))
        scale = np.sqrt((self.psf.astype(float) ** 2).sum())
        for x, y, value in zip(self.x + shift[0], self.y + shift[1], np.resize(snr, len(self.x)), strict=True):
            column, row = round(x), round(y)
            there = image[row - 20 : row + 21, column - 20 : column + 21]
            there += value / scale * moffat(self.width, M, x - column, y - row)

    def events(self, snr, image, delta):
        psf, delta = self.psf.astype(float), delta.astype(float)
        answer = irfft2(rfft2(delta, s=(N, N)) * np.conj(rfft2(psf, s=(N, N))), s=(N, N))
        image[self.y.astype(int), self.x.astype(int)] += snr * np.sqrt((psf**2).sum()) / answer.max()

    def images(self):
        noise_n, noise_r = (self.rng.normal(0, sigma, (N, N)) for sigma in self.noise)
        hat = self.kn * rfft2(self.science + noise_n) - self.kr * rfft2(self.reference + noise_r)
        score = irfft2(hat * np.conj(self.psf_hat), s=(N, N)) / np.sqrt((self.psf.astype(float) ** 2).sum())
        return irfft2(hat, s=(N, N)).astype(np.float32), score.astype(np.float32)

    def found(self, mask=None, near=2.0):
        difference, score = self.images()
        rows = []
        for sign in (1, -1):
            y, x = np.nonzero((sign * score > 5) & (sign * score == maximum_filter(sign * score, 5)))
            rows += [(a, b, float(score[b, a])) for a, b in zip(x, y, strict=True)]
        peaks = pd.DataFrame(rows, columns=["x", "y", "snr"]).astype(float)
        away = np.hypot(peaks["x"].to_numpy()[:, None] - self.x, peaks["y"].to_numpy()[:, None] - self.y).min(1)
        peaks = peaks[away < near].reset_index(drop=True)
        mask = np.zeros((N, N), np.uint16) if mask is None else mask
        table = measure(peaks, difference, score, mask, self.psf, delta_n=self.delta_n, delta_r=self.delta_r)
        return pd.concat([peaks, table], axis=1)


def share(table, flag):
    return float(((table["flags"] & int(flag)) != 0).mean())


OPTICS = [(4.0, 2.5, 1.0, 1.0), (2.5, 4.0, 1.0, 0.5), (2.2, 2.2, 1.0, 0.3), (6.0, 5.0, 1.0, 1.0)]


@pytest.mark.parametrize("optics", OPTICS, ids=str)
def test_point_sources_at_all_strengths_are_unflagged_and_look_like_ones(optics):
    tables = []
    for seed in range(5):
        field = Field(*optics, seed)
        field.sources(np.array([5.5, 6, 6.5, 7, 8, 10, 20, 60]))
        tables.append(field.found())
    table = pd.concat(tables)
    assert len(table) > 1000
    for flag in (Flag.SHARP, Flag.ELONGATED, Flag.DIPOLE, Flag.SIDELOBE):
        assert share(table, flag) < 0.005, flag
    bright = table[table["snr"] > 15]
    assert bright["sharpness"].median() == pytest.approx(1, abs=0.03)
    assert bright["fwhm"].median() == pytest.approx(fwhm(field.psf), rel=0.03)
    assert abs(bright["roundness"].median()) < 0.02 and bright["ellipticity"].median() < 0.12


@pytest.mark.parametrize("optics", OPTICS[:3], ids=str)
def test_events_in_a_single_pixel_of_either_image_are_sharp(optics):
    for side, (own, other) in {"science": (0, 1), "reference": (1, 0)}.items():
        field = Field(*optics, 3)
        delta = (field.delta_n, field.delta_r)[own]
        field.events(12.0, getattr(field, side), delta)
        table = field.found()
        assert len(table) > 200 and (np.sign(table["snr"]) == (1 if own == 0 else -1)).all()
        # Where the other image is sharper, its PSF smears the event to nearly a point source's width.
        assert share(table, Flag.SHARP) > (0.9 if optics[own] >= optics[other] else 0.8)
        assert table["delta_ratio"].median() > 1.03


def test_a_misplaced_star_is_a_dipole_and_a_streak_is_elongated():
    field = Field(3.0, 3.0, 1.0, 1.0, 4)
    field.sources(np.array([60.0]))
    field.sources(np.array([60.0]), field.reference, (0.7, 0.3), jitter=False)
    table = field.found(near=3.5)
    assert share(table, Flag.DIPOLE) > 0.95 and table["dipole"].median() > 0.7
    streak = Field(3.0, 3.0, 1.0, 1.0, 5)
    for along in np.linspace(-4, 4, 9):
        streak.sources(np.array([8.0]), shift=(along, 0.5 * along), jitter=False)
    table = streak.found()
    assert share(table, Flag.ELONGATED) > 0.95 and table["ellipticity"].median() > 0.35
    assert table["roundness"].median() > 0.1  # longer along x


def test_bits_of_the_mask_within_one_fwhm_are_carried_and_no_others():
    field = Field(4.0, 2.5, 1.0, 1.0, 6)
    field.sources(np.array([20.0]), jitter=False)
    mask = np.zeros((N, N), np.uint16)
    x, y = field.x.astype(int), field.y.astype(int)
    mask[y[0] + 2, x[0]] = Bit.COSMIC_RAY | Bit.WEAK
    mask[y[1], x[1] + 12] = Bit.HOT
    table = field.found(mask)
    near = [table[np.hypot(table["x"] - x[k], table["y"] - y[k]) < 2].iloc[0] for k in (0, 1)]
    assert near[0]["flags"] == int(Flag.COSMIC_RAY | Flag.WEAK) and near[1]["flags"] == 0
    assert near[0]["sharpness"] == pytest.approx(1, abs=0.15)  # its pixels are left out, not taken for zero


def test_edges_lobes_and_neighbours():
    psf = moffat(3.0, 21).astype(np.float32)
    image = np.zeros((64, 64), np.float32)
    peaks = pd.DataFrame({"x": [1.0, 30, 33, 50, 63], "y": [30.0, 30, 30, 5, 63], "snr": [9.0, 400, -8, 6, 7]})
    table = measure(peaks, image, image, np.zeros(image.shape, np.uint16), psf)
    assert [bool(f & Flag.EDGE) for f in table["flags"]] == [True, False, False, False, True]
    assert [bool(f & Flag.SIDELOBE) for f in table["flags"]] == [False, False, True, False, False]
    assert table["n_neighbours"].tolist() == [0, 1, 1, 0, 0] and table["delta_ratio"].isna().all()
    nothing = measure(peaks.iloc[:0], image, image, np.zeros(image.shape, np.uint16), psf, delta_n=psf)
    assert len(nothing) == 0 and list(nothing.columns) == list(table.columns)


@pytest.mark.filterwarnings("error")
def test_a_candidate_whose_pixels_are_all_masked_has_no_shape():
    psf = moffat(3.0, 21).astype(np.float32)
    image = np.zeros((64, 64), np.float32)
    image[20:41, 20:41] = 400 * psf
    mask = np.zeros(image.shape, np.uint16)
    mask[:, 40:] = Bit.BAD
    peaks = pd.DataFrame({"x": [55.0, 30.0], "y": [50.0, 30.0], "snr": [9.0, 40.0]})
    table = measure(peaks, image, image, mask, psf, delta_n=psf, delta_r=psf)
    shape = table[["sharpness", "roundness", "fwhm", "ellipticity", "delta_ratio"]]
    assert shape.iloc[0].isna().all() and shape[["sharpness", "fwhm"]].iloc[1].notna().all()
    assert table["flags"].tolist() == [int(Flag.BAD), 0]


def test_places_and_heights_of_templates_are_exact_and_errors_hold():
    psf = moffat(3.0, M)
    moved = shifted(psf, 8, np.array([[0.3, -0.4], [0.0, 0.0]]))
    assert np.abs(moved[0] - moffat(3.0, 17, 0.3, -0.4) * psf.max() / moffat(3.0, M).max()).max() < 0.02 * psf.max()
    assert moved[1] == pytest.approx(psf[12:29, 12:29])
    assert fwhm(psf) == pytest.approx(3.0, rel=0.025) and fwhm(moffat(2.0, M)) == pytest.approx(2.0, rel=0.025)
    rng, n = np.random.default_rng(1), 2000
    sources = np.broadcast_to(20 * psf[12:29, 12:29] / np.sqrt((psf**2).sum()), (n, 17, 17))
    noisy = sources + rng.normal(0, 1, sources.shape)
    fit = amplitudes(noisy, np.ones(noisy.shape), psf, 8, 0.6, 0.05)
    x_err, _ = position_error(psf.astype(np.float32), np.array([20.0]))
    assert fit.offsets[fit.best].std(axis=0) == pytest.approx([x_err[0]] * 2, rel=0.08)
    assert fit.height.mean() == pytest.approx(20, rel=0.01)
    image = np.full((9, 9), np.nan, np.float32)
    image[4, 4:] = 1
    mask = np.zeros((9, 9), np.uint16)
    mask[4, 5], mask[4, 6] = Bit.BAD, Bit.WEAK
    data, weight = cutouts(image, mask, np.array([4.4, 8.0]), np.array([3.6, 4.0]), 2)
    assert weight[0].sum() == data[0].sum() == 2 and weight[1].sum() == data[1].sum() == 3
