"""One pair of files without a workspace of one's own: the same stages, in a workspace that goes when they are done."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from catalogs.folder import Folder
from pipeline.errors import Mismatch, Refused, UsageError
from pipeline.images import image, occupation, plan, roster
from pipeline.images.delivery import FILES
from pipeline.images.difference import band_rows
from pipeline.images.given import Given, Row, given
from pipeline.images.ingest import IngestImages
from pipeline.images.pairing import refusal
from pipeline.images.status import outcomes
from pipeline.partition import Key
from pipeline.settings import DifferenceSettings, ImageSettings, PairSettings, digest
from pipeline.stage import State

__all__ = ["OnePair", "look"]

#: Folder of the temporary workspace, in the output's.
WORK = ".work"


@dataclass(frozen=True, eq=False)
class OnePair:
    """A pair of files, and where its difference goes.

    Parameters
    ----------
    given : Given
        The files.
    out : Path
        Folder of the results.
    images : ImageSettings
        How they are ingested.
    settings : DifferenceSettings
        How they are subtracted.
    """

    given: Given
    out: Path
    images: ImageSettings
    settings: DifferenceSettings

    def __str__(self) -> str:
        one, other = (f"{row['file']}[{row['extension']}] ({row['nx']} x {row['ny']})" for row in self._rows)
        bands = "in one go" if self.bands == 1 else f"in {self.bands} bands of rows"
        return f"{one} - {other}, {bands}"

    @property
    def _rows(self) -> tuple[Row, Row]:
        return self.given.science, self.given.reference

    @cached_property
    def identity(self) -> str:
        """All that the results follow from, in 16 hexadecimal digits."""
        sides = [[row[name] for name in ("sha256", "extension")] for row in self._rows]
        psfs = {name: stamp.astype(float).tolist() for name, stamp in self.given.psfs.items()}
        settings = [self.images.model_dump(mode="json"), self.settings.model_dump(mode="json")]
        return digest([sides, psfs, self.given.mask_sha256, settings])[:16]

    @property
    def workspace(self) -> Folder:
        """Where the stages work."""
        return Folder(self.out / WORK / self.identity)

    @property
    def bands(self) -> int:
        """Tasks that the subtraction is cut into."""
        shape = int(self.given.reference["ny"]), int(self.given.reference["nx"])
        return -(-shape[0] // band_rows(shape))

    @property
    def where(self) -> tuple[str, str]:
        """Science image and reference, ``<survey>/<image_id>``."""
        one, other = (f"{row['survey']}/{row['image_id']}" for row in self._rows)
        return one, other

    @contextmanager
    def claimed(self, overwrite: bool = False) -> Iterator[None]:
        """Keep the folder of the results to this run, and see that nothing in it is lost.

        Parameters
        ----------
        overwrite : bool
            Replace the results that are there, whoever has made them.

        Raises
        ------
        Mismatch
            If other results are there, and are not to be overwritten.
        Refused
            If another run is at work there, or files have the names of results and are none of ours.
        """
        with occupation.occupied(self.out):
            self._check(overwrite)
            work = self.out / WORK
            work.mkdir(exist_ok=True)
            (work / occupation.MARK).touch()
            yield

    def _check(self, overwrite: bool) -> None:
        found = occupation.foreign(self.out, FILES)
        # A folder is never removed that we have not made: of what it holds nothing is known.
        kept = [path for path in found if path.is_dir() or not overwrite]
        if kept:
            cure = "move it away" if kept[0].is_dir() else "--overwrite replaces it"
            raise Refused(f"{kept[0]}: not made by skysift; {cure}, or give another --out")
        work = self.out / WORK
        if work.is_symlink() or (work.exists() and not (work / occupation.MARK).is_file()):
            raise Refused(f"{work}: not made by skysift; move it away, or give another --out")
        if occupation.identity(self.out) not in (None, self.identity) and not overwrite:
            cure = "--overwrite replaces it, or give another --out"
            raise Mismatch(f"{self.out}: holds a difference of other images or made with other settings; {cure}")

    def begin(self, overwrite: bool = False) -> None:
        """Make the temporary workspace, or take up the one that an earlier run of the same has left.

        Parameters
        ----------
        overwrite : bool
            Take up nothing.
        """
        work = self.out / WORK
        if (work / occupation.MARK).is_file():
            for other in sorted(work.iterdir()):
                if other.is_dir() and (other.name != self.identity or overwrite):
                    shutil.rmtree(other)
        workspace = self.workspace
        workspace.sweep()
        for survey, change in plan.changes(workspace, list(self._rows)).items():
            plan.save(workspace, survey, change)

    def ingests(self) -> Iterator[tuple[IngestImages, list[Key]]]:
        """Give what has to be ingested; a mask is the science image's alone.

        Yields
        ------
        stage : IngestImages
            To be run.
        keys : list of Key
            Which images of it.
        """
        one, other = (image.key_of(where) for where in self.where)
        surveys = [row["survey"] for row in self._rows]
        stages = [IngestImages(self.workspace, self.given.archive, survey, self.images) for survey in surveys]
        if self.given.mask is None and surveys[0] == surveys[1]:
            yield stages[0], [one, other]
            return
        masks = None if self.given.mask is None else {"bad_pixels": self.given.mask}
        yield IngestImages(self.workspace, self.given.archive, surveys[0], self.images, masks), [one]
        yield stages[1], [other]

    def pair(self) -> dict[str, dict[str, Any]]:
        """Write the plan of the pair, whatever its dates, and return its row by pair_id.

        Raises
        ------
        Refused
            If the two are no pair.
        """
        names = self.given.science["image_id"], self.given.reference["image_id"]
        made = roster.forced(
            self.workspace, *names, PairSettings.load(None, "pairs", min_overlap=self.settings.min_overlap)
        )
        roster.save(self.workspace, made)
        return roster.rows(made.plan)

    def check(self, stage: str) -> None:
        """Check that a stage has rejected nothing.

        Raises
        ------
        Refused
            With what it had against the images.
        """
        bad = outcomes(self.workspace, stage, (State.REJECTED, State.FAILED))
        if len(bad):
            raise Refused("; ".join(f"{row.input}: {row.reason}: {row.message}" for row in bad.itertuples()))

    def end(self) -> None:
        """Remove the temporary workspace."""
        if (self.out / WORK / occupation.MARK).is_file():
            shutil.rmtree(self.out / WORK, ignore_errors=True)


def look(
    science: str | None,
    reference: str | None,
    out: Folder | None,
    images: ImageSettings,
    settings: DifferenceSettings,
    science_psf: str | None = None,
    reference_psf: str | None = None,
    mask: str | None = None,
) -> OnePair:
    """Look at the files of a pair; see `OnePair` and `pipeline.images.given.given`.

    Raises
    ------
    UsageError
        If one of the three is missing, or a file is not what it should be.
    Refused
        If an image is no use, or both are the same.
    """
    if not (science and reference and out):
        raise UsageError("one pair needs --science A.fits, --reference B.fits and --out DIR")
    if not out.is_local:
        raise UsageError(f"--out {out}: give a local folder")
    pair = given(science, reference, images, science_psf, reference_psf, mask)
    if (barrier := refusal(pair.science, pair.reference)) is not None:
        raise Refused(f"{barrier.reason}: {barrier.message}")
    return OnePair(pair, Path(out.root), images, settings)
