"""A folder of results that is in use by one run: a second one is told so, and foreign files are left alone."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astropy.io import fits

from pipeline.errors import Refused

__all__ = ["MARK", "foreign", "identity", "occupied"]

#: File in a folder that says that it is ours, and may go.
MARK = "made-by-skysift"

_LOCK = ".skysift.lock"


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Keep a folder to this run; it is made if it is not there, and goes again if nothing comes to lie in it.

    The lock is the kernel's, on a file: it ends with the process, however that ends, so that no lock is ever stale.

    Parameters
    ----------
    folder : Path
        The folder.

    Raises
    ------
    Refused
        If another run is at work there.
    """
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _LOCK
    descriptor = _locked(path)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        if new and not any(folder.iterdir()):
            folder.rmdir()


def _locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            cure = "wait until it is done, or give another --out"
            raise Refused(f"{path.parent}: another run is at work there, process {owner}; {cure}") from None
        # Whoever had it may have removed the file between the two calls: then it is no lock any more.
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


def identity(folder: Path) -> str | None:
    """Return what the difference in a folder was made from; None if there is none that says."""
    return _card(folder / "difference.fits")


def foreign(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Return the files of a folder that have the names of results and were not made here.

    FITS images say themselves whose they are; what lies beside one that is ours is ours.

    Parameters
    ----------
    folder : Path
        The folder.
    names : tuple of str
        Results.
    """
    there = [folder / name for name in names if os.path.lexists(folder / name)]
    ours = {path for path in there if path.suffix == ".fits" and _card(path) is not None}
    return [path for path in there if path not in ours and (path.suffix == ".fits" or not ours or _is_odd(path))]


def _is_odd(path: Path) -> bool:
    """Return whether a result is a link, or a folder and should be none, or the other way round."""
    return path.is_symlink() or path.is_dir() != (path.suffix == ".zarr")


def _card(path: Path) -> str | None:
    try:
        return str(fits.getheader(path)["SKYSIFT"])
    except (OSError, KeyError):
        return None
