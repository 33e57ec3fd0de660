"""Which image is subtracted from which: same mission, same filter, one field, a reference chosen by a score."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from pipeline.errors import UsageError
from pipeline.images.footprints import corners, overlap, unit_vectors
from pipeline.images.merit import Row, age, known, scored, word
from pipeline.settings import PairSettings

__all__ = ["Refusal", "pairs", "read_list", "refusal"]

_ACCEPTED = ("pair_id", "science_id", "reference_id", "overlap", "score", "score_depth", "score_seeing", "score_epoch",
             "days", "ref_after_event", "explicit")  # fmt: skip
_REFUSED = ("science_id", "reference_id", "state", "reason", "message")


@dataclass(frozen=True, order=True)
class Refusal:
    """Why two images are no pair: how far they came, a code, and words with the figures."""

    step: int
    reason: str
    message: str


def read_list(path: str | Path) -> list[tuple[str, str]]:
    """Read pairs to be made: CSV with the columns science and reference, of image ids or file names.

    Raises
    ------
    UsageError
        If the file does not read, lacks a column or has an empty cell.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, comment="#", skipinitialspace=True)
    except (OSError, ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise UsageError(f"{path}: not a readable CSV ({error}); give columns science,reference") from error
    if not {"science", "reference"} <= {*table.columns}:
        raise UsageError(f"{path}: columns are {', '.join(map(str, table.columns))}; give science,reference")
    rows = [(str(a).strip(), str(b).strip()) for a, b in zip(table["science"], table["reference"], strict=True)]
    for number, row in enumerate(rows, 2):
        if not all(row):
            raise UsageError(f"{path}: line {number} names one image only; name science and reference, or drop it")
    return rows


def refusal(science: Row, reference: Row) -> Refusal | None:
    """Return what keeps two images from being a pair even if it is named, as far as their headers tell; None: nothing.

    Parameters
    ----------
    science, reference : dict
        image_id, sha256, extension, mission, filter.
    """
    return _barrier(science, reference, PairSettings.load(None, "pairs"), explicit=True)


def pairs(
    index: pd.DataFrame, settings: PairSettings, explicit: Sequence[tuple[str, str]] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Choose a reference for every image, or pair those named.

    Parameters
    ----------
    index : pandas.DataFrame
        Images, with the columns of the index of images; dates, depth, seeing may be missing.
    settings : PairSettings
        Limits and powers.
    explicit : sequence of (str, str), optional
        Science and reference, by image id, path or file name: these and no others are paired, whatever their dates.

    Returns
    -------
    accepted : pandas.DataFrame
        One row a pair, sorted by pair_id: science_id, reference_id, overlap, score and its parts (missing where a date
        is), days (reference to science), ref_after_event (boolean; missing without dates), explicit.
    refused : pandas.DataFrame
        One row for each image that is no pair's science image, and each named pair that is refused: science_id,
        reference_id (the image that came nearest to it; missing if none), state (``rejected``, or ``nothing`` for an
        image that serves as a reference only or is not on the list), reason and message.
    """
    images = index.sort_values("image_id").to_dict("records")
    found, refused = _named(images, settings, explicit) if explicit is not None else _chosen(images, settings)
    accepted = pd.DataFrame(found, columns=list(_ACCEPTED)).drop_duplicates("pair_id").sort_values("pair_id")
    accepted = accepted.astype({"ref_after_event": "boolean", "explicit": "bool"})
    rest = _unpaired(images, accepted, refused, explicit is not None)
    columns = [*refused, *rest]
    return accepted.reset_index(drop=True), pd.DataFrame(columns, columns=list(_REFUSED)).sort_values(
        ["science_id", "reference_id"], ignore_index=True, na_position="first"
    )


def _unpaired(images: list[Row], accepted: pd.DataFrame, refused: list[Row], named: bool) -> list[Row]:
    """Return a row for each image that has no outcome yet."""
    done = {*accepted["science_id"], *(row["science_id"] for row in refused)}
    references = {*accepted["reference_id"]}
    rows = []
    for image in images:
        name = image["image_id"]
        if name not in done:
            serves = name in references
            text = "it is the reference of others" if serves else "it is not on the list of pairs"
            reason = "reference_only" if serves else "not_listed"
            rows.append(_refused(name, None, reason, text, state="nothing"))
    if named:
        return rows
    # Of an image that others are subtracted by, that it has no older one itself is no loss.
    for row in refused:
        if row["science_id"] in references:
            row |= {"state": "nothing", "message": f"{row['message']}; it is the reference of others"}
    return rows


def _chosen(images: list[Row], settings: PairSettings) -> tuple[list[Row], list[Row]]:
    if not images:
        return [], []
    tree, reach = _sky(images)
    found, refused, farthest = [], [], 2 * float(np.nanmax(reach, initial=0.0))
    for number, science in enumerate(images):
        near = tree.query_ball_point(tree.data[number], farthest) if np.isfinite(reach[number]) else []
        others = [images[k] for k in sorted(near) if k != number]
        rows = []
        for reference in others:
            if _barrier(science, reference, settings) is None:
                share = overlap(science["footprint"], reference["footprint"])
                if share >= settings.min_overlap:
                    rows.append(scored(science, reference, share, settings, False))
        if rows:
            found.append(max(rows, key=lambda row: (row["score"], row["reference_id"])))
        else:
            refused.append(_nearest_miss(science, others, settings))
    return found, refused


def _sky(images: list[Row]) -> tuple[cKDTree, np.ndarray]:
    """Return a tree of the middles of footprints, and the radii (chords) of circles around them."""
    middles, reach = [], []
    for image in images:
        points = corners(image["footprint"])
        middle = points.mean(0) / np.linalg.norm(points.mean(0))
        placed = bool(np.isfinite(middle).all())
        middles.append(middle if placed else unit_vectors(0.0, 90.0))
        reach.append(np.linalg.norm(points - middle, axis=1).max() if placed else np.nan)
    return cKDTree(np.array(middles)), np.array(reach)


def _nearest_miss(science: Row, others: list[Row], settings: PairSettings) -> Row:
    """Return the refusal of the image that came nearest to being a reference."""
    misses = []
    for reference in others:
        share = overlap(science["footprint"], reference["footprint"])
        if share > 0:
            barrier = _barrier(science, reference, settings)
            text = f"the reference covers {share:.3f} of it, less than {settings.min_overlap:g}"
            barrier = barrier or Refusal(5, "overlap", text)
            misses.append((barrier.step, share, reference["image_id"], barrier))
    if not misses:
        return _refused(science["image_id"], None, "alone", "no other image covers its field; ingest a reference")
    _, _, name, barrier = max(misses, key=lambda miss: miss[:3])
    return _refused(science["image_id"], name, barrier.reason, f"{barrier.message} ({name})")


def _barrier(science: Row, reference: Row, settings: PairSettings, explicit: bool = False) -> Refusal | None:
    """Return what keeps two images from being a pair, but for their overlap."""
    if _same(science, reference, explicit):
        return Refusal(1, "same_exposure", "the reference is the same exposure")
    for step, name, also in ((2, "mission", ("survey", "instrument")), (3, "filter", ("instrument",))):
        one, other = word(science, name), word(reference, name)
        if one != other and ((one and other) or not explicit):
            return Refusal(step, f"cross_{name}", f"{name} {one or 'unknown'} is not {other or 'unknown'}")
        # Headers that are silent alike are only taken for the same of the same instrument.
        if not one and not explicit and any(word(science, key) != word(reference, key) for key in also):
            return Refusal(step, f"unknown_{name}", f"the {name} of both is unknown; name the pair on a list")
    if explicit:
        return None
    days = age(science, reference)
    if days is None:
        return Refusal(4, "no_date", "a date is unknown; name the pair on a list")
    if days < settings.before_days and -days < settings.after_days:
        text = f"the reference is {abs(days):.3f} d {'older' if days >= 0 else 'younger'}"
        limits = f"{settings.before_days:g} d older or {settings.after_days:g} d younger"
        return Refusal(4, "epoch", f"{text}; it must be {limits}")
    return None


def _same(science: Row, reference: Row, explicit: bool) -> bool:
    def key(image: Row) -> tuple[Any, ...]:
        return image["sha256"], image["extension"]

    if science["image_id"] == reference["image_id"] or key(science) == key(reference):
        return True
    days, exposure = age(science, reference), known(science.get("exptime_s"))
    alike = all(word(science, name) == word(reference, name) for name in ("mission", "instrument", "filter"))
    # Two detectors, or two files of one exposure. Dates of headers are not to be trusted against what a list says.
    return not explicit and alike and days is not None and abs(days) * 86400 < max((exposure or 0) / 2, 0.5)


def _named(
    images: list[Row], settings: PairSettings, explicit: Sequence[tuple[str, str]]
) -> tuple[list[Row], list[Row]]:
    found, refused = [], []
    for names in explicit:
        sides = [_matching(images, name) for name in names]
        for name, side in zip(names, sides, strict=True):
            if not side:
                refused.append(_refused(names[0], names[1], "unknown_image", f"{name} is no image that was ingested"))
        if not all(sides):
            continue
        for science in sides[0]:
            row, barrier = _best(science, sides[1], settings)
            if row is not None:
                found.append(row)
            elif barrier is not None:
                reference, why = barrier
                refused.append(_refused(science["image_id"], reference, why.reason, why.message))
    return found, refused


def _best(science: Row, references: list[Row], settings: PairSettings) -> tuple[Row | None, tuple[str, Refusal] | None]:
    """Return the pair with the image of a file that covers most, or why there is none."""
    rows, barriers = [], []
    for reference in references:
        barrier = _barrier(science, reference, settings, explicit=True)
        share = 0.0 if barrier else overlap(science["footprint"], reference["footprint"])
        if barrier is None and share < settings.min_overlap:
            barrier = Refusal(
                5, "overlap", f"the reference covers {share:.3f} of it, less than {settings.min_overlap:g}"
            )
        if barrier is None:
            rows.append(scored(science, reference, share, settings, True))
        else:
            barriers.append((barrier, reference["image_id"]))
    if rows:
        return max(rows, key=lambda row: (row["overlap"], row["reference_id"])), None
    barrier, name = max(barriers)
    return None, (name, barrier)


def _matching(images: list[Row], name: str) -> list[Row]:
    """Return the images of a name: an id, else a path, else a file's name."""
    for key in (lambda row: row["image_id"], lambda row: row["file"], lambda row: Path(row["file"]).name):
        found = [row for row in images if key(row) == name]
        if found:
            return found
    return []


def _refused(science: str, reference: str | None, reason: str, message: str, state: str = "rejected") -> Row:
    return {"science_id": science, "reference_id": reference, "state": state, "reason": reason, "message": message}
