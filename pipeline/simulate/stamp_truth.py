"""What is true of a stack of simulated stamps, and whether anybody could see it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.simulate.stamp_scenes import Sky

__all__ = ["truth", "visible"]


def truth(sky: Sky, facts: Sequence[Mapping[str, Any]], limits: Mapping[str, float]) -> dict[str, Any]:
    """Return what is true of a stack: of its filters, each with about the share of the light that it has in it.

    Parameters
    ----------
    sky : Sky
        What there is.
    facts : sequence of mapping
        Of each filter's stamp, as `pipeline.simulate.stamps.Rendered` has them.
    limits : mapping
        As of `visible`.

    Returns
    -------
    dict
        label, kind, sep_arcsec, pa_deg, delta_mag, snr_1, psf_fwhm_arcsec, weight: see `catalogs.stamps.LESSONS`.
    """
    snrs, widths = (np.array([one[name] for one in facts]) for name in ("snr", "fwhm_arcsec"))
    share = (snrs / widths) ** 2
    share /= share.sum()
    snr = float(1 / np.sqrt(np.square(share / snrs).sum()))
    width = float(np.sqrt(share @ widths**2))
    told: dict[str, Any] = {"label": sky.label, "kind": sky.kind, "snr_1": snr, "psf_fwhm_arcsec": width, "weight": 1.0}
    told |= dict.fromkeys(("sep_arcsec", "pa_deg", "delta_mag"), np.nan)
    if sky.label:
        ratio = float(share @ [one["light"][1] for one in facts])
        angle = np.degrees(np.arctan2(sky.east[1], sky.north[1])) + (180 if ratio > 1 else 0)
        told |= {"sep_arcsec": sky.separation, "pa_deg": angle % 360, "delta_mag": abs(2.5 * np.log10(ratio))}
        if ratio > 1:
            told["snr_1"] = snr * np.sqrt(ratio)
        told["weight"] = float(visible(sky.separation / width, ratio, snr, limits))
    return told


def visible(width: float, ratio: float, snr: float, limits: Mapping[str, float]) -> bool:
    """Return whether anybody could see that a star is double.

    A pair that is not resolved widens by the second moment that its stars have about their common centre, f (1 - f) s²;
    a resolved one shows its companion's own signal.

    Parameters
    ----------
    width : float
        Separation in FWHM.
    ratio : float
        Light of the companion, relative to the primary's.
    snr : float
        Of the primary.
    limits : mapping
        Least ``fwhm`` and ``sigmas``.
    """
    ratio = min(ratio, 1 / ratio)
    # 8 ln 2 makes variances of squared FWHM; a width is measured to σ² √2 / (S/N) of the whole.
    second = 8 * np.log(2) * width**2 * ratio / (1 + ratio) * snr / np.sqrt(2)
    return bool(width >= limits["fwhm"] and min(second, ratio * snr) >= limits["sigmas"])
