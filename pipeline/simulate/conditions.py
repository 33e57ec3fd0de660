"""What pairs of images shall be like: settings, and the cases that differencing is measured on."""

from dataclasses import dataclass, field, replace

from pipeline.simulate.exposure import Exposure
from pipeline.simulate.scene import Population

__all__ = ["REFERENCE", "SCIENCE", "FieldSettings", "dirty", "misregistered", "varying"]

#: The frames of a pair unless others are asked for.
SCIENCE = Exposure(fwhm=4.0, scale=0.9)
REFERENCE = Exposure(fwhm=2.5, sky=150.0, gain=6.0, read_noise=4.0, exptime=600.0, mjd=59900.25)


@dataclass(frozen=True)
class FieldSettings:
    """What a pair of images shall be like.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of both frames.
    science, reference : Exposure
        The frames; the reference is deeper and sharper.
    population : Population
        Stars and galaxies.
    transients : int
        How many, a third in each environment.
    scattered, variables : int
        Further ones: anywhere, whatever is there (environment ``any``), and on stars that the reference shows
        (``star``).
    edge : float
        Least distance of them all from the edges of either frame, px.
    snr : tuple of float
        Limits of S/N_opt.
    spacing : str
        ``log`` or ``linear``: in what S/N_opt is uniform.
    negative : float
        Share that fade: only in the reference.
    pixel_scale : float
        Of the reference, arcsec.
    zoom : float
        Pixel scale of the science frame over that.
    rotation : float
        Of the science frame against the reference, degrees.
    dither : float
        Largest offset of the science frame in x and y, px; drawn at random. 0: the same grid.
    misregistration, warp : float
        How far the science frame's WCS is off, px: a shift in a random direction, and a quadratic in the place.
    distortion : float
        Of both frames' optics at the edges, px, told in their headers (SIP).
    centre : tuple of float
        Degrees.
    missing : tuple of str
        Words left out of the headers.
    """

    shape: tuple[int, int] = (1024, 1024)
    science: Exposure = SCIENCE
    reference: Exposure = REFERENCE
    population: Population = field(default_factory=Population)
    transients: int = 60
    scattered: int = 0
    variables: int = 0
    edge: float = 40.0
    snr: tuple[float, float] = (3.0, 10.0)
    spacing: str = "log"
    negative: float = 0.0
    pixel_scale: float = 0.5
    zoom: float = 1.0
    rotation: float = 0.0
    dither: float = 3.0
    misregistration: float = 0.0
    warp: float = 0.0
    distortion: float = 0.0
    centre: tuple[float, float] = (150.0, 2.2)
    missing: tuple[str, ...] = ()


def varying(settings: FieldSettings | None = None) -> FieldSettings:
    """Let the point-spread functions of both frames change over the field.

    Parameters
    ----------
    settings : FieldSettings, optional
        What else shall hold.

    Returns
    -------
    FieldSettings
        The FWHM changes by ±10%, the ellipticity by ±0.03.
    """
    settings = settings or FieldSettings()
    science, reference = (replace(one, variation=0.1, shear=0.03) for one in (settings.science, settings.reference))
    return replace(settings, science=science, reference=reference)


def misregistered(settings: FieldSettings | None = None) -> FieldSettings:
    """Let the science frame's WCS be wrong by 0.1 px.

    Parameters
    ----------
    settings : FieldSettings, optional
        What else shall hold.

    Returns
    -------
    FieldSettings
        A shift in a random direction.
    """
    return replace(settings or FieldSettings(), misregistration=0.1)


def dirty(settings: FieldSettings | None = None) -> FieldSettings:
    """Let both frames show what is not on the sky.

    Parameters
    ----------
    settings : FieldSettings, optional
        What else shall hold.

    Returns
    -------
    FieldSettings
        Cosmic rays, hot and dead pixels and gradients in both frames; a satellite's trail, asteroids and a dead column
        in the science frame.
    """
    settings = settings or FieldSettings()
    science, reference = (
        replace(one, hot_pixels=30.0, dead_pixels=10.0, gradient=0.1, curvature=0.05)
        for one in (settings.science, settings.reference)
    )
    science = replace(science, cosmic_rays=60.0, trails=1, movers=3, dead_columns=1)
    reference = replace(reference, cosmic_rays=20.0)
    return replace(settings, science=science, reference=reference)
