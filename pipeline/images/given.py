"""Files that somebody gives by name, for one pair: images, point-spread functions, a mask. Looked at, not yet ingested.

An image is ``file.fits``, or ``file.fits[1]``, ``file.fits[SCI]``, ``file.fits[SCI,2]`` for one extension of several.
"""

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift

from catalogs.folder import Entry, Folder
from pipeline.archive import printable
from pipeline.errors import Refused, Rejected, UsageError
from pipeline.images import plan
from pipeline.images.reading import ImageFile, opened
from pipeline.settings import ImageSettings

__all__ = ["Given", "Row", "given", "stamp"]

#: Pixels a side of a stamp of a PSF.
_SIDES = 5, 255

#: How far the light of a stamp may be from its middle, px.
_OFF = 1.5

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Given:
    """A pair as it was given.

    Parameters
    ----------
    archive : Folder
        The folder that both files lie in, at whatever depth.
    science, reference : dict
        Rows of the plan of ingest, accepted.
    psfs : dict
        ``science``, ``reference`` → stamp, (m, m) float32, odd, of sum one; those that were given.
    mask : str or None
        File whose pixels are not 0 where the science image's are bad.
    mask_sha256 : str or None
        Of that file.
    """

    archive: Folder
    science: Row
    reference: Row
    psfs: dict[str, NDArray[np.float32]]
    mask: str | None
    mask_sha256: str | None


def given(
    science: str,
    reference: str,
    settings: ImageSettings,
    science_psf: str | None = None,
    reference_psf: str | None = None,
    mask: str | None = None,
) -> Given:
    """Look at the files of a pair.

    Parameters
    ----------
    science, reference : str
        Images.
    settings : ImageSettings
        Its limits count.
    science_psf, reference_psf : str, optional
        Stamps of PSFs.
    mask : str, optional
        Bad pixels of the science image.

    Raises
    ------
    UsageError
        If a file is not there, no extension or several are meant, or a stamp or the mask is not what it should be.
    Refused
        If an image is none of the sky, or both are the same.
    """
    names = {"--science": science, "--reference": reference}
    files = {option: _file(option, name) for option, name in names.items()}
    root = os.path.commonpath([os.path.dirname(path) for path, _ in files.values()])
    rows = {option: _image(option, names[option], root, *files[option], settings) for option in names}
    one, other = rows["--science"], rows["--reference"]
    if (one["sha256"], one["extension"]) == (other["sha256"], other["extension"]):
        raise Refused(f"same_exposure: {science} and {reference} are the same image: there is nothing to subtract")
    stamps = {"science": science_psf, "reference": reference_psf}
    psfs = {side: stamp(f"--{side}-psf", name) for side, name in stamps.items() if name is not None}
    path, checksum = (None, None) if mask is None else _mask(mask, (one["ny"], one["nx"]), settings)
    return Given(Folder(root), one, other, psfs, path, checksum)


def _file(option: str, name: str) -> tuple[str, str | None]:
    """Return the real path of a file and the extension that is wanted of it."""
    if name.startswith("s3://"):
        raise UsageError(f"{option} {name}: give a local file; for s3:// use ingest_images and --workspace")
    path, extension = name, None
    if not os.path.exists(name) and (found := re.fullmatch(r"(.+)\[\s*(\w+(?:\s*,\s*\d+)?)\s*\]", name)):
        path, extension = found[1], found[2]
    if not os.path.isfile(path):
        raise UsageError(f"{option} {name}: {'not a file' if os.path.exists(path) else 'no such file'}")
    return os.path.realpath(os.path.expanduser(path)), extension


def _image(option: str, name: str, root: str, path: str, extension: str | None, settings: ImageSettings) -> Row:
    """Return the row of the plan of one image of a file."""
    inside = os.path.relpath(path, root)
    status = os.stat(path)
    entry = Entry(inside, status.st_size, status.st_mtime)
    try:
        with opened(Folder(root), inside, int(settings.max_gib * 2**30)) as file:
            numbers = plan.science_images(file)
            number = _chosen(option, name, file, numbers, extension)
            row = plan.row_of(entry, file, number)
    except Rejected as error:
        raise Refused(f"{option} {name}: {error}") from error
    if row["verdict"] != plan.ACCEPTED:
        raise Refused(f"{option} {name}: {row['reason']}: {row['message']}")
    return row


