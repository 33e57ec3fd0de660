import errno
import gzip
import io
import os
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError

from catalogs.folder import Folder
from pipeline import fits
from pipeline.errors import ArchiveUnreachable, Reason, Rejected


def _source(tmp_path: Path, data: bytes, whole: bool = False) -> fits.Source:
    (tmp_path / "a.fits").write_bytes(data)
    return fits.Source(Folder(tmp_path), "a.fits", whole=whole)


def _card(text: str) -> fits.Header:
    return fits.Header(b"", {text[:8].encode(): text[8:].ljust(72).encode("latin-1")})


@pytest.mark.parametrize(
    ("card", "value"),
    [
        ("KEY     = 'it''s a / string'   / comment", "it's a / string"),
        ("KEY     = '        '", ""),
        ("KEY     = ' lead  '", " lead"),
        ("KEY     =                   -7 / comment", -7),
        ("KEY     =             1.5D-03", 1.5e-3),
        ("KEY     =                   .5/c", 0.5),
        ("KEY     = T / yes", True),
        ("KEY     = F", False),
        ("KEY     =                      / undefined", None),
        ("KEY       no value indicator", None),
        ("KEY     = 3 / comment with \xe9", 3),
    ],
)
def test_card_values(card: str, value: object) -> None:
    found = _card(card).value("KEY")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["'open", "NaN", "1 2", "(1,2)", "'\xe9'", "1e", "--1", "0x10", "'a' b"])
def test_a_card_that_makes_no_sense_is_named(text: str) -> None:
    with pytest.raises(Rejected, match="KEY = ") as caught:
        _card(f"KEY     = {text}").value("KEY")
    assert caught.value.reason == Reason.BAD_HEADER


def _table(checksum: bool = False) -> bytes:
    columns = [
        astropy_fits.Column("A", "L", array=[True, False, True]),
        astropy_fits.Column("BITS", "11X", array=np.zeros((3, 11), bool)),
        astropy_fits.Column("NAME", "5A", array=["x", "y", "z"]),
        astropy_fits.Column("COUNT", "J", array=[1, -2, 3]),
        astropy_fits.Column("FLUX", "E", array=[1.5, np.nan, -np.inf]),
        astropy_fits.Column("TRIPLE", "3D", array=np.zeros((3, 3))),
        astropy_fits.Column("TIME", "D", array=[1e-300, 2.0, 3.0]),
    ]
    buffer = io.BytesIO()
    hdus = [astropy_fits.PrimaryHDU(), astropy_fits.BinTableHDU.from_columns(columns, name="T")]
    astropy_fits.HDUList(hdus).writeto(buffer, checksum=checksum)
    return buffer.getvalue()


def test_columns_are_found_whatever_stands_between_and_bits_are_kept(tmp_path: Path) -> None:
    """Odd widths leave the numbers unaligned; a signalling NaN with a payload comes back as it was."""
    data = bytearray(_table())
    hdu = list(fits.hdus(_source(tmp_path, bytes(data))))[1]
    table = fits.Table(hdu)
    flux = table.column("FLUX", "E")
    payload = bytes.fromhex("7fa12345")
    data[table.start + flux.offset : table.start + flux.offset + 4] = payload
    source = _source(tmp_path, bytes(data))
    rows = source.read(table.start, table.rows * table.row_bytes)
    values = table.values(rows, flux)
    assert values.dtype.isnative
    assert values.view("u4")[0] == int.from_bytes(payload, "big")
    np.testing.assert_array_equal(values[1:], np.float32([np.nan, -np.inf]))
    assert table.values(rows, table.column("COUNT", "J")).tolist() == [1, -2, 3]
    assert table.values(rows, table.column("TIME", "D")).tolist() == [1e-300, 2.0, 3.0]
    for name in ("TRIPLE", "NAME", "ABSENT"):
        with pytest.raises(Rejected) as caught:
            table.column(name, "DEJ")
        assert caught.value.reason == Reason.MISSING_COLUMN


def test_sums_find_one_flipped_bit(tmp_path: Path) -> None:
    """DATASUM rejects, CHECKSUM alone is only noted; with neither there is nothing to say."""
    data = bytearray(_table(checksum=True))
    source = _source(tmp_path, bytes(data))
    hdu = list(fits.hdus(source))[1]
    assert fits.check_sums(source, hdu) == ""
    data[hdu.data_start + 5] ^= 16
    source = _source(tmp_path, bytes(data))
    with pytest.raises(Rejected, match="DATASUM") as caught:
        fits.check_sums(source, hdu)
    assert caught.value.reason == Reason.CHECKSUM
    at = data.index(b"DATASUM", hdu.start)
    data[at : at + 80] = b" " * 80
    source = _source(tmp_path, bytes(data))
    assert "CHECKSUM" in fits.check_sums(source, list(fits.hdus(source))[1])


def test_checksum_of_astropy_and_ours_agree(tmp_path: Path) -> None:
    source = _source(tmp_path, _table(checksum=True))
    assert [fits.ones_complement_sum(source.read(h.start, h.end - h.start)) for h in fits.hdus(source)] == [
        0,
        0,
    ]
    assert fits.ones_complement_sum(memoryview(b"\xff\xff\xff\xff\x00\x00\x01")) == 0x100


