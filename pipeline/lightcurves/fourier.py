"""Fourier sums of samples at any times: a type-3 non-uniform FFT in double precision, one thread.

The sums are ``F(f) = sum_j c_j exp(2 pi i f t_j)`` for real ``c_j``. Samples are spread onto a fine grid with
a Kaiser-Bessel kernel, transformed by a real FFT, and interpolated at the wanted frequencies with the same
kernel; both kernels are then divided out [1]_. A kernel of 14 cells on a grid oversampled 1.5 times leaves
an error of 1e-11 of the sum of the strengths' sizes.

Nothing here uses fast-math or threads: equal input gives equal bytes whatever the number of workers. Every
kernel and its constants live in this one file, because numba's cache does not see changes of another.

References
----------
.. [1] Barnett, Magland & af Klinteberg 2019, SIAM J. Sci. Comput. 41, C479 (section 3.3);
   Beatty, Nishimura & Pauly 2005, IEEE Trans. Med. Imaging 24, 799 (eq. 5, shape of the kernel).
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray
from scipy.fft import next_fast_len, rfft

__all__ = ["OVERSAMPLING", "Spectrum", "deconvolution", "evaluate", "grid_size", "transform"]

Floats = NDArray[np.float64]

OVERSAMPLING = 1.5  #: of the grid in time over the band, and of the grid in frequency over the span
WIDTH = 14  # cells a kernel covers; even
HALF = WIDTH // 2
BLOCK = 64  # samples whose kernels are worked out together, so that they vectorise

_BETA = np.pi * np.sqrt((WIDTH / OVERSAMPLING) ** 2 * (OVERSAMPLING - 0.5) ** 2 - 0.8)


def _kernel_tables(terms: int) -> tuple[Floats, Floats]:
    """Polynomials of the kernel on each cell: ``even(s^2) + s odd(s^2)``, minus on the mirror cell."""
    node = np.cos(np.pi * (np.arange(4 * terms) + 0.5) / (4 * terms))
    even, odd = np.empty((HALF, terms)), np.empty((HALF, terms))
    for i in range(HALF):
        z = (i + (node + 1) / 2 - HALF) / HALF
        value = np.i0(_BETA * np.sqrt(1 - z * z)) / np.i0(_BETA)
        power = Chebyshev.fit(node, value, 2 * terms - 1, domain=[-1, 1]).convert(kind=Polynomial).coef
        even[i], odd[i] = power[0::2], power[1::2]
    return even, odd


def _inverse_table(terms: int) -> Floats:
    """Polynomial in (2 OVERSAMPLING x)^2 of one over the kernel's Fourier transform, x in cycles a cell."""
    node = np.cos(np.pi * (np.arange(4 * terms) + 0.5) / (4 * terms)) / 2 + 0.5
    root = np.sqrt(_BETA**2 - (np.pi * WIDTH / (2 * OVERSAMPLING)) ** 2 * node)
    value = np.i0(_BETA) * root / (WIDTH * np.sinh(root))
    return np.asarray(Chebyshev.fit(node, value, terms - 1, domain=[0, 1]).convert(kind=Polynomial).coef)


TERMS = WIDTH // 2 + 1
EVEN, ODD = _kernel_tables(TERMS)
INVERSE_TERMS = 16
INVERSE = _inverse_table(INVERSE_TERMS)
INVERSE_SCALE = (2 * OVERSAMPLING) ** 2

# An FFT needs about a megabyte here and there. glibc gives such blocks back at once and faults them in again,
# at three times the cost of the transform, until it has seen one large block freed.
np.empty(31 << 20, np.uint8)