def _chosen(option: str, name: str, file: ImageFile, numbers: list[int], extension: str | None) -> int:
    """Return the number of the extension that is meant."""
    if extension is None:
        if len(numbers) == 1:
            return numbers[0]
        if not numbers:
            raise UsageError(f"{option} {name}: no image in it")
        raise UsageError(f"{option} {name}: {len(numbers)} images in it, name one: {_list(name, file, numbers)}")
    kind, _, version = (part.strip() for part in extension.partition(","))
    found = [
        number
        for number in file.images()
        if (kind.isdigit() and number == int(kind))
        or (file.hdus[number].name == kind.upper() and (not version or file.hdus[number].ver == int(version)))
    ]
    if len(found) != 1:
        base = name[: name.rindex("[")]
        what = f"there are {len(found)} of that name" if found else "no such image"
        raise UsageError(f"{option} {name}: {what}: {_list(base, file, found or file.images())}")
    return found[0]


def _list(name: str, file: ImageFile, numbers: list[int]) -> str:
    told = [f"{name}[{number}] ({file.hdus[number].name or 'unnamed'})" for number in numbers[:12]]
    return ", ".join(told + (["…"] if len(numbers) > 12 else []))


def stamp(option: str, name: str) -> NDArray[np.float32]:
    """Read a PSF.

    Parameters
    ----------
    option : str
        What asks for it, for messages.
    name : str
        FITS file of one image.

    Returns
    -------
    (m, m) float32
        Odd, its light in the middle, of sum one. A stamp of even sides is moved to pixels that have a middle one.

    Raises
    ------
    UsageError
        If it is not there, or no stamp of a PSF.
    """
    path, extension = _file(option, name)
    folder, base = os.path.split(path)
    try:
        with opened(Folder(folder), base, 64 << 20) as file:
            flat = [number for number in file.images() if len(file.hdus[number].shape) == 2]
            if not flat:
                raise UsageError(f"{option} {name}: no image of two axes in it")
            number = _chosen(option, name, file, flat, extension)
            shape = tuple(file.hdus[number].shape)
            if len(shape) != 2 or shape[0] != shape[1] or not _SIDES[0] <= shape[0] <= _SIDES[1]:
                what = " x ".join(str(n) for n in shape[::-1])
                raise UsageError(f"{option} {name}: {what} pixels; give a square of {_SIDES[0]} to {_SIDES[1]} a side")
            image = np.array(file.hdus[number].data, float)
    except Rejected as error:
        raise UsageError(f"{option} {name}: {error}") from error
    if not np.isfinite(image).all():
        raise UsageError(f"{option} {name}: {int((~np.isfinite(image)).sum())} pixels are no number; fill or cut them")
    return _centred(f"{option} {name}", image)


def _centred(name: str, image: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a stamp of odd sides and sum one."""
    core = np.maximum(image - 0.1 * image.max(), 0)
    if image.sum() <= 0 or core.sum() <= 0:
        raise UsageError(f"{name}: its pixels add up to {image.sum():g}; a PSF is positive")
    m = len(image)
    grid = np.arange(m)
    x, y = float(core.sum(0) @ grid / core.sum()), float(core.sum(1) @ grid / core.sum())
    middle = (m - 1) / 2
    if max(abs(x - middle), abs(y - middle)) > _OFF:
        raise UsageError(
            f"{name}: its light is about pixel ({x:.1f}, {y:.1f}), not in the middle ({middle:g}): cut it so"
        )
    if m % 2 == 0:
        # One row and column more: its middle pixel is where the light was by the nearest of the usual conventions.
        usual = np.array([m / 2 - 1, middle, m / 2])
        moves = [m / 2 - usual[np.abs(usual - at).argmin()] for at in (y, x)]
        image = shift(np.pad(image, ((0, 1), (0, 1))), moves, order=5, mode="constant")
    return (image / image.sum()).astype(np.float32)


def _mask(name: str, shape: tuple[int, int], settings: ImageSettings) -> tuple[str, str]:
    path, extension = _file("--mask", name)
    if extension is not None:
        raise UsageError(f"--mask {name}: the first image of a file is the mask; leave [{extension}] out")
    folder, base = os.path.split(path)
    try:
        with opened(Folder(folder), base, int(settings.max_gib * 2**30)) as file:
            numbers = file.images()
            if not numbers:
                raise UsageError(f"--mask {name}: no image in it")
            found = file.plane(numbers[0]).shape
            if found != shape:
                told = f"{found[1]} x {found[0]} pixels, the science image {shape[1]} x {shape[0]}"
                raise UsageError(f"--mask {printable(name)}: {told}; give one of the same shape")
            return path, file.sha256
    except Rejected as error:
        raise UsageError(f"--mask {name}: {error}") from error
