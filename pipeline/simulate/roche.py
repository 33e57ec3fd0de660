"""Light of a close binary on a circular orbit: two stars shaped by the Roche potential, from detached to contact.

Each surface is a mesh whose elements radiate as black bodies at 0.8 micrometres, with gravity darkening (von Zeipel
1924; Lucy 1967), linear limb darkening and the light of the companion re-radiated (one reflection, point source). An
element is hidden where it lies within the outline of the star in front, taken as convex and softened by the size of
an element.
Potentials and lengths as in Kopal (1959), "Close Binary Systems", ch. 3: origin in the star, unit the separation.
"""

from dataclasses import dataclass

import numba
import numpy as np
from scipy.interpolate import CubicSpline

from pipeline.simulate.eclipses import Floats

__all__ = ["CloseBinary", "lobe_radius", "roche_light"]

_ROWS, _COLUMNS = 14, 28  # of a mesh, from pole to pole and around
_PHASES = 65  # from 0 to 1/2; the other half mirrors it
_OUTLINE = 40  # directions in which an outline is measured
_COLOUR_K = 17985.0  # h c / (k 0.8 um)


@dataclass(frozen=True)
class CloseBinary:
    """What determines the light of a close binary.

    Parameters
    ----------
    mass_ratio : float
        Of star 2, which is in front at phase 0, over star 1.
    fill1, fill2 : float
        Polar radius over that of the Roche lobe, up to 1; for stars in contact 1 plus the fill-out factor
        (0 to 1 between the inner and the outer critical surface), the same in both.
    teff1, teff2 : float
        Polar temperatures, K.
    cos_i : float
        Cosine of the inclination.
    limb : float
        Linear limb-darkening coefficient.
    albedo : float
        Share of the companion's light that is re-radiated.
    """

    mass_ratio: float
    fill1: float
    fill2: float
    teff1: float
    teff2: float
    cos_i: float
    limb: float
    albedo: float


def lobe_radius(mass_ratio: float) -> float:
    """Radius of the Roche lobe of a star, in units of the separation (Eggleton 1983, ApJ 268, 368, eq. 2).

    Parameters
    ----------
    mass_ratio : float
        Mass of the star over that of its companion.

    Returns
    -------
    float
        Of the sphere of the same volume.
    """
    cube = mass_ratio ** (1 / 3)
    return float(0.49 * cube**2 / (0.6 * cube**2 + np.log1p(cube)))


def roche_light(binary: CloseBinary, n: int = 601) -> tuple[Floats, Floats, Floats]:
    """Light over one orbit.

    Parameters
    ----------
    binary : CloseBinary
        What is seen.
    n : int
        Phases from 0 to 1, evenly spaced.

    Returns
    -------
    phase, light, bare : (n,) float64
        Light relative to its maximum; `bare` is what it would be were neither star hidden by the other.
    """
    q, point = binary.mass_ratio, _inner_point(binary.mass_ratio)
    touching = binary.fill1 > 1
    if touching:
        inner, outer = _potential(point, q), _potential(_outer_point(q), q)
        surface = inner - (binary.fill1 - 1) * (inner - outer)
        levels = (surface, surface / q + (q - 1) / (2 * q))
    else:
        levels = (
            _level(binary.fill1, q, _potential(point, q)),
            _level(binary.fill2, 1 / q, _potential(1 - point, 1 / q)),
        )
    mesh1 = _mesh(levels[0], q, point, touching)
    mesh2 = _mesh(levels[1], 1 / q, 1 - point, touching)
    radii = np.sqrt(mesh1[1].sum() / (4 * np.pi)), np.sqrt(mesh2[1].sum() / (4 * np.pi))
    heat = (binary.teff2 / binary.teff1) ** 4
    bright1 = _brightness(mesh1, binary.teff1, binary.albedo, heat * radii[1] ** 2)
    bright2 = _brightness(mesh2, binary.teff2, binary.albedo, radii[0] ** 2 / heat)
    half = np.linspace(0, 0.5, _PHASES)
    light = _integrate(
        mesh1[0], mesh1[2], bright1, mesh2[0], mesh2[2], bright2, binary.cos_i, binary.limb, 2 * np.pi * half
    )
    phase = np.linspace(0, 1, n)
    both = CubicSpline(half, light, bc_type="clamped", axis=0)(np.abs((phase + 0.5) % 1 - 0.5))
    both /= both.max()
    return phase, np.asarray(both[:, 0]), np.asarray(np.maximum(both[:, 1], both[:, 0]))


def _potential(x: float, q: float) -> float:
    """Potential on the line of centres."""
    return float(1 / abs(x) + q * (1 / abs(1 - x) - x) + (1 + q) / 2 * x * x)


