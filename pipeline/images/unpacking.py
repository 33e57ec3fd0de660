"""Files as stored → FITS bytes and a checksum, in one pass and under a limit."""

import hashlib
import zlib
from collections.abc import Iterator
from typing import IO

from pipeline.archive import Source
from pipeline.errors import Reason, Rejected

__all__ = ["copied"]

_CHUNK = 4 << 20


def copied(source: Source, target: IO[bytes] | None, packed: bool, limit: int) -> str:
    """Return the checksum of a file as stored, and write its FITS bytes to `target` on the way."""
    digest, unpacker = hashlib.sha256(), _Unpacker(limit)
    for start in range(0, source.size, _CHUNK):
        piece = bytes(source.read(start, min(_CHUNK, source.size - start)))
        digest.update(piece)
        for part in unpacker.feed(piece) if packed else (piece,):
            if target is not None:
                target.write(part)
    if packed:
        unpacker.finish(source.size)
    return digest.hexdigest()


class _Unpacker:
    """A gzip stream of any number of members, unpacked piece by piece under a limit."""

    def __init__(self, limit: int) -> None:
        self._stream = zlib.decompressobj(wbits=31)
        self._limit, self._room, self._members = limit, limit, 1
        self._padding = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a piece of the file unpacks to."""
        while piece and not self._padding:
            if self._stream.eof:
                if not piece.startswith(b"\x1f"):
                    break
                self._members += 1
                if self._members > 1 << 16:
                    raise Rejected(Reason.BOMB, f"a gzip file of more than {1 << 16} members")
                self._stream = zlib.decompressobj(wbits=31)
            try:
                part = self._stream.decompress(piece, min(self._room + 1, _CHUNK))
            except zlib.error as error:
                raise Rejected(Reason.BAD_COMPRESSION, f"gzip: {error}") from None
            self._room -= len(part)
            if self._room < 0:
                raise Rejected(Reason.BOMB, f"unpacks to more than {self._limit} bytes; see max_gib in [images]")
            yield part
            piece = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        if piece:
            self._padding = True
            if piece.strip(b"\0"):
                raise Rejected(Reason.BAD_COMPRESSION, f"{len(piece)} bytes after the end of the gzip stream")

    def finish(self, size: int) -> None:
        """Check that the stream has come to its end."""
        if not self._stream.eof:
            raise Rejected(Reason.BAD_COMPRESSION, f"the gzip stream ends early, after {size} bytes")
        if self._room == self._limit:
            raise Rejected(Reason.EMPTY, f"{size} bytes that unpack to none")