def test_ranges_and_whole_files_read_the_same(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    ranged, whole = _source(tmp_path, data), _source(tmp_path, data, whole=True)
    for start, length in ((0, 10), (65_530, 20), (200_000, 70_000), (5, 65_536), (299_999, 1), (300_000, 0)):
        assert ranged.read(start, length) == whole.read(start, length) == data[start : start + length]
    for source in (ranged, whole):
        with pytest.raises(Rejected) as caught:
            source.read(299_999, 2)
        assert caught.value.reason == Reason.TRUNCATED


def test_gzip_is_known_by_its_bytes(tmp_path: Path) -> None:
    data = os.urandom(100_000)
    source = _source(tmp_path, gzip.compress(data, mtime=0))
    assert (source.length, bytes(source.read(0, 100_000))) == (100_000, data)
    assert source.size == len(source.stored or b"")


def test_a_link_may_point_inside_but_not_out(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "a.fits").write_bytes(b"x")
    (tmp_path / "archive-other").mkdir()
    (tmp_path / "archive-other" / "b.fits").write_bytes(b"x")
    (archive / "in.fits").symlink_to("a.fits")
    (archive / "out.fits").symlink_to("../archive-other/b.fits")
    (tmp_path / "linked").symlink_to(archive)
    for root in (archive, tmp_path / "linked"):
        fits.check_inside(Folder(root), "in.fits")
        for name in ("out.fits", "../archive/a.fits", "/etc/hostname", "a\0b"):
            with pytest.raises(Rejected) as caught:
                fits.check_inside(Folder(root), name)
            assert caught.value.reason == Reason.ESCAPES


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_bytes(b"x")
    (tmp_path / "a.fits").chmod(0)
    with pytest.raises(Rejected) as caught:
        fits.Source(Folder(tmp_path), "a.fits")
    assert caught.value.reason == Reason.UNREADABLE


def _system(number: int) -> OSError:
    return OSError(number, os.strerror(number))


AWAY, HOPELESS = ArchiveUnreachable, Reason.UNREADABLE


@pytest.mark.parametrize(
    ("error", "listed", "planned"),
    [
        (_system(errno.EACCES), HOPELESS, AWAY),
        (_system(errno.ENOENT), HOPELESS, Reason.CHANGED),
        (FileNotFoundError("Object at location x not found"), HOPELESS, Reason.CHANGED),
        (_system(errno.ELOOP), HOPELESS, HOPELESS),
        (_system(errno.EIO), AWAY, AWAY),
        (_system(errno.ESTALE), AWAY, AWAY),
        (_system(errno.ETIMEDOUT), AWAY, AWAY),
        (_system(errno.ENOTCONN), AWAY, AWAY),
        (PermissionDeniedError("403"), HOPELESS, AWAY),
        (UnauthenticatedError("401"), AWAY, AWAY),
        (GenericError("no route\nmore\nlines"), AWAY, AWAY),
        (_system(errno.EMFILE), OSError, OSError),
    ],
    ids=repr,
)
def test_what_the_machine_says_is_no_verdict_on_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, listed: object, planned: object
) -> None:
    """A file that was read before can be read: if not, the way to it is broken."""

    def fail(*_: object) -> NoReturn:
        raise error

    (tmp_path / "a.fits").write_bytes(b"x")
    monkeypatch.setattr(Folder, "read", fail)
    for before, wanted in ((False, listed), (True, planned)):
        with pytest.raises((Rejected, ArchiveUnreachable, OSError)) as caught:
            fits.Source(Folder(tmp_path), "a.fits", planned=before)
        found = caught.value.reason if isinstance(caught.value, Rejected) else type(caught.value)
        assert found == wanted
        assert wanted is not AWAY or f"{tmp_path}/a.fits" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("planned", [False, True])
def test_an_archive_that_is_not_mounted_has_no_hopeless_files(tmp_path: Path, planned: bool) -> None:
    """A mount point without its mount is an empty folder."""
    (tmp_path / "mount").mkdir()
    for root in ("mount", "none"):
        with pytest.raises(ArchiveUnreachable, match=r"s001/a\.fits: .*mounted on every worker"):
            fits.Source(Folder(tmp_path / root), "s001/a.fits", planned=planned)


def test_a_bucket_or_an_object_that_is_not_there(s3_folder: Folder) -> None:
    for planned, reason in ((False, Reason.UNREADABLE), (True, Reason.CHANGED)):
        s3_folder.write("b.fits", b"x")
        with pytest.raises(Rejected) as caught:
            fits.Source(s3_folder, "a.fits", planned=planned)
        assert caught.value.reason == reason
        s3_folder.remove("b.fits")
        for folder in (s3_folder, Folder("s3://no-such-bucket/x")):
            with pytest.raises(ArchiveUnreachable, match=r"s3://.*/a\.fits: no such file"):
                fits.Source(folder, "a.fits", planned=planned)


def test_files_below_a_linked_folder_are_outside(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.fits").write_bytes(b"x")
    (tmp_path / "archive" / "s002").symlink_to(tmp_path / "far")
    folder = Folder(tmp_path / "archive")
    (entry,) = folder.list()
    with pytest.raises(Rejected, match=rf"leads to {tmp_path}/far/a\.fits, .* as --archive, or copy") as caught:
        fits.check_inside(folder, entry.path)
    assert caught.value.reason == Reason.ESCAPES


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "x.fits").mkdir()
    with pytest.raises(Rejected, match="a directory, not a file"):
        fits.Source(Folder(tmp_path), "x.fits")