def _inner_point(q: float) -> float:
    low, high = 1e-3, 1 - 1e-3
    for _ in range(40):
        x = (low + high) / 2
        falling = -1 / x**2 + q / (1 - x) ** 2 - q + (1 + q) * x < 0
        low, high = (x, high) if falling else (low, x)
    return (low + high) / 2


def _outer_point(q: float) -> float:
    """Critical point beyond the lighter star."""
    if q > 1:
        return 1 - _outer_point(1 / q)
    low, high = 1 + 1e-3, 3.0
    for _ in range(40):
        x = (low + high) / 2
        falling = -1 / x**2 - q / (x - 1) ** 2 - q + (1 + q) * x < 0
        low, high = (x, high) if falling else (low, x)
    return (low + high) / 2


def _level(fill: float, q: float, critical: float) -> float:
    """Potential of a star whose pole lies at `fill` of the lobe's."""
    pole = 0.5
    for _ in range(30):
        value = 1 / pole + q / np.sqrt(1 + pole**2) - critical
        pole += value / (1 / pole**2 + q * pole / (1 + pole**2) ** 1.5)
        pole = min(max(pole, 1e-3), 1.0)
    pole *= min(fill, 1.0)
    return float(1 / pole + q / np.sqrt(1 + pole**2))


def _mesh(level: float, q: float, neck: float, touching: bool) -> tuple[Floats, Floats, Floats, Floats]:
    """Elements of a surface: positions (m, 3), areas, normals (m, 3), gravity relative to the pole's."""
    edges = np.linspace(0, np.pi, _ROWS + 1)
    polar = (edges[1:] + edges[:-1]) / 2
    around = (np.arange(_COLUMNS) + 0.5) * (2 * np.pi / _COLUMNS)
    solid = np.repeat((np.cos(edges[:-1]) - np.cos(edges[1:])) * (2 * np.pi / _COLUMNS), _COLUMNS)
    # The axis of the mesh is the line of centres: its rows close in on the neck.
    x = np.repeat(np.cos(polar), _COLUMNS)
    y = np.outer(np.sin(polar), np.cos(around)).ravel()
    z = np.outer(np.sin(polar), np.sin(around)).ravel()
    radius = _radius(level, q, neck, x, z)
    place = radius[:, None] * np.stack([x, y, z], axis=1)
    px, pz2 = place[:, 0], place[:, 2] ** 2
    other = 1 / ((1 - px) ** 2 + radius**2 - px**2) ** 1.5
    own = 1 / radius**3
    force = np.empty_like(place)
    force[:, 0] = own * px - q * (1 - px) * other + q - (1 + q) * px
    force[:, 1] = place[:, 1] * (own + q * other - (1 + q))
    force[:, 2] = place[:, 2] * (own + q * other)
    gravity = np.sqrt((force**2).sum(axis=1))
    normal = force / gravity[:, None]
    lean = (normal * np.stack([x, y, z], axis=1)).sum(axis=1)
    area = solid * radius**2 / np.maximum(lean, 0.2)
    if touching:
        area[px > neck] = 0
    high = pz2 > 0.8 * pz2.max()
    return place, area, normal, gravity / gravity[high].mean()


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _radius(level: float, q: float, neck: float, x: Floats, z: Floats) -> Floats:
    """Distance of the surface along directions, by Newton's method from inside; at most just past the neck."""
    radius = np.empty(x.size)
    for k in range(x.size):
        limit = min(1.02 * neck / x[k], 0.999) if x[k] > 0.05 else 0.999
        r, rest = min(1 / level, limit), (1 + q) / 2 * (1 - z[k] ** 2)
        for _ in range(20):
            other = 1 / np.sqrt(1 - 2 * x[k] * r + r * r)
            value = 1 / r + q * (other - x[k] * r) + rest * r * r - level
            slope = -1 / r**2 + q * ((x[k] - r) * other**3 - x[k]) + 2 * rest * r
            step = -value / slope if slope < -1e-3 else np.copysign(0.02, value)
            moved = min(max(r + min(max(step, -0.05), 0.1), 1e-4), limit)
            if abs(moved - r) < 1e-7:
                break
            r = moved
        radius[k] = r
    return radius


