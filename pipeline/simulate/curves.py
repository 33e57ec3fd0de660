"""What is known of one simulated star in one sector: its truth and its columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.simulate.eclipses import Floats
from pipeline.simulate.stars import Star

__all__ = ["PhotometryCurve", "SimulatedCurve"]

Floats32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotometryCurve(Star):  # numpydoc ignore=PR01
    """One star in one sector: its truth, all fields of `Star`, and its light, (n,) columns as in SPOC's files.

    Parameters
    ----------
    sector : int
        Sector observed.
    cadence_s : float
        Seconds.
    n_pixels : int
        Pixels in the aperture.
    n_eclipses : int
        Mid-times of primary and secondary eclipses that fall on a cadence with QUALITY 0 and a flux.
    time : (n,) float64
        Mid-exposure, BTJD, NaN in gaps.
    flux, flux_err : (n,) float32
        PDCSAP, e-/s.
    quality : (n,) int32
        SPOC's bits.
    """

    sector: int
    cadence_s: float
    n_pixels: int
    n_eclipses: int
    time: Floats
    flux: Floats32
    flux_err: Floats32
    quality: NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedCurve(PhotometryCurve):  # numpydoc ignore=PR01
    """One star in one sector: its truth, its light (`PhotometryCurve`), and the other (n,) columns of SPOC's files.

    Parameters
    ----------
    cadenceno : (n,) int32
        Contiguous.
    timecorr : (n,) float32
        Barycentric correction, days, 0 in gaps; `time` is spacecraft time + `timecorr`.
    sap_flux, sap_flux_err, bkg, bkg_err : (n,) float32
        Simple aperture photometry and the background in the aperture, e-/s.
    centroid1, centroid2 : (n,) float64
        Column and row, pixels.
    centroid1_err, centroid2_err, pos_corr1, pos_corr2 : (n,) float32
        Pixels.
    """

    cadenceno: NDArray[np.int32]
    timecorr: Floats32
    sap_flux: Floats32
    sap_flux_err: Floats32
    bkg: Floats32
    bkg_err: Floats32
    centroid1: Floats
    centroid2: Floats
    centroid1_err: Floats32
    centroid2_err: Floats32
    pos_corr1: Floats32
    pos_corr2: Floats32
