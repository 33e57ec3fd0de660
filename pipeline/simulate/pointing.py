"""Where two frames look: what their headers claim, and where the stars really are."""

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS, Sip

from pipeline.simulate.profiles import Floats

__all__ = ["Pointing", "tangent"]


def tangent(
    centre: tuple[float, float],
    shape: tuple[int, int],
    pixel_scale: float,
    rotation: float = 0.0,
    dither: tuple[float, float] = (0.0, 0.0),
    distortion: float = 0.0,
) -> WCS:
    """Return a gnomonic projection, north up and east left unless rotated.

    Parameters
    ----------
    centre : tuple of float
        Right ascension and declination at the middle of the frame, degrees.
    shape : tuple of int
        Rows and columns.
    pixel_scale : float
        Arcsec.
    rotation : float
        Degrees.
    dither : tuple of float
        How far `centre` is from the middle of the frame in x and y, px.
    distortion : float
        Of SIP polynomials of second and third order at the middle of the edges, px; without them if 0.

    Returns
    -------
    astropy.wcs.WCS
        0-based pixel → ICRS.
    """
    ny, nx = shape
    wcs = WCS(naxis=2)
    wcs.wcs.crpix = [(nx + 1) / 2 + dither[0], (ny + 1) / 2 + dither[1]]
    wcs.wcs.crval = list(centre)
    angle = np.deg2rad(rotation)
    turn = np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.wcs.cd = turn * pixel_scale / 3600
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.radesys = "ICRS"
    if distortion:
        half = max(nx, ny) / 2
        a, b = np.zeros((4, 4)), np.zeros((4, 4))
        a[2, 0], a[0, 2], a[1, 2], a[3, 0] = (
            distortion * f / half**p for f, p in ((0.6, 2), (-0.3, 2), (0.5, 3), (0.4, 3))
        )
        b[1, 1], b[2, 0], b[2, 1], b[0, 3] = (
            distortion * f / half**p for f, p in ((0.5, 2), (0.4, 2), (0.5, 3), (0.4, 3))
        )
        wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
        wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.wcs.set()
    wcs.array_shape = shape
    return wcs


@dataclass(frozen=True, eq=False)
class Pointing:
    """Two frames on the sky; the reference's claim is the truth, the science frame's is off.

    Parameters
    ----------
    reference, science : astropy.wcs.WCS
        As claimed.
    shift : tuple of float
        True place in the science frame less the claimed one, px.
    warp : float
        Further error, a quadratic in the place that no shift takes away: its size at the frame's edges, px.
    """

    reference: WCS
    science: WCS
    shift: tuple[float, float] = (0.0, 0.0)
    warp: float = 0.0

    def extent(self, margin: float) -> tuple[float, float, float, float]:
        """Return the part of the reference's plane that shines into either frame.

        Parameters
        ----------
        margin : float
            How far sources beyond the edges shine, px.

        Returns
        -------
        tuple of float
            Least and largest x, least and largest y, px of the reference.
        """
        xs, ys = [], []
        for wcs in (self.reference, self.science):
            ny, nx = wcs.array_shape
            sky = wcs.all_pix2world(np.array([0.0, nx, nx, 0.0]), np.array([0.0, 0.0, ny, ny]), 0)
            x, y = self.reference.all_world2pix(*sky, 0)
            xs.append(x)
            ys.append(y)
        x, y = np.concatenate(xs), np.concatenate(ys)
        return float(x.min() - margin), float(x.max() + margin), float(y.min() - margin), float(y.max() + margin)

    def to_science(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return where light really falls.

        Parameters
        ----------
        x, y : (n,) float64
            0-based pixels of the reference, which may be beyond its edges.

        Returns
        -------
        x, y : (n,) float64
            0-based pixels of the science frame.
        """
        sky = self.reference.all_pix2world(x, y, 0)
        x, y = self.science.all_world2pix(*sky, 0, maxiter=30, quiet=True)
        ny, nx = self.science.array_shape
        u, v = 2 * x / (nx - 1) - 1, 2 * y / (ny - 1) - 1
        return x + self.shift[0] + self.warp * (u * u - 1 / 3), y + self.shift[1] + self.warp * (u * v)

    def jacobian(self, x: Floats, y: Floats) -> Floats:
        """Return how the reference's pixels lie in the science frame.

        Parameters
        ----------
        x, y : (n,) float64
            0-based pixels of the reference.

        Returns
        -------
        (n, 2, 2) float64
            d(x_sci, y_sci) / d(x, y).
        """
        columns = []
        for dx, dy in ((1.0, 0.0), (0.0, 1.0)):
            after, before = self.to_science(x + dx, y + dy), self.to_science(x - dx, y - dy)
            columns.append(np.stack([(p - q) / 2 for p, q in zip(after, before, strict=True)], axis=-1))
        return np.stack(columns, axis=-1)
