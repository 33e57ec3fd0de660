"""A workspace with differences and candidates as the jobs commit them, made of what is known exactly."""

import numpy as np
import pyarrow as pa

from catalogs.candidates import CANDIDATES
from catalogs.folder import Folder
from pipeline import manifest, stores
from pipeline.images import image, triplets
from pipeline.images.combine import SERIES
from pipeline.images.coordinates import footprint, text_of
from pipeline.images.difference import DIFFERENCE, _template, difference_path
from pipeline.images.frame import Bit
from pipeline.manifest import Record
from pipeline.partition import Key
from pipeline.settings import digest
from pipeline.simulate.pointing import tangent

SHAPE, ROWS = (600, 128), 320  # two bands, of which the second is not full
WCS = tangent((150.0, 2.2), SHAPE, 0.5)

#: Object → place, and S/N in each epoch; None: no candidate.
OBJECTS = {
    "grows": ((64.3, 200.6), (None, 8.0, 12.0), (1.0, 8.0, 12.0)),
    "between windows": ((30.0, 255.7), (9.0, 9.0, None), (9.0, 9.0, 0.5)),
    "second band": ((90.0, 500.2), (20.0, 30.0, 25.0), (20.0, 30.0, 25.0)),
    "once": ((100.0, 90.0), (None, 7.0, None), (0.0, 7.0, 0.0)),
    "at the edge": ((40.0, 597.0), (15.0, 15.0, 15.0), (15.0, 15.0, 15.0)),
}
ERROR, RADIUS = 2.0, 3.0


def _commit(workspace, stage, key, upstream, details, objects=()):
    record = Record(stage, 1, str(key), {}, "", upstream, list(objects), 1, {"done": 1}, details)
    return {manifest.path(stage, key): manifest.commit(workspace, record).identity}


def _significance(epoch):
    ny, nx = SHAPE
    y, x = np.mgrid[:ny, :nx]
    values = np.zeros(SHAPE, np.float32)
    for (x0, y0), _, snr in OBJECTS.values():
        values += (snr[epoch] * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8)).astype(np.float32)
    return values


def _candidate(name, pair, epoch, place, snr, triplet, flags):
    ra, dec = (float(value) for value in WCS.all_pix2world(*place, 0))
    texts = (
        "survey",
        "mission",
        "instrument",
        "ccd",
        "science_file",
        "reference_file",
        "settings_hash",
        "manifest_key",
    )
    row = dict.fromkeys(texts, "sim") | {"filter": "r", "time_scale": "utc", "science_sha256": f"{epoch:064d}"}
    row |= {"candidate_id": f"{name}-{epoch}", "pair_id": pair, "mjd_mid": 60000.0 + 5 * epoch, "ra": ra, "dec": dec}
    row |= {"ra_err": 0.05, "dec_err": 0.05, "x": place[0], "y": place[1], "snr": snr, "is_positive": True}
    row |= {"flux": snr * ERROR, "flux_err": ERROR, "flux_unit": "uJy", "mag_ab": 21.0, "zp_ab": 23.9}
    row |= {"seeing_arcsec": 1.5, "ref_seeing_arcsec": 1.2, "fwhm_arcsec": 1.5, "pixscale": 0.5, "align_rms_px": 0.02}
    row |= {"n_neighbours": 0, "is_injected": False, "flags": flags, "frame_flags": 0, "selection": 0}
    row |= {"reference_sha256": "1" * 64, "triplet_row": triplet, "stage_version": 1, "catalog_release": "draft"}
    return row


def epoch_pair(epoch):
    return f"e{epoch}-0-aa-ref-0-bb"


def build(workspace, epochs=(0, 1, 2)):
    """Commit images, differences, triplets and candidates of epochs, in that order; a later call adds to an earlier."""
    facts = {"survey": "sim", "filter": "r", "time_scale": "utc", "zp_ab": 23.9, "ny": SHAPE[0], "nx": SHAPE[1]}
    facts |= {"footprint": footprint(WCS, SHAPE), "wcs": text_of(WCS)}
    top = _commit(workspace, image.STAGE, image.key_of("sim/ref-0-bb"), {}, {"image": facts | {"image_id": "ref-0-bb"}})
    for epoch in epochs:
        own = facts | {"image_id": f"e{epoch}-0-aa", "mjd_mid": 60000.0 + 5 * epoch}
        science = _commit(workspace, image.STAGE, image.key_of(f"sim/e{epoch}-0-aa"), {}, {"image": own})
        _difference(workspace, epoch, top | science)
    _candidates(workspace)
    return workspace


def _difference(workspace, epoch, upstream):
    pair, values = epoch_pair(epoch), _significance(epoch)
    widths = {"science_fwhm_px": RADIUS, "reference_fwhm_px": 2.0}
    upstream = upstream | _commit(workspace, "match_images", Key("matches", pair, 0), upstream, widths)
    stores.create(workspace, difference_path(pair), _template(pair, SHAPE, ROWS, text_of(WCS), 1), 2)
    stores.create(workspace, triplets.path(pair), triplets.template(15, 16), 1)
    mask = np.zeros(SHAPE, np.uint16)
    mask[-2:] = int(Bit.EDGE)
    error = np.full(SHAPE, ERROR, np.float32)
    for band, y0 in enumerate(range(0, SHAPE[0], ROWS)):
        rows = slice(y0, min(y0 + ROWS, SHAPE[0]))
        planes = {"difference": values[rows], "significance": values[rows], "flux_err": error[rows], "mask": mask[rows]}
        objects = stores.write(workspace, difference_path(pair), band, planes)
        _commit(
            workspace, DIFFERENCE, Key("differences", pair, band), upstream, {"rows": [rows.start, rows.stop]}, objects
        )
    cut = triplets.cut([values] * 3, *np.array([place for place, _, _ in OBJECTS.values()]).T, 15)
    triplets.write(workspace, triplets.path(pair), 0, cut.pixels)


def _candidates(workspace):
    pairs = {Key.parse(text).where for text in manifest.committed(workspace, DIFFERENCE)}
    rows = [
        _candidate(name, epoch_pair(epoch), epoch, place, snr[epoch], number, int(Bit.EDGE) if "edge" in name else 0)
        for epoch in range(3)
        for number, (name, (place, snr, _)) in enumerate(OBJECTS.items())
        if epoch_pair(epoch) in pairs and snr[epoch] is not None
    ]
    upstream = {path: manifest.read(workspace, DIFFERENCE, text).identity
                for text, path in sorted(manifest.committed(workspace, DIFFERENCE).items())}  # fmt: skip
    release = digest(upstream)[:16]
    table = CANDIDATES.conform(pa.Table.from_pylist([row | {"catalog_release": release} for row in rows],
                                                    schema=CANDIDATES.arrow_schema()))  # fmt: skip
    made = SERIES.commit(workspace, release, table, settings={}, upstream=upstream, inputs=len(rows))
    SERIES.publish(workspace, made)


def empty(path):
    """Return a new workspace."""
    path.mkdir(parents=True, exist_ok=True)
    return Folder(path)
