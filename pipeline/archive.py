"""Guarded access to the files of an archive: inside it, regular, of sane size, unpacked under a cap.

No link is followed out of the archive, no pipe or device is opened, nothing is read or unpacked beyond a
limit; what is wrong with a file is said as `Rejected`, with the reason. What is wrong with the way to it says nothing
of the file and is `ArchiveUnreachable`: a verdict lasts, a mount that is missing on one worker should not.
"""

import errno
import os
import re
import stat
import zlib
from functools import lru_cache

from obstore.exceptions import BaseError, InvalidPathError, PermissionDeniedError

from catalogs.folder import Folder
from pipeline.errors import ArchiveUnreachable, Reason, Rejected

__all__ = ["MAX_BYTES", "Source", "check_inside", "printable", "unpack", "unprintable"]

#: Largest file, stored or unpacked. A sector at 20 s, the largest light curve TESS makes, has 13 MB.
MAX_BYTES = 64 << 20
MAX_MEMBERS = 4096  # of a gzip file; block-wise compressors make one every 64 kB

_CHUNK = 64 << 10  # a ranged read: the headers, or the last row and what follows the table
_PIECE = 256 << 10

# Errors of one file, if its archive is well; of the disk, mount or network that the archive is on. Others (no memory,
# no descriptors) are of neither.
_GONE, _DENIED = {errno.ENOENT, errno.ENOTDIR}, {errno.EACCES, errno.EPERM}
_OF_THE_FILE = {*_GONE, *_DENIED, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
_OF_THE_ARCHIVE = {
    *(errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.ENOTCONN, errno.ESHUTDOWN, errno.ETIMEDOUT),
    *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNREFUSED, errno.ECONNRESET),
}