class Spectrum(NamedTuple):
    """Transform of samples on a regular grid of frequencies ``k / (size * step)``.

    Attributes
    ----------
    value : (rows, size // 2 + 1) complex128
        Real FFT of the spread samples, not yet divided by the kernel's transform.
    size : int
        Cells of the grid in time, even.
    step : float
        Cell of the grid in time, in the unit of the times.
    """

    value: NDArray[np.complex128]
    size: int
    step: float


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _kernels(s, out):  # type: ignore[no-untyped-def]
    """Kernel values of the WIDTH cells for each offset ``s`` in [-1, 1] of a block."""
    for i in range(HALF):
        for q in range(BLOCK):
            z = s[q] * s[q]
            even = EVEN[i, TERMS - 1]
            odd = ODD[i, TERMS - 1]
            for d in range(TERMS - 2, -1, -1):
                even = even * z + EVEN[i, d]
                odd = odd * z + ODD[i, d]
            odd *= s[q]
            out[i, q] = even + odd
            out[WIDTH - 1 - i, q] = even - odd


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _spread(time, first, second, step, grid):  # type: ignore[no-untyped-def]
    """Add two sets of strengths at the same times to the two rows of the grid, whose middle is time zero."""
    offset = grid.shape[1] // 2 - WIDTH / 2
    per_step = 1.0 / step
    kernel = np.empty((WIDTH, BLOCK))
    s = np.zeros(BLOCK)
    left = np.zeros(BLOCK, np.int64)
    for start in range(0, time.size, BLOCK):
        count = min(BLOCK, time.size - start)
        for q in range(count):
            x = time[start + q] * per_step + offset
            left[q] = int(x) + 1
            s[q] = 2.0 * (left[q] - x) - 1.0
        _kernels(s, kernel)
        for q in range(count):
            a, b = first[start + q], second[start + q]
            row_a = grid[0, left[q] : left[q] + WIDTH]
            row_b = grid[1, left[q] : left[q] + WIDTH]
            for i in range(WIDTH):
                row_a[i] += a * kernel[i, q]
                row_b[i] += b * kernel[i, q]


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _inverses(cycles, out):  # type: ignore[no-untyped-def]
    """One over the kernel's Fourier transform for a block of frequencies in cycles a cell."""
    for q in range(BLOCK):
        z = cycles[q] * cycles[q] * INVERSE_SCALE
        factor = INVERSE[INVERSE_TERMS - 1]
        for d in range(INVERSE_TERMS - 2, -1, -1):
            factor = factor * z + INVERSE[d]
        out[q] = factor


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _divide_window(grid, reach):  # type: ignore[no-untyped-def]
    """Divide by the transform of the kernel that interpolates in frequency, out to ``reach`` cells."""
    middle = grid.shape[1] // 2
    reach = min(reach, middle - 1)
    cycles = np.empty(BLOCK)
    factor = np.empty(BLOCK)
    for start in range(0, reach + 1, BLOCK):
        for q in range(BLOCK):
            cycles[q] = (start + q) / (2.0 * middle)
        _inverses(cycles, factor)
        for row in range(2):
            for q in range(min(BLOCK, reach + 1 - start)):
                n = start + q
                grid[row, middle + n] *= factor[q]
                if n:
                    grid[row, middle - n] *= factor[q]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _interpolate(spectrum, position, out):  # type: ignore[no-untyped-def]
    """Cosine and sine sums at fractional bins; out is (rows, 2, positions)."""
    kernel = np.empty((WIDTH, BLOCK))
    s = np.zeros(BLOCK)
    left = np.zeros(BLOCK, np.int64)
    for start in range(0, position.size, BLOCK):
        count = min(BLOCK, position.size - start)
        for q in range(count):
            x = position[start + q] - WIDTH / 2
            left[q] = int(np.floor(x)) + 1
            s[q] = 2.0 * (left[q] - x) - 1.0
        _kernels(s, kernel)
        for row in range(spectrum.shape[0]):
            for q in range(count):
                cosine, sine = 0.0, 0.0
                for i in range(WIDTH):
                    k = left[q] + i
                    # time zero stands in the middle of the grid: a factor (-1)^k
                    weight = -kernel[i, q] if k & 1 else kernel[i, q]
                    cosine += weight * spectrum[row, abs(k)].real
                    sine += (weight if k < 0 else -weight) * spectrum[row, abs(k)].imag
                out[row, 0, start + q] = cosine
                out[row, 1, start + q] = sine


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _deconvolve(cycles, out):  # type: ignore[no-untyped-def]
    block = np.zeros(BLOCK)
    factor = np.empty(BLOCK)
    for start in range(0, cycles.size, BLOCK):
        count = min(BLOCK, cycles.size - start)
        block[:count] = cycles[start : start + count]
        _inverses(block, factor)
        out[start : start + count] = factor[:count]


def grid_size(span: float, band: float, oversampling: float | None = None) -> float:
    """Cells of the grid that `transform` would need (a float: it may be absurdly large)."""
    cells = span * 2 * band * OVERSAMPLING
    if oversampling is None:  # the margins of the spread samples too must lie where the window is divided out
        return max(OVERSAMPLING * (cells + WIDTH), 4 * WIDTH)
    return max(oversampling * cells, cells + WIDTH + 2, 4 * WIDTH)


def transform(time: Floats, first: Floats, second: Floats, band: float, oversampling: float | None = None) -> Spectrum:
    """Spread two sets of samples at common times and transform them.

    Parameters
    ----------
    time : (n,) float64
        Times, centred: from -span/2 to span/2. Need not be sorted.
    first, second : (n,) float64
        The samples.
    band : float
        Highest frequency wanted, in cycles per unit of time.
    oversampling : float, optional
        Grid in frequency finer than 1/span by this factor, for use bin by bin with `deconvolution`. By
        default the spectrum is prepared for `evaluate` at any frequencies.

    Returns
    -------
    Spectrum
        Two rows.
    """
    span = 2 * float(np.abs(time).max())
    cells = grid_size(span, band, oversampling)
    size = 2 * next_fast_len(int(np.ceil(cells / 2)), real=True)
    step = 1 / (2 * band * OVERSAMPLING)
    grid = np.zeros((2, size))
    _spread(time, first, second, step, grid)
    if oversampling is None:
        _divide_window(grid, int(span / (2 * step)) + WIDTH)
    return Spectrum(rfft(grid), size, step)


def evaluate(spectrum: Spectrum, frequency: Floats, rows: slice = slice(None)) -> Floats:
    """Cosine and sine sums at any frequencies up to the band.

    Parameters
    ----------
    spectrum : Spectrum
        From `transform` without ``oversampling``.
    frequency : (m,) float64
        In cycles per unit of time.
    rows : slice
        Which of the two sets of samples.

    Returns
    -------
    (rows, 2, m) float64
        ``sum c cos(2 pi f t)`` and ``sum c sin(2 pi f t)``.
    """
    value = spectrum.value[rows]
    out = np.empty((value.shape[0], 2, frequency.size))
    _interpolate(value, frequency * (spectrum.size * spectrum.step), out)
    out *= deconvolution(frequency * spectrum.step)
    return out


def deconvolution(cycles: Floats) -> Floats:
    """One over the kernel's Fourier transform.

    Parameters
    ----------
    cycles : (m,) float64
        Frequencies in cycles a cell of the grid, at most 1 / (2 OVERSAMPLING).

    Returns
    -------
    (m,) float64
        The factor that the spread samples' transform is to be multiplied by.
    """
    out = np.empty_like(cycles)
    _deconvolve(cycles, out)
    return out
