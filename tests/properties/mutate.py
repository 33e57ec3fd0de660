"""Hostile FITS files made from a good one: cut, flipped, edited, packed, badly named, linked elsewhere."""

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from astropy.io import fits

BLOCK, CARD = 2880, 80

#: Keyword → nonsense for its value field.
EDITS: dict[str, list[str]] = {
    "SIMPLE": ["F", "'T'", ""],
    "BITPIX": ["0", "7", "-8", "1E3", "'8'", "99999999999999999999"],
    "NAXIS": ["-1", "999", "1000", "3", "1", "0", "'two'", ""],
    "NAXIS1": ["0", "-1", "99", "101", "9999999999999999999999", "1E9", "NaN", "'100'", "4294967296", ""],
    "NAXIS2": ["0", "1", "-5", "2147483648", "9223372036854775807", "100000", "600000", "1D5", "''", ""],
    "PCOUNT": ["-1", "9999999999999", "2880", "T"],
    "GCOUNT": ["0", "-1", "1000000", "2"],
    "TFIELDS": ["0", "-1", "1000", "999", "19", "99999999999", "F"],
    "XTENSION": ["'IMAGE   '", "'TABLE   '", "42", "''"],
    "EXTNAME": ["'PIXELS'", "'TCE_1'", "'LIGHTCURV'", "7", "''", "'CAMERA.CCD 1.1 cal'"],
    "TFORM1": ["'J'", "'99999999999D'", "'D'/", "''", "'1PD(9)'", "'0D'", "'Z'", "8", "'\\\\'"],
    "TFORM3": ["'E'", "'I'", "'2J'", "'-1J'"],
    "TTYPE1": ["'TIEM'", "''", "'CADENCENO'", "1"],
    "TTYPE8": ["'PDCSAP_FLU'", "'PDCSAP_FLUX_ERR'"],
    "TELESCOP": ["'Kepler'", "''", "T"],
    "TICID": ["-1", "0", "99999999999999999999999", "'12'", "1.5", "", "T", "NaN"],
    "OBJECT": ["'TIC -1'", "7", "'", "'TIC 99999999999999999999'"],
    "SECTOR": ["0", "-3", "100000", "1E300", "'1'", "", "2"],
    "CAMERA": ["9", "'A'"],
    "RA_OBJ": ["1E300", "-1", "NaN", "1E999", "'x'", "1D2", "1d400"],
    "DEC_OBJ": ["91", "INF"],
    "TESSMAG": ["-1E30", "T"],
    "TIMEDEL": ["NaN", "0", "-0.0013", "1E300", "", "0.0208333333", "0.5", "'fast'"],
    "DATA_REL": ["-1", "4294967296", "'x'"],
    "DATE": ["20180927", "'2018-09-27", "'\x00\x01'"],
    "NEXTEND": ["999", "-1", "'x'"],
}

NAMES = [
    "new\nline.fits",
    "tab\tbell\a.fits",
    "spaces in  a name .fits",
    "'quotes\" and `ticks`.fits",
    "-rf.fits",
    "..fits.fits",
    "...fits",
    "$(echo x);&|*?[a].fits",
    "back\\slash.fits",
    "percent%2e%2e%2f.fits",
    "ünï¢ødé-星-🔭.fits",
    "right-to-left-\u202e.fits",
    "x" * 245 + ".fits",
    os.fsdecode(b"latin-\xe9-\xff.fits"),
    "two.fits.gz.fits",
]


@dataclass(frozen=True)
class Mutation:
    """One hostile file: its name, what kind it is, and what writes it into a folder."""

    name: str
    kind: str
    write: Callable[[Path], None]


def good(rows: int = 400, tic_id: int = 25155310, sector: int = 1, cadence_s: int = 120) -> bytes:
    """Return a small, valid TESS light-curve file."""
    rng = np.random.default_rng(tic_id)
    names = "TIME TIMECORR CADENCENO SAP_FLUX SAP_FLUX_ERR SAP_BKG SAP_BKG_ERR PDCSAP_FLUX PDCSAP_FLUX_ERR"
    names += " QUALITY MOM_CENTR1 MOM_CENTR2 POS_CORR1 POS_CORR2"
    formats = dict(zip(names.split(), "DEJEEEEEEJDDEE", strict=True))
    values = {name: rng.normal(1000, 1, rows) for name in formats}
    values["TIME"] = 1325.3 + np.arange(rows) * cadence_s / 86400
    values["CADENCENO"] = 70444 + np.arange(rows)
    values["QUALITY"] = np.zeros(rows)
    table = fits.BinTableHDU.from_columns(
        [fits.Column(name, code, array=values[name]) for name, code in formats.items()], name="LIGHTCURVE"
    )
    table.header.update(TIMEDEL=cadence_s / 86400, CROWDSAP=0.99, FLFRCSAP=0.83)
    primary = fits.PrimaryHDU()
    primary.header.update(TELESCOP="TESS", OBJECT=f"TIC {tic_id}", TICID=tic_id, SECTOR=sector, CAMERA=4, CCD=2)
    primary.header.update(RA_OBJ=63.4, DEC_OBJ=-69.2, TESSMAG=10.5, DATA_REL=1, DATE="2018-09-27", NEXTEND=2)
    aperture = fits.ImageHDU(np.ones((11, 11), np.int32), name="APERTURE")
    buffer = io.BytesIO()
    fits.HDUList([primary, table, aperture]).writeto(buffer)
    return buffer.getvalue()


