"""Measure a source: whether it is two stars, how wide, at which angle, how unequal, or what would have been seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.visual_binaries import DM_LIMITS
from pipeline.stamps.gaia import julian_year
from pipeline.stamps.odds import p_fit
from pipeline.stamps.pairs import SURE, Comparison, Fit, compare, fit
from pipeline.stamps.picture import Picture, Stamp, picture
from pipeline.stamps.places import sought
from pipeline.stamps.psf import Psf
from pipeline.stamps.search import ring, scores
from pipeline.stamps.stars import psf_of
from pipeline.stamps.surveys import REACH

__all__ = ["Measure", "measure"]

Array = NDArray[np.float64]

#: Sigmas that the faintest companion would have shown with, which `DM_LIMITS` tell of.
_SIGMA = 5.0

#: Share of the directions in which there must be pixels for such a limit to be told.
_SEEN = 0.5

#: Magnitudes of one e-fold of flux.
_MAG = 2.5 / np.log(10)

#: Gain of χ² from which an image's own separation is told.
_OWN = 9.0

#: What is not known without knowing where north is.
_NORTH = ("ra", "dec", "pos_epoch", "ra_2", "dec_2", "pa_deg", "pa_deg_err")

#: Arcsec by which positions of one survey differ from another's, at best.
_ASTROMETRY = 0.05


@dataclass(frozen=True, eq=False)
class Measure:
    """What fits say of a source.

    Parameters
    ----------
    source : dict
        ra, dec (of the brightest star, where it was found), pos_epoch (Julian year of that), n_components (within
        2.5"), n_images, p_fit, snr_1, width (best separation over the smallest FWHM, even if it is not significant),
        delta_chi2, delta_chi2_extended (over an extended source), sep_arcsec, sep_arcsec_err, pa_deg, pa_deg_err (east
        of north, from the brighter to the fainter), pa_ambiguous, delta_mag, delta_mag_err (mean of the bands), ra_2,
        dec_2: NaN unless two stars fit significantly better than one, and better than one that is extended
        (pa_ambiguous: None); and `DM_LIMITS`, negative where not even an equal star would have been seen, NaN where
        there are no pixels. Without an image that can be fitted n_images is 0, the rest NaN; so are angles and places
        where no stamp that was fitted tells where north is.
    rows : list of dict
        A row an image: survey, filter, mjd, fwhm_arcsec, snr_1, flux_2 and mag_2 of the fainter star, delta_chi2,
        sep_arcsec and pa_deg by a fit to it alone that begins at the common one, delta_mag (fainter minus brighter star
        of the source) at the common separation; each with its error, `_err`.
    """

    source: dict[str, Any]
    rows: list[dict[str, Any]]


def measure(
    stamps: Sequence[Stamp], ra: float = np.nan, dec: float = np.nan, most: int = 4,
    psfs: Mapping[tuple[str, str], Psf] | None = None,
) -> Measure:  # fmt: skip
    """Fit one and more stars to all images of a source.

    Parameters
    ----------
    stamps : sequence of Stamp
        Of all surveys and filters; those that cannot resolve 2.5" are not asked, nor, beside ones that tell where north
        is, those that do not; of these alone the sharpest survey is.
    ra, dec : float
        Of the place x0, y0 of the stamps, deg; the source need not be quite there.
    most : int
        Components that are fitted, at most.
    psfs : mapping, optional
        (survey, filter) → PSF from stars of other stamps, as `stars.psf_among` returns it.
    """
    used, pictures = _fitted(stamps, psfs or {})
    if not pictures:
        return Measure(_nothing(), [_row(stamp) for stamp in stamps])
    found = compare(pictures, most)
    source = _nothing() | {
        "n_components": 1, "n_images": len(pictures), "delta_chi2": found.delta_chi2,
        "delta_chi2_extended": found.delta_extended,
    }  # fmt: skip
    pair = _pair(found)
    first = pair.pop("first")
    sharpest = min(one.scale * float(np.exp(found.two.thetas[i, 0])) for i, one in enumerate(found.fitted))
    source["width"] = pair["sep_arcsec"] / sharpest if pair["sep_arcsec"] <= REACH else np.nan
    double = pair["sep_arcsec"] <= REACH and found.delta_chi2 > SURE and found.delta_extended > 0
    if pair["sep_arcsec"] > REACH:
        source["delta_chi2"] = 0.0
    if double:
        source |= pair
        source["n_components"] = 1 + int((np.hypot(*found.more.offsets.T) <= REACH).sum())
        source |= _place(found.two, used, 1 - first, ra, dec, "_2")
    source |= _place(found.two if double else found.one, used, first if double else 0, ra, dec)
    source |= _limits(found, found.more if double else found.one)
    rows = {id(stamp): _measured(stamp, found, i, first, double) for i, stamp in enumerate(used)}
    source["snr_1"] = float(np.sqrt(sum(row["snr_1"] ** 2 for row in rows.values())))
    source["p_fit"] = float(p_fit(*(source[name] for name in ("delta_chi2", "delta_chi2_extended", "snr_1", "width"))))
    if not used[0].oriented:
        for told in (source, *rows.values()):
            told |= {name: np.nan for name in _NORTH if name in told}
    return Measure(source, [rows.get(id(stamp)) or _row(stamp) for stamp in stamps])


def _fitted(stamps: Sequence[Stamp], psfs: Mapping[tuple[str, str], Psf]) -> tuple[list[Stamp], list[Picture]]:
    """Return the stamps that are fitted, and their pixels: around the source, wherever that is."""
    used, pictures = list[Stamp](), list[Picture]()
    for stamp in stamps:
        if not stamp.able:
            continue
        told = psfs.get((stamp.survey, stamp.filter))
        before = stamp.psf if told is None else told.scaled(stamp.fwhm / stamp.pixscale)
        one = picture(stamp, psf_of(stamp, before))
        if one is not None:
            used.append(stamp)
            pictures.append(one)
    alike = _alike(used)
    used = [one for one, kept in zip(used, alike, strict=True) if kept]
    pictures = [one for one, kept in zip(pictures, alike, strict=True) if kept]
    places = sought(pictures) if pictures else []
    for i, (one, (x, y)) in enumerate(zip(pictures, places, strict=True)):
        if (x, y) != (one.x0, one.y0):
            pictures[i] = picture(replace(used[i], x0=float(x), y0=float(y)), one.psf) or one
    return used, pictures


def _alike(stamps: Sequence[Stamp]) -> list[bool]:
    """Return which stamps are fitted: those whose axes are known, else those of the sharpest survey."""
    if any(stamp.oriented for stamp in stamps):
        return [stamp.oriented for stamp in stamps]
    sharpest = min(stamps, key=lambda stamp: stamp.fwhm).survey if stamps else None
    return [stamp.survey == sharpest for stamp in stamps]


def _nothing() -> dict[str, Any]:
    names = ("ra", "dec", "pos_epoch", "n_components", "delta_chi2", "delta_chi2_extended", "snr_1", "width", "p_fit",
             "sep_arcsec", "sep_arcsec_err", "pa_deg", "pa_deg_err", "delta_mag", "delta_mag_err", "ra_2", "dec_2",
             *DM_LIMITS.values())  # fmt: skip
    return {"n_images": 0, "pa_ambiguous": None} | dict.fromkeys(names, np.nan)


def _ratio(found: Fit, image: int) -> tuple[float, float]:
    """Return magnitudes by which the companion is fainter than the first star, and their error."""
    first, second = found.fluxes[image][:2]
    if first <= 0 or second <= 0:
        return np.nan, np.nan
    slope = _MAG * np.array([1 / first, -1 / second])
    return float(-_MAG * np.log(second / first)), float(np.sqrt(slope @ found.flux_error(image)[:2, :2] @ slope))


def polar(offset: Array, covariance: Array) -> tuple[float, float, float, float]:
    """Return separation and position angle of an offset east and north, each with its error.

    Parameters
    ----------
    offset : (2,) float64
        Arcsec.
    covariance : (2, 2) float64
        Arcsec².

    Returns
    -------
    sep, sep_err, pa, pa_err : float
        Arcsec and degrees, east of north, from 0 to 360.
    """
    east, north = offset
    radius = max(float(np.hypot(east, north)), 1e-9)
    along, across = offset / radius, np.array([north, -east]) / radius
    angle = np.degrees(np.arctan2(east, north)) % 360
    error = np.degrees(np.sqrt(across @ covariance @ across) / radius)
    return radius, float(np.sqrt(along @ covariance @ along)), float(angle), min(float(error), 180.0)


def _pair(found: Comparison) -> dict[str, Any]:
    """Return separation, angle and difference of the two stars, and which of them (0, 1) is the brighter."""
    ratios = np.array([_ratio(found.two, i) for i in range(len(found.fitted))])
    weight = np.nan_to_num(1 / ratios[:, 1] ** 2)
    total = weight.sum()
    mean = float((weight * np.nan_to_num(ratios[:, 0])).sum() / total) if total > 0 else np.nan
    # Bands in which it differs scatter by more than their errors.
    scatter = (weight * np.nan_to_num(ratios[:, 0] - mean) ** 2).sum() / max((weight > 0).sum() - 1, 1)
    error = float(1 / np.sqrt(total)) if total > 0 else np.nan
    first = int(mean < 0)
    offset = -found.two.offsets[0] if first else found.two.offsets[0]
    sep, sep_err, pa, pa_err = polar(offset, found.two.covariance[:2, :2])
    if not total > 0:
        sep = np.inf
    return {
        "sep_arcsec": sep, "sep_arcsec_err": sep_err, "pa_deg": pa, "pa_deg_err": pa_err, "delta_mag": abs(mean),
        "delta_mag_err": error * float(np.sqrt(max(scatter, 1.0))), "pa_ambiguous": bool(abs(mean) < 2 * error),
        "first": first,
    }  # fmt: skip


def _place(found: Fit, stamps: Sequence[Stamp], star: int, ra: float, dec: float, name: str = "") -> dict[str, float]:
    """Return right ascension and declination of a star, the mean of all images; of the first with its epoch."""
    offset, dated, total = np.zeros(2), np.zeros(2), 0.0
    for i, one in enumerate(stamps):
        weight = 1 / (np.trace(found.place_error(i)) * one.pixscale**2 / 2 + _ASTROMETRY**2)
        x, y = found.places[i][star]
        offset += weight * np.array([-(x - one.x0), y - one.y0]) * one.pixscale
        dated += weight * np.array([one.mjd, 1.0]) if np.isfinite(one.mjd) else 0.0
        total += weight
    place = _sky(offset / total, ra, dec)
    epoch = float(julian_year(dated[0] / dated[1])) if dated[1] else np.nan
    return dict(zip((f"ra{name}", f"dec{name}"), place, strict=True)) | ({} if name else {"pos_epoch": epoch})


def _sky(offset: Array, ra: float, dec: float) -> tuple[float, float]:
    """Return right ascension and declination of an offset east and north, arcsec, on the plane of an image."""
    east, north = np.radians(offset / 3600)
    lat = np.radians(dec)
    down = np.cos(lat) - north * np.sin(lat)
    away = np.arctan2(np.sin(lat) + north * np.cos(lat), np.hypot(down, east))
    return float((ra + np.degrees(np.arctan2(east, down))) % 360), float(np.degrees(away))


def _limits(found: Comparison, last: Fit) -> dict[str, float]:
    """Return the faintest companions that would have been seen, mag below the brightest star, by separation."""
    limits = {}
    brightest = [int(np.argmax(fluxes[: 1 + len(last.offsets)])) for fluxes in last.fluxes]
    for radius, name in DM_LIMITS.items():
        offsets = ring(radius)
        information = np.zeros(len(offsets))
        for i, one in enumerate(found.pictures):
            x, y = last.places[i][brightest[i]]
            _, error = scores(
                one, last.places[i], last.thetas[i], x - offsets[:, 0] / one.scale, y + offsets[:, 1] / one.scale
            )
            information += (last.fluxes[i][brightest[i]] / error) ** 2
        seen = information > 0
        if seen.mean() > _SEEN:
            limits[name] = float(np.median(2.5 * np.log10(np.sqrt(information[seen]) / _SIGMA)))
    return limits


def _row(stamp: Stamp) -> dict[str, Any]:
    """Return the row of an image that says nothing."""
    names = ("snr_1", "flux_2", "mag_2", "delta_chi2", "sep_arcsec", "sep_arcsec_err", "pa_deg", "pa_deg_err",
             "delta_mag", "delta_mag_err")  # fmt: skip
    told = {"survey": stamp.survey, "filter": stamp.filter, "mjd": stamp.mjd, "fwhm_arcsec": stamp.fwhm}
    return told | dict.fromkeys(names, np.nan)


def _measured(stamp: Stamp, found: Comparison, image: int, first: int, double: bool) -> dict[str, Any]:
    """Return the row of an image, by fits of its own that begin where the common ones ended."""
    one, row = found.fitted[image], _row(stamp)
    row["fwhm_arcsec"] = float(np.exp((found.two if double else found.one).thetas[image, 0])) * one.scale
    alone = fit([one], [found.one.places[image]], np.empty((0, 2)), found.one.thetas[image : image + 1], 5)
    places = np.delete(found.two.places[image], 1, axis=0)
    two = fit([one], [places], found.two.offsets, found.two.thetas[image : image + 1], 15)
    sep, sep_err, pa, pa_err = polar(-two.offsets[0] if first else two.offsets[0], two.covariance)
    row["delta_chi2"] = max(alone.chi2 - two.chi2, 0.0) if sep <= REACH else 0.0
    if not double:
        row["snr_1"] = _snr(one, alone, 0)
        return row
    row["snr_1"] = _snr(one, two, first)
    ratio, error = _ratio(found.two, image)
    if np.isfinite(ratio):
        row |= {"delta_mag": -ratio if first else ratio, "delta_mag_err": error}
        row["flux_2"] = float(found.two.fluxes[image][1 - first]) * one.unit
        row["mag_2"] = stamp.zeropoint - 2.5 * float(np.log10(row["flux_2"]))
    if sep <= REACH and two.fluxes[0][1] > 0 and row["delta_chi2"] > _OWN:
        row |= {"sep_arcsec": sep, "sep_arcsec_err": sep_err, "pa_deg": pa, "pa_deg_err": pa_err}
    return row


def _snr(one: Picture, found: Fit, star: int) -> float:
    """Return signal to noise of a star of one image, all but its flux known."""
    share = one.modelled(found.places[0][star : star + 1], found.thetas[0], np.ones(1))
    return float(found.fluxes[0][star] * np.sqrt((share**2 / one.variance).sum()))