def printable(path: str) -> str:
    r"""Return a file's path as text that any table, terminal or log line takes; `unprintable` is its inverse.

    Bytes that are not UTF-8 and control characters become ``\xff``, a backslash is doubled; any other name
    stays as it is.
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]", _escape, path)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] == "\\":
        return r"\\"
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:  # ASCII, or a byte that os.fsdecode let through
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}"


def unprintable(text: str) -> str:
    """Return the path that `printable` wrote as `text`."""
    return re.sub(r"\\(?:\\|x([0-9a-f]{2})|u([0-9a-f]{4}))", _unescape, text)


def _unescape(match: re.Match[str]) -> str:
    if match[1]:
        code = int(match[1], 16)
        return chr(code if code < 0x80 else 0xDC00 + code)
    return chr(int(match[2], 16)) if match[2] else "\\"


def check_inside(folder: Folder, path: str) -> None:
    """Check that a file lies inside its archive, links followed.

    Raises
    ------
    Rejected
        With `Reason.ESCAPES` if its name or a symbolic link leads out.
    """
    try:
        folder.url(path)
    except ValueError as error:
        raise Rejected(Reason.ESCAPES, printable(str(error))) from None
    if not folder.is_local:
        return
    real, root = os.path.realpath(folder.local(path)), _real(folder.root)
    if os.path.commonpath([real, root]) != root:
        cure = "give the real folder as --archive, or copy it into the archive"
        raise Rejected(Reason.ESCAPES, f"leads to {printable(real)}, out of {printable(root)}; {cure}")


@lru_cache(maxsize=8)
def _real(root: str) -> str:
    return os.path.realpath(root)


class Source:
    """A file of an archive, checked before it is touched, as FITS bytes: what is gzip is unpacked.

    Parameters
    ----------
    folder : Folder
        Archive.
    path : str
        The file, relative to it.
    size : int, optional
        Its stored size in bytes, if known; else it is asked for.
    whole : bool, default: False
        Read everything at once rather than ranges as needed.
    planned : bool, default: False
        Its headers were read before, so that it can be read: that this is forbidden now is the machine's fault.
    raw : bool, default: False
        Leave what is gzip as it is stored, to be read in pieces.

    Attributes
    ----------
    size : int
        Stored size, bytes.
    length : int
        Size of the FITS bytes.
    stored : bytes or None
        The file as stored, where it was read whole.

    Raises
    ------
    Rejected
        If it is empty, too large, no regular file, not readable, outside the archive, or a bad or huge gzip
        stream; if it was planned and is gone.
    ArchiveUnreachable
        If the archive is missing, empty or not readable as a whole, as far as this machine can see.
    """

    def __init__(
        self,
        folder: Folder,
        path: str,
        size: int | None = None,
        *,
        whole: bool = False,
        planned: bool = False,
        raw: bool = False,
    ) -> None:
        check_inside(folder, path)
        self._folder, self._path, self._planned = folder, path, planned
        if folder.is_local or size is None:
            size = self._stat()
        if size == 0:
            raise Rejected(Reason.EMPTY, "0 bytes")
        self.size = self.length = size
        self.stored: bytes | None = None
        if whole:
            self._check_size()
        self._start = 0
        self._buffer = self._fetch(0, size if whole else min(size, _CHUNK))
        packed = not raw and self._buffer.startswith(b"\x1f\x8b")
        if packed and len(self._buffer) < size:
            self._check_size()
            self._buffer = self._fetch(0, size)
        if len(self._buffer) == size:
            self.stored = self._buffer
        if packed:
            self._buffer = unpack(self._buffer)
            self.length = len(self._buffer)
            if not self._buffer:
                raise Rejected(Reason.EMPTY, f"{size} bytes that unpack to none")

    def _check_size(self) -> None:
        if self.size > MAX_BYTES:
            raise Rejected(Reason.ABSURD_SIZE, f"{self.size} bytes; a file has at most {MAX_BYTES}")

    def _stat(self) -> int:
        try:
            if not self._folder.is_local:
                return self._folder.size(self._path)
            status = os.stat(self._folder.local(self._path))
        except (OSError, BaseError) as error:
            raise self._failure(error) from None
        if not stat.S_ISREG(status.st_mode):
            kind = {stat.S_IFDIR: "directory", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
            raise Rejected(Reason.UNREADABLE, f"a {kind.get(stat.S_IFMT(status.st_mode), 'device')}, not a file")
        return status.st_size

    def _fetch(self, start: int, length: int) -> bytes:
        try:
            # A whole object is asked for without a range, so that one that has grown since is noticed.
            whole = not self._folder.is_local and start == 0 and length == self.size
            data = self._folder.read(self._path, start, None if whole else length)
        except (OSError, BaseError) as error:
            raise self._failure(error) from None
        if len(data) != length:
            raise Rejected(Reason.CHANGED, f"{len(data)} bytes at {start} where {length} were; is it still written to?")
        return data

    def _failure(self, error: OSError | BaseError) -> Exception:
        """Return what an error means: a verdict on the file, an archive out of reach, or, as it is, neither."""
        code = _code(error)
        gone, denied = code in _GONE, code in _DENIED
        what = getattr(error, "strerror", None) or ("no such file" if gone else str(error).partition("\n")[0][:200])
        away = code in _OF_THE_ARCHIVE or (denied and self._planned)
        if away or ((gone or denied) and not self._folder.is_there()):
            cure = "is the archive mounted on every worker, and may it be read there? Then run again"
            return ArchiveUnreachable(f"{printable(self._folder.url(self._path))}: {printable(what)}; {cure}")
        if gone and self._planned:
            return Rejected(Reason.CHANGED, "was there when planned, is gone")
        return Rejected(Reason.UNREADABLE, printable(what)) if code in _OF_THE_FILE else error

    def read(self, start: int, length: int) -> memoryview:
        """Return `length` FITS bytes from `start` on.

        Raises
        ------
        Rejected
            With `Reason.TRUNCATED` if the file ends before.
        """
        if start + length > self.length:
            raise Rejected(Reason.TRUNCATED, f"{self.length} bytes, its headers want {start + length}")
        if not self._start <= start <= start + length <= self._start + len(self._buffer):
            self._buffer = self._fetch(start, min(max(length, _CHUNK), self.length - start))
            self._start = start
        begin = start - self._start
        return memoryview(self._buffer)[begin : begin + length]


def _code(error: OSError | BaseError) -> int | None:
    """Return an error's number; what S3 says is given the nearest one."""
    if isinstance(error, FileNotFoundError):
        return errno.ENOENT
    if isinstance(error, OSError):
        return error.errno
    if isinstance(error, PermissionDeniedError):
        return errno.EACCES
    return errno.EINVAL if isinstance(error, InvalidPathError) else errno.EIO


def unpack(stored: bytes) -> bytes:
    """Return what a gzip file holds, `MAX_BYTES` at most; zeros after its end are padding.

    Raises
    ------
    Rejected
        With `Reason.BOMB` if it holds more, `Reason.BAD_COMPRESSION` if it is damaged, cut or followed by
        junk.
    """
    view, parts, room, position = memoryview(stored), [], MAX_BYTES, 0
    for _ in range(MAX_MEMBERS):
        stream = zlib.decompressobj(wbits=31)
        while not stream.eof:
            piece = view[position : position + _PIECE]
            if not piece:
                raise Rejected(Reason.BAD_COMPRESSION, f"the gzip stream ends early, after {len(stored)} bytes")
            try:
                parts.append(stream.decompress(piece, room + 1))
            except zlib.error as error:
                raise Rejected(Reason.BAD_COMPRESSION, f"gzip: {error}") from None
            room -= len(parts[-1])
            if room < 0:
                raise Rejected(Reason.BOMB, f"{len(stored)} bytes unpack to more than {MAX_BYTES}")
            position += len(piece) - len(stream.unused_data)
        if not stored.startswith(b"\x1f\x8b", position):
            if stored.count(0, position) < len(stored) - position:
                raise Rejected(
                    Reason.BAD_COMPRESSION, f"{len(stored) - position} bytes after the end of the gzip stream"
                )
            return b"".join(parts)
    raise Rejected(Reason.BOMB, f"a gzip file of more than {MAX_MEMBERS} members")
