"""Where files live: a local folder or ``s3://bucket/prefix``, with the few verbs that commits need.

A local file appears whole (temporary name, fsync, rename or link) or not at all; on S3 one PUT does the same: never
a multipart upload, whose parts stay, unseen and paid for, when it is cut off.
`Folder.create` succeeds for one caller only, whoever else tries: ``os.link`` here, ``If-None-Match: *`` there.
"""

import logging
import os
import posixpath
import shutil
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError
from obstore.store import S3Store

__all__ = ["Entry", "Folder"]

_TEMPORARY = ".partial"

log = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class Entry:
    """A file of a folder: its path relative to the folder, size in bytes, and a mark that changes with it."""

    path: str
    size: int
    mtime: float


# Inside the class, `list` is its method.
Entries = list[Entry]
Names = list[str]


class Folder:
    """A tree of files, local or on S3, addressed by relative paths.

    Parameters
    ----------
    root : str or Path or Folder
        A local path (``~`` is expanded) or ``s3://bucket/prefix``. Region, endpoint and keys of S3 come from
        the usual ``AWS_*`` variables.

    Raises
    ------
    ValueError
        For another scheme.

    Notes
    -----
    Instances are small and picklable: tasks receive the address, not the connection.
    """

    def __init__(self, root: "str | Path | Folder") -> None:
        text = str(root)
        self.is_local = not text.startswith("s3://")
        if self.is_local and "://" in text:
            raise ValueError(f"{text}: only local paths and s3:// are supported")
        self.root: str = str(Path(text).expanduser().absolute()) if self.is_local else text.rstrip("/")
        self._store: Any = None

    def __repr__(self) -> str:
        return f"Folder({self.root!r})"

    def __str__(self) -> str:
        return self.root

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folder) and other.root == self.root

    def __hash__(self) -> int:
        return hash(self.root)

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "is_local": self.is_local, "_store": None}

    def child(self, path: str) -> "Folder":
        """Return the folder at `path` inside this one."""
        return Folder(self.url(path))

    def url(self, path: str) -> str:
        """Return the full address of `path`, for messages and for readers of their own."""
        return f"{self.root}/{_inside(path)}"

    @property
    def _s3(self) -> Any:
        if self._store is None:
            options = {"allow_http": True} if "http://" in os.environ.get("AWS_ENDPOINT_URL", "") else {}
            self._store = S3Store.from_url(self.root, client_options=options)  # type: ignore[arg-type]
        return self._store

    @property
    def free(self) -> int | None:
        """Bytes that are free where it is or will be; None where there is no such thing, as on S3."""
        if not self.is_local:
            return None
        place = Path(self.root)
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free

    def local(self, path: str) -> Path:
        """Return the local path of `path`; only for local folders."""
        if not self.is_local:
            raise ValueError(f"{self.url(path)} is not a local file")
        return Path(self.root, _inside(path))

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """Return the bytes of a file, or `length` of them from `start` on (fewer where it ends).

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        """
        if self.is_local:
            with open(self.local(path), "rb") as file:
                file.seek(start)
                return file.read(-1 if length is None else length)
        if length == 0:
            return b""
        options: Any = {"range": {"offset": start} if length is None else (start, start + length)}
        try:
            return bytes(obstore.get(self._s3, _inside(path), options=options if start or length else {}).bytes())
        except GenericError:
            # S3 clips a range that ends behind the object, but refuses (416) one that begins there.
            if start < self.size(path):
                raise
            return b""

    def write(self, path: str, data: bytes) -> None:
        """Write a file whole, replacing what was there; it is on the disk when this returns."""
        if self.is_local:
            temporary = self._temporary(path, data)
            os.replace(temporary, self.local(path))
            _sync_directory(temporary.parent)
        else:
            obstore.put(self._s3, _inside(path), data, use_multipart=False)

    def create(self, path: str, data: bytes) -> bool:
        """Write a file only if there is none of that name; return whether this call made it."""
        if not self.is_local:
            try:
                obstore.put(self._s3, _inside(path), data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            return True
        temporary = self._temporary(path, data)
        try:
            os.link(temporary, self.local(path))
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        _sync_directory(temporary.parent)
        return True

    def _temporary(self, path: str, data: bytes) -> Path:
        target = self.local(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Host and process in the name tell `sweep` whose it is.
        name = f".{target.name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}{_TEMPORARY}"
        temporary = target.with_name(name)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return temporary

    def exists(self, path: str) -> bool:
        """Return whether there is a file at `path`."""
        if self.is_local:
            return self.local(path).is_file()
        try:
            obstore.head(self._s3, _inside(path))
        except FileNotFoundError:
            return False
        return True

    def size(self, path: str) -> int:
        """Return the size of a file in bytes."""
        if self.is_local:
            return self.local(path).stat().st_size
        return int(obstore.head(self._s3, _inside(path))["size"])

    def is_there(self) -> bool:
        """Return whether the folder can be listed and holds anything; where it is not mounted it is often empty."""
        try:
            if not self.is_local:
                return any(obstore.list(self._s3))
            with os.scandir(self.root) as entries:
                return any(entries)
        except (OSError, BaseError):
            return False

    def list(self, prefix: str = "", suffix: str = "") -> Entries:
        """Return the files below the folder `prefix` whose names end in `suffix`, sorted by path.

        Temporary files are left out. A symbolic link to a folder is followed if that lies outside this one; the
        files of a folder inside are listed where they are, and not a second time under the link.

        Raises
        ------
        OSError
            If a folder cannot be listed because of the machine. One that is missing or forbidden has no files.
        """
        found = self._list_local(prefix) if self.is_local else self._list_s3(prefix)
        return sorted(e for e in found if e.path.endswith(suffix) and not e.path.endswith(_TEMPORARY))

    def files(self) -> Entries:
        """Return the files directly inside, sorted."""
        found = self._list_local("", deep=False) if self.is_local else self._list_s3("", deep=False)
        return sorted(e for e in found if not e.path.endswith(_TEMPORARY))

    def folders(self) -> Names:
        """Return the names of the folders directly inside, sorted; for links to folders see `list`."""
        if self.is_local:
            real = os.path.realpath(self.root)
            with os.scandir(self.root) as entries:
                return sorted(e.name for e in entries if _is_folder(e) and not _leads_into(e, real))
        return sorted(p.rstrip("/") for p in obstore.list_with_delimiter(self._s3)["common_prefixes"])

    def _list_local(self, prefix: str, deep: bool = True) -> Iterator[Entry]:
        for path, file in _walk(self.root, _inside(prefix) if prefix else "", deep):
            try:
                stat = file.stat()
            except OSError:
                try:  # a dangling link is listed, so that it can be accounted for
                    stat = file.stat(follow_symlinks=False)
                except FileNotFoundError:  # it was there a moment ago: another's temporary file, or one removed
                    continue
            yield Entry(path, stat.st_size, stat.st_mtime)

    def _list_s3(self, prefix: str, deep: bool = True) -> Iterator[Entry]:
        start = f"{_inside(prefix)}/" if prefix else None
        batches = obstore.list(self._s3, start) if deep else [obstore.list_with_delimiter(self._s3, start)["objects"]]
        for batch in batches:
            for item in batch:
                yield Entry(item["path"], int(item["size"]), item["last_modified"].timestamp())

    def remove(self, path: str) -> None:
        """Remove a file; it is no error if there is none."""
        if self.is_local:
            self.local(path).unlink(missing_ok=True)
        else:
            obstore.delete(self._s3, [_inside(path)])

    def remove_tree(self, path: str) -> None:
        """Remove everything below `path`."""
        if self.is_local:
            shutil.rmtree(self.local(path), ignore_errors=True)
        else:
            # In requests of 1000 keys each.
            obstore.delete(self._s3, [entry.path for entry in self._list_s3(path)])

    def sweep(self) -> int:
        """Remove temporary files of processes of this machine that are dead; return how many.

        On S3 there are none: what a PUT that was cut off has sent is not kept.
        """
        if not self.is_local:
            return 0
        swept = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                if name.endswith(_TEMPORARY) and _is_orphan(name):
                    Path(folder, name).unlink(missing_ok=True)
                    swept += 1
        return swept


def _inside(path: str) -> str:
    """Return `path` normalised; refuse one that would lead out of the folder."""
    clean = posixpath.normpath(path)
    if clean.startswith(("/", "../")) or clean == ".." or "\0" in clean:
        raise ValueError(f"{path!r} leads out of its folder")
    return clean


def _walk(root: str, top: str, deep: bool) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the files below `root`/`top` and their paths relative to `root`, those behind links to folders last.

    Links may lead in circles, so each real folder is walked once; and never back from outside into `root`, whose
    files have their own paths.
    """
    real_root, seen = os.path.realpath(root), set[str]()
    todo, links = [(top, os.path.realpath(os.path.join(root, top)))], list[tuple[str, str]]()
    while todo or links:
        if not todo:
            links.sort(reverse=True)
            todo.append(links.pop())
        folder, real = todo.pop()
        if real in seen:
            continue
        seen.add(real)
        at_home = _is_below(real, real_root)
        for entry in _scan(os.path.join(root, folder)):
            path = os.path.join(folder, entry.name)
            if not _is_folder(entry):
                yield path, entry
            elif not deep:
                continue
            elif not entry.is_symlink():
                inner = os.path.join(real, entry.name)
                if at_home or not _is_below(inner, real_root):
                    todo.append((path, inner))
            elif not _leads_into(entry, real_root):
                links.append((path, os.path.realpath(entry.path)))


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError as error:
        log.warning("%s: %s; what lies there is left out", folder, error.strerror)
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _leads_into(entry: os.DirEntry[str], real_root: str) -> bool:
    """Return whether an entry is a link to what lies below the folder `real_root` anyway."""
    return entry.is_symlink() and _is_below(os.path.realpath(entry.path), real_root)


def _is_below(real: str, real_root: str) -> bool:
    return f"{real}/".startswith(f"{real_root.rstrip('/')}/")


def _is_orphan(name: str) -> bool:
    owner = name.removesuffix(_TEMPORARY).rsplit(".", 2)
    if len(owner) < 3 or not owner[0].endswith(f".{socket.gethostname()}") or not owner[1].isdigit():
        return False
    try:
        os.kill(int(owner[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