def mutations(seed: bytes, n: int, rng: np.random.Generator) -> Iterator[Mutation]:
    """Yield `n` hostile files, the same ones for the same generator: the special ones, then random ones.

    Parameters
    ----------
    seed : bytes
        A good FITS file.
    n : int
        How many; about 260 are special.
    rng : numpy.random.Generator
        Source of the random ones.
    """
    made = _all(seed, rng)
    for _ in range(n):
        yield next(made)


def write(folder: Path, seed: bytes, n: int, rng: np.random.Generator) -> dict[str, str]:
    """Write `n` hostile files below `folder`; return name → kind of those the file system took."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for mutation in mutations(seed, n, rng):
        with contextlib.suppress(OSError):  # a file system may refuse a name
            mutation.write(folder / mutation.name)
            made[mutation.name] = mutation.kind
    return made


def set_card(data: bytes, key: str, value: str, repeat: bool = False) -> bytes:
    """Return FITS bytes with the value field of a card replaced, wherever it first or always stands."""
    out = bytearray(data)
    card = f"{key:8s}= {value}".encode("latin-1").ljust(CARD)[:CARD]
    for at in _cards(data, key):
        out[at : at + CARD] = card
        if not repeat:
            break
    return bytes(out)


def _cards(data: bytes, key: str) -> list[int]:
    prefix = f"{key:8s}".encode()
    return [at for at in range(0, len(data), CARD) if data[at : at + 8] == prefix]


def _all(seed: bytes, rng: np.random.Generator) -> Iterator[Mutation]:
    number = count()

    def file(kind: str, data: bytes, suffix: str = ".fits") -> Mutation:
        return Mutation(f"{next(number):05d}{suffix}", kind, lambda path: path.write_bytes(data) and None)

    for kind, data in _edited(seed):
        yield file(kind, data)
    for kind, data in _cut(seed):
        yield file(kind, data)
    for kind, data in _shaped(seed):
        yield file(kind, data)
    for kind, data in _packed(seed):
        yield file(kind, data, ".fits.gz")
    for name in NAMES:
        yield Mutation(name, "name", lambda path: path.write_bytes(seed) and None)
    yield from _special()
    while True:
        yield from (file(kind, data) for kind, data in _random(seed, rng))


def _edited(seed: bytes) -> Iterator[tuple[str, bytes]]:
    for key, values in EDITS.items():
        for value in values:
            yield f"edit {key}", set_card(seed, key, value, repeat=key in ("XTENSION", "EXTNAME"))
    for key in (
        "NAXIS",
        "NAXIS1",
        "TFIELDS",
        "TFORM2",
        "TTYPE1",
        "TICID",
        "SECTOR",
        "TIMEDEL",
        "TELESCOP",
        "END",
    ):
        blank = bytearray(seed)
        for at in _cards(seed, key):
            blank[at : at + CARD] = b" " * CARD
        yield f"no {key}", bytes(blank)
    for key in ("SECTOR", "TICID", "BITPIX"):  # a second card of the name, in a free place before END
        at = _cards(seed, "END")[0]
        yield (
            f"twice {key}",
            seed[:at] + f"{key:8s}= 77".encode().ljust(CARD) + b"END".ljust(CARD) + seed[at + 160 :],
        )
    table = _cards(seed, "XTENSION")[0]
    for key, value in (("TSCAL8", "2.0"), ("TZERO8", "1"), ("TZERO3", "2147483648")):
        scaled = bytearray(seed)
        at = next(at for at in _cards(seed, "CROWDSAP") if at > table)
        scaled[at : at + CARD] = f"{key:8s}= {value}".encode().ljust(CARD)
        yield f"scale {key}", bytes(scaled)
    yield "non-ASCII", seed.replace(b"TESS", b"T\xc9SS", 1)
    yield "many axes", set_card(seed, "NAXIS", "999") + b" " * BLOCK
    yield "endless header", seed[: _cards(seed, "END")[0]] + b"COMMENT".ljust(CARD) * 36 * 100
    yield "huge header", seed[: _cards(seed, "END")[0]] + b"COMMENT".ljust(CARD) * 300_000


def _cut(seed: bytes) -> Iterator[tuple[str, bytes]]:
    ends = [at + BLOCK - at % BLOCK for at in _cards(seed, "END")]
    for at in (0, 1, 29, 30, 79, 80, BLOCK - 1, *ends, len(seed) - BLOCK, len(seed) - 1):
        for off in (-1, 0, 1):
            if 0 <= at + off < len(seed):
                yield f"cut {at + off}", seed[: at + off]


def _shaped(seed: bytes) -> Iterator[tuple[str, bytes]]:
    yield "zeros", bytes(len(seed))
    yield "zeros behind a header", seed[:BLOCK] + bytes(len(seed) - BLOCK)
    yield "text", b"<html><body>404 Not Found</body></html>\n"
    yield "zip", b"PK\x03\x04" + seed
    yield "junk behind", seed + b"\xff" * 5000
    yield "padding behind", seed + bytes(BLOCK)
    yield "twice", seed + seed
    yield "many extensions", seed + seed[_cards(seed, "XTENSION")[-1] :] * 300
    for kind, change in _CHANGES.items():
        hdus = fits.open(io.BytesIO(seed))
        change(hdus[1].data)
        buffer = io.BytesIO()
        hdus.writeto(buffer)
        yield kind, buffer.getvalue()


_CHANGES: dict[str, Callable[[fits.FITS_rec], None]] = {
    "all NaN": lambda data: data["PDCSAP_FLUX"].fill(np.nan),
    "cadences shuffled": lambda data: np.random.default_rng(0).shuffle(data["CADENCENO"][1:-1]),
    "cadences repeat": lambda data: data["CADENCENO"].fill(70444),
    "cadences jump": lambda data: data["CADENCENO"].put(-1, 2**31 - 1),
    "cadences negative": lambda data: np.subtract(data["CADENCENO"], 100_000, out=data["CADENCENO"]),
}


def _packed(seed: bytes) -> Iterator[tuple[str, bytes]]:
    good = gzip.compress(seed, mtime=0)
    yield "gzip", good
    yield "gzip of two members", gzip.compress(seed[:5000], mtime=0) + gzip.compress(seed[5000:], mtime=0)
    yield "gzip and zeros", good + bytes(512)
    yield "gzip and junk", good + b"junk"
    yield "gzip in gzip", gzip.compress(good, mtime=0)
    yield "gzip bad sum", good[:-8] + b"\0\0\0\0" + good[-4:]
    yield "gzip method", good[:2] + b"\x09" + good[3:]
    yield "gzip of nothing", gzip.compress(b"", mtime=0)
    yield "gzip, members without end", gzip.compress(b"", mtime=0) * 20_000
    for at in (2, 5, 10, 18, len(good) // 2, len(good) - 8, len(good) - 1):
        yield "gzip cut", good[:at]
    for megabytes, head in ((100, b""), (2000, seed[:BLOCK]), (2000, seed)):
        yield "bomb", bomb(megabytes, head)
    yield "bomb in gzip", gzip.compress(bomb(500), mtime=0)
    yield "endless name", b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 300_000


def bomb(megabytes: int, head: bytes = b"") -> bytes:
    """Return a gzip stream of `head` and that many megabytes of zeros, a thousandth of its size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    # Behind a full flush the stream repeats itself: one megabyte is packed and then copied.
    million = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + start + million * megabytes + packer.flush()


