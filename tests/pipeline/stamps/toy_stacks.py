"""A workspace with stacks of a few sources in three surveys, a companion in some."""

import numpy as np

from catalogs import write
from catalogs.stamps import STACKS
from pipeline import stores
from pipeline.stores import Array, Template

__all__ = ["SURVEYS", "fill", "star"]

#: Survey → arcsec a cell, cells a side, FWHM in arcsec.
SURVEYS = {"SDSS": (0.396, 64, 1.3), "HST": (0.05, 128, 0.09), "unWISE": (2.75, 64, 6.1)}


def star(survey, sep=0.0, pa=0.0, dm=1.0, counts=1000.0):
    """Return a stack of round Gaussian stars, counts; `counts` are the brighter one's at its peak."""
    scale, side, fwhm = SURVEYS[survey]
    middle, sigma = (side - 1) / 2, fwhm / 2.355
    north, east = np.indices((side, side), dtype=float)
    east, north = (middle - east) * scale, (north - middle) * scale
    image = np.random.default_rng(0).normal(0, 2, (side, side))
    for flux, distance in ((1.0, 0.0), (10 ** (-0.4 * dm), sep)):
        if flux == 1.0 or sep:
            dx, dy = distance * np.sin(np.radians(pa)), distance * np.cos(np.radians(pa))
            image += counts * flux * np.exp(-((east - dx) ** 2 + (north - dy) ** 2) / (2 * sigma**2))
    return image.astype(np.float32)


def fill(folder, sources, surveys=tuple(SURVEYS)):
    """Write the stores and indices of sources: source_id → (sep, pa, dm)."""
    for survey in surveys:
        scale, side, fwhm = SURVEYS[survey]
        path = f"stacks/{survey.lower()}"
        template = Template(
            (Array("stack", "float32", ("row", "y", "x"), np.nan, {}),), {"y": side, "x": side}, 512, 1, {},
            {"rows": "row", "rows_per_partition": 512},
        )  # fmt: skip
        stores.create(folder, f"{path}.zarr", template, 1)
        pixels = np.full((512, side, side), np.nan, np.float32)
        rows = []
        for place, (name, (sep, pa, dm)) in enumerate(sorted(sources.items())):
            pixels[place] = star(survey, sep, pa, dm)
            rows.append({
                "row": place, "source_id": name, "ra": 10.0, "dec": -5.0, "survey": survey, "filters": "r",
                "n_filters": 1, "method": "single", "x0": (side - 1) / 2, "y0": (side - 1) / 2, "pixscale": scale,
                "wavelength_um": 0.6, "mjd": None, "noise": 2.0, "snr": 300.0, "fwhm_arcsec": fwhm, "ellipticity": 0.1,
                "centroid_shift": 0.0, "flags": 0,
            })  # fmt: skip
        stores.write(folder, f"{path}.zarr", 0, {"stack": pixels})
        write.write(folder, f"{path}.index/part-00000.parquet", STACKS.of(rows), STACKS)
    return folder
