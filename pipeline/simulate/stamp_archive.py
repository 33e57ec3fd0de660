"""Archives of simulated stamps as users have them: FITS files of many sources from many surveys, with known truth."""

import gzip
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from astropy.io import fits

from pipeline.simulate.spectra import Grid
from pipeline.simulate.stamp_chances import PIVOT, draw_sky, expose
from pipeline.simulate.stamp_scenes import Description, Sky
from pipeline.simulate.stamps import Rendered, grid, render
from pipeline.stamps import surveys as known

__all__ = ["TRUTH", "write_archive"]

TRUTH = "truth.csv"  #: beside the stamps

#: Names of files, of one source after another.
_NAMES = (
    "{source}_{survey}_{filter}.fits",
    "{source}_{survey}_{filter}.fits.gz",
    "{source}_{survey}_{filter}.fits",
    "{source}/{survey}/{survey}_{filter}.fits",
)


def write_archive(
    folder: str | Path, description: Description, sources: int, surveys: Iterable[str], turned: float = 0.25
) -> pd.DataFrame:
    """Write stamps of sources that several surveys have seen, and ``truth.csv``, last.

    Parameters
    ----------
    folder : str or Path
        Top of the archive; made if it is not there.
    description : Description
        How everything is drawn.
    sources : int
        How many; the first ones do not depend on it.
    surveys : iterable of str
        Whose stamps; all of them see every source.
    turned : float, default: 0.25
        Share of the files whose pixels are turned by right angles or mirrored; their WCS says so.

    Returns
    -------
    pandas.DataFrame
        A row a source: source_id, ra, dec (deg, of the primary), label, kind, sep_arcsec, pa_deg, delta_mag (at
        0.7 µm), files.
    """
    folder, rows = Path(folder), []
    names = [known.get(survey).name for survey in surveys]
    reach = max(grid(name).reach for name in names)
    for number in range(sources):
        rng = np.random.default_rng([description.seed, number])
        sky, source = draw_sky(description, rng, reach), f"{1000 + description.seed % 1000}{number:06d}"
        ra, dec = _place(description.seed, number)
        files = 0
        for survey in names:
            # A survey's stamps must not depend on which others there are.
            own = np.random.default_rng([description.seed, number, crc32(survey.encode())])
            scene = expose(description, survey, sky, own, source)
            for filter_ in scene.exposures:
                seen = render(scene, survey, filter_, own)
                path = folder / _NAMES[number % len(_NAMES)].format(source=source, survey=survey, filter=filter_)
                header = _header(seen, grid(survey), survey, source, (ra, dec), own)
                _write(path, _turn(seen.image, header, own) if own.random() < turned else seen.image, header)
                files += 1
        rows.append({"source_id": source, "ra": ra, "dec": dec} | _truth(sky) | {"files": files})
    table = pd.DataFrame(rows)
    table.to_csv(folder / TRUTH, index=False)
    return table


def _place(seed: int, number: int) -> tuple[float, float]:
    """Return a place of its own, within 60° of the equator."""
    ra = (number * 137.50776405 + seed * 0.37) % 360
    return float(ra), float(np.degrees(np.arcsin(0.866 * (2 * ((number * 0.618034 + 0.5) % 1) - 1))))


def _truth(sky: Sky) -> dict[str, Any]:
    told: dict[str, Any] = {"label": sky.label, "kind": sky.kind}
    if not sky.label:
        return told | {"sep_arcsec": np.nan, "pa_deg": np.nan, "delta_mag": np.nan}
    fainter = -2.5 * np.log10(sky.light(PIVOT)[1])
    angle = np.degrees(np.arctan2(sky.east[1], sky.north[1])) + (180 if fainter < 0 else 0)
    return told | {"sep_arcsec": sky.separation, "pa_deg": angle % 360, "delta_mag": abs(fainter)}


def _header(
    seen: Rendered, on: Grid, survey: str, source: str, place: tuple[float, float], rng: np.random.Generator
) -> fits.Header:
    """Return what an archive writes above a stamp; some tell more than others."""
    facts = seen.facts
    header = fits.Header()
    header["OBJECT"], header["SURVEY"], header["FILTER"] = source, survey, facts["filter"]
    header["CTYPE1"], header["CTYPE2"], header["RADESYS"] = "RA---TAN", "DEC--TAN", "ICRS"
    header["CRVAL1"], header["CRVAL2"] = place
    header["CRPIX1"], header["CRPIX2"] = facts["x0"] + 1, facts["y0"] + 1
    header["CD1_1"], header["CD1_2"] = -on.pixscale / 3600, 0.0
    header["CD2_1"], header["CD2_2"] = 0.0, on.pixscale / 3600
    header["MJD-OBS"], header["EXPTIME"] = facts["mjd"], 60.0
    if rng.random() < 0.5:
        header["OBJRA"], header["OBJDEC"] = place
    if rng.random() < 0.5:
        header["FWHM"] = (float(facts["fwhm_arcsec"] * np.exp(rng.normal(0, 0.06))), "arcsec")
    if rng.random() < 0.7:
        header["SATURATE"] = float(facts["saturation"])
    return header


def _turn(image: Any, header: fits.Header, rng: np.random.Generator) -> Any:
    """Return the image as another camera would have it, and change the WCS with it."""
    side, matrix = len(image), np.array([[header["CD1_1"], 0.0], [0.0, header["CD2_2"]]])
    middle = np.array([header["CRPIX1"], header["CRPIX2"]]) - (side + 1) / 2
    if rng.random() < 0.5:
        image, flip = image[:, ::-1], np.diag([-1.0, 1.0])
        middle, matrix = flip @ middle, matrix @ flip
    # Rows that become columns: x' = -y, y' = x.
    for _ in range(int(rng.integers(4))):
        image, quarter = np.rot90(image, -1), np.array([[0.0, -1.0], [1.0, 0.0]])
        middle, matrix = quarter @ middle, matrix @ quarter.T
    header["CRPIX1"], header["CRPIX2"] = middle + (side + 1) / 2
    for i in (0, 1):
        for j in (0, 1):
            header[f"CD{i + 1}_{j + 1}"] = float(matrix[i, j])
    return np.ascontiguousarray(image)


def _write(path: Path, image: Any, header: fits.Header) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    fits.PrimaryHDU(image.astype(">f4"), header).writeto(file)
    data = file.getvalue()
    # No time and no name in it: the same archive again is the same bytes.
    path.write_bytes(gzip.compress(data, 1, mtime=0) if path.suffix == ".gz" else data)
