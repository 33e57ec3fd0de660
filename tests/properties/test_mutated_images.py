"""Whatever has become of an image file: stored or rejected with a reason, and nothing else raised."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
from astropy.io import fits

from catalogs.folder import Folder
from pipeline.images import ingest, plan, status
from pipeline.images.ingest import IngestImages
from pipeline.settings import ImageSettings
from tests.pipeline.images import fields

NUMBER = 60
VALUES = (b"0", b"-1", b"3", b"99", b"1000000000000", b"NaN", b"'abc'", b"1.0E+300", b"-1.0E-300", b"T", b"")


def good(folder: Path) -> bytes:
    """Return a file of a compressed image with distortions, and a plain one with a quality plane."""
    data = fields.field(0, (96, 128), number=12).data
    sip = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-7}
    hdus = [fits.PrimaryHDU(), fits.CompImageHDU(data, fields.header(data.shape, GAIN=1.6, **sip))]
    hdus += [fits.ImageHDU(data.astype(np.int16), fields.header(data.shape, MAGZP=25.0), "B")]
    hdus += [fits.ImageHDU(np.zeros(data.shape, np.uint16), fields.header(data.shape), "DQ")]
    fits.HDUList(hdus).writeto(folder / "good.fits")
    return (folder / "good.fits").read_bytes()


def mutated(stored: bytes, rng: random.Random) -> bytes:
    """Return a file with a card changed, doubled or swapped, bytes flipped, or its end cut off."""
    data = bytearray(stored)
    cards = [
        at for at in range(0, len(data), 80) if data[at : at + 8].strip().isalnum() and data[at + 8 : at + 9] == b"="
    ]
    for _ in range(rng.randint(1, 3)):
        kind, one, two = rng.randrange(6), rng.choice(cards), rng.choice(cards)
        if kind < 2:
            data[one + 10 : one + 30] = rng.choice(VALUES).rjust(20)
        elif kind == 2:
            data[two : two + 80] = data[one : one + 80]
        elif kind == 3:
            data[one + rng.randrange(80)] = rng.choice(b"0123456789 .'-+TFEe/=ABZ\xff\x00")
        elif kind == 4:
            for _ in range(20):
                data[rng.randrange(len(data))] = rng.randrange(256)
        else:
            return bytes(data[: rng.randrange(len(data))])
    return bytes(data)


def test_every_mutated_image_is_stored_or_rejected(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    archive, workspace = Folder(tmp_path / "archive"), Folder(tmp_path / "workspace")
    stored, rng = good(tmp_path), random.Random(4)
    for number in range(NUMBER):
        (tmp_path / "archive" / f"{number:03d}.fits").write_bytes(mutated(stored, rng))
    settings = ImageSettings(max_gib=0.02, cosmic_rays=False)
    rows = plan.inspect(archive, settings, plan.find(archive, settings.pattern))
    for survey, change in plan.changes(workspace, rows).items():
        plan.save(workspace, survey, change)
        stage = IngestImages(workspace, archive, survey, settings)
        for key in sorted(stage.keys()):
            stage.execute(key)
    ingest.write_index(workspace)
    table = status.outcomes(workspace)
    assert table["input"].is_unique and len(table) == len(rows)
    assert {row["file"] for row in rows} == {f"{number:03d}.fits" for number in range(NUMBER)}
    assert set(table["state"]) == {"done", "rejected"} and (table["state"] == "done").sum() > NUMBER / 2
    assert len(Counter(table["reason"].dropna())) >= 4
    for image in ingest.index(workspace).itertuples():
        frame = ingest.load(workspace, f"{image.survey}/{image.image_id}").read(0, 32)
        assert np.isfinite(frame.data).all() and (frame.variance > 0).all()