def _special() -> Iterator[Mutation]:
    yield Mutation("link-out.fits", "link out", lambda path: path.symlink_to("/etc/hostname"))
    yield Mutation("link-up.fits", "link out", lambda path: path.symlink_to("../../../../outside.fits"))
    yield Mutation("link-device.fits", "link out", lambda path: path.symlink_to("/dev/zero"))
    yield Mutation("link-dangling.fits", "link dangling", lambda path: path.symlink_to("nothing-here.fits"))
    yield Mutation("link-loop.fits", "link loop", lambda path: path.symlink_to("link-loop.fits"))
    yield Mutation("pipe.fits", "pipe", lambda path: os.mkfifo(path))
    yield Mutation("sparse.fits", "sparse", _sparse)


def _sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 40)


def _random(seed: bytes, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    headers = _cards(seed, "XTENSION")[0] + 4 * BLOCK
    for kind, stop in (("header flip", headers), ("flip", len(seed))):
        flipped = bytearray(seed)
        for at in rng.integers(0, stop, rng.integers(1, 20)):
            flipped[at] ^= 1 << int(rng.integers(8))
        yield kind, bytes(flipped)
    card = bytearray(seed)
    at = int(rng.integers(headers // CARD)) * CARD
    card[at + 8 : at + CARD] = rng.integers(32, 127, CARD - 8, np.uint8).tobytes()
    yield "random card", bytes(card)
    first, second = sorted(rng.integers(0, len(seed), 2).tolist())
    yield "random cut", seed[:first]
    yield "piece missing", seed[:first] + seed[second:]
    noise = bytearray(seed)
    noise[first:second] = rng.bytes(second - first)
    yield "noise", bytes(noise)
    packed = bytearray(gzip.compress(seed, mtime=0))
    packed[int(rng.integers(len(packed)))] ^= 1 << int(rng.integers(8))
    yield "gzip flip", bytes(packed)