def _brightness(mesh: tuple[Floats, Floats, Floats, Floats], teff: float, albedo: float, shine: float) -> Floats:
    """Light of each element towards its normal: area times the black body's brightness; (m,)."""
    place, area, normal, gravity = mesh
    exponent = 0.08 if teff < 7200 else 0.25  # convective and radiative envelopes
    to_other = np.array([1.0, 0.0, 0.0]) - place
    squared = (to_other**2).sum(axis=1)
    facing = np.maximum((normal * to_other).sum(axis=1), 0) / np.sqrt(squared)
    dark = np.maximum(gravity, 0.1) ** (4 * exponent)
    hot = teff * (dark + albedo * shine * facing / squared) ** 0.25
    return np.asarray(area * np.expm1(_COLOUR_K / 6000) / np.expm1(_COLOUR_K / hot))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _outline(place: Floats, right: Floats, up: Floats, directions: Floats, support: Floats) -> None:
    """Farthest extent of a star's projection in each direction."""
    support[:] = -1.0
    for k in range(place.shape[0]):
        a = place[k, 0] * right[0] + place[k, 1] * right[1] + place[k, 2] * right[2]
        b = place[k, 0] * up[0] + place[k, 1] * up[1] + place[k, 2] * up[2]
        for d in range(directions.shape[0]):
            reach = a * directions[d, 0] + b * directions[d, 1]
            if reach > support[d]:
                support[d] = reach


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _star(place, normal, bright, sight, right, up, limb, shift, directions, support, soft, behind):  # type: ignore[no-untyped-def]
    """Light of one star, and what it would be were nothing in front of it.

    `shift` is the centre of the star in front, `behind` fades its outline out near quadrature, where the two of a
    contact binary lie side by side.
    """
    seen = bare = 0.0
    reach = support.max()
    for k in range(place.shape[0]):
        mu = normal[k, 0] * sight[0] + normal[k, 1] * sight[1] + normal[k, 2] * sight[2]
        if mu <= 0.0:
            continue
        light = bright[k] * mu * (1.0 - limb + limb * mu)
        bare += light
        a = place[k, 0] * right[0] + place[k, 1] * right[1] + place[k, 2] * right[2] - shift[0]
        b = place[k, 0] * up[0] + place[k, 1] * up[1] + place[k, 2] * up[2] - shift[1]
        if a * a + b * b < (reach + soft) ** 2:
            margin = 1.0
            for d in range(directions.shape[0]):
                inside = support[d] - a * directions[d, 0] - b * directions[d, 1]
                if inside < margin:
                    margin = inside
                    if margin < -soft:
                        break
            light *= 1.0 - behind * min(max(0.5 + 0.5 * margin / soft, 0.0), 1.0)
        seen += light
    return seen, bare


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _integrate(place1, normal1, bright1, place2, normal2, bright2, cos_i, limb, angles):  # type: ignore[no-untyped-def]
    """Light and bare light of the pair at orbital angles from star 2 in front; (n, 2)."""
    sin_i = np.sqrt(1.0 - cos_i * cos_i)
    directions = np.empty((_OUTLINE, 2))
    for d in range(_OUTLINE):
        directions[d, 0] = np.cos(2 * np.pi * d / _OUTLINE)
        directions[d, 1] = np.sin(2 * np.pi * d / _OUTLINE)
    support = np.empty(_OUTLINE)
    out = np.empty((angles.size, 2))
    reach1 = np.sqrt((place1**2).sum(axis=1).max())
    reach2 = np.sqrt((place2**2).sum(axis=1).max())
    for n in range(angles.size):
        c, s = np.cos(angles[n]), np.sin(angles[n])
        # Frame of star 1, x towards star 2, z along the axis of the orbit.
        sight = np.array([sin_i * c, -sin_i * s, cos_i])
        right = np.array([s, c, 0.0])
        up = np.array([-cos_i * c, cos_i * s, sin_i])
        # Star 2's own frame is turned by half a turn about z.
        sight2 = np.array([-sight[0], -sight[1], sight[2]])
        right2 = np.array([-right[0], -right[1], right[2]])
        up2 = np.array([-up[0], -up[1], up[2]])
        shift = np.array([right[0], up[0]])
        meet = shift[0] ** 2 + shift[1] ** 2 < (reach1 + reach2) ** 2
        support[:] = -9.0
        first = second = (0.0, 0.0)
        if meet and c > 0:
            _outline(place2, right2, up2, directions, support)
        fade = min(1.0, 3.0 * abs(c))
        soft1 = 0.09 * reach1
        first = _star(place1, normal1, bright1, sight, right, up, limb, shift, directions, support, soft1, fade)
        support[:] = -9.0
        if meet and c <= 0:
            _outline(place1, right, up, directions, support)
        soft2 = 0.09 * reach2
        second = _star(place2, normal2, bright2, sight2, right2, up2, limb, -shift, directions, support, soft2, fade)
        out[n, 0] = first[0] + second[0]
        out[n, 1] = first[1] + second[1]
    return out
