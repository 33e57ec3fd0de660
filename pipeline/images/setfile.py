"""What a real/bogus network learns from: a small TOML file that names sources, cuts, the split, and a checksum.

::

    [set]
    name = "ztf-2019"
    checksum = "…"                # optional: refused if sources or descriptions are not what they were

    [[source]]
    kind = "simulated"            # fields as described; see pipeline.simulate.nights
    description = "fields.toml"   # optional; paths are relative to this file

    [[source]]
    kind = "alerts"               # packets of ZTF, Rubin …
    path = "alerts/*.avro"
    labels = "labels.csv"         # or "witness" (what is vouched for is real) or "review" (with workspace)

    [[source]]
    kind = "candidates"           # of images that were differenced in a workspace
    workspace = "../night1"
    labels = "review"             # or "injected" (these are real), "injected-else-bogus", or a file

    [[source]]
    kind = "labels"               # all that reviewers of a workspace have called real or bogus
    workspace = "../night1"
    path = "alerts/*.avro"        # optional: where the packets are that were scored

    [cuts]
    min_snr = 5.0

    [split]
    by = "field"
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field, ValidationError, model_validator

from catalogs.folder import Folder
from pipeline.errors import Mismatch, UsageError
from pipeline.images.gathered import AlertTriplets, Gathered, StoredTriplets
from pipeline.images.training import CandidateSet
from pipeline.images.verdicts import Verdicts
from pipeline.settings import CandidateSetSettings, Settings, digest

__all__ = ["Cuts", "SetFile", "Split", "load"]


class Simulated(Settings):
    """Simulated fields."""

    kind: Literal["simulated"]
    description: str | None = Field(None, description="TOML file of what is drawn; None: the own one")
    fields: int | None = Field(None, ge=1, description="how many; None: as described")
    seed: int | None = Field(None, ge=0, description="of the fields; None: as described")


class Alerts(Settings):
    """Alert packets with labels."""

    kind: Literal["alerts"]
    path: str = Field(description="file, or pattern of files")
    labels: str = Field(description="witness, review, or a CSV or Parquet file: candidate_id or candid, label, kind")
    workspace: str | None = Field(None, description="whose reviewers: with labels = review")


class Candidates(Settings):
    """Candidates of differenced images with labels."""

    kind: Literal["candidates"]
    workspace: str = Field(description="where the images were differenced")
    labels: str = Field(description="review, injected, injected-else-bogus, or a CSV or Parquet file")


class Labels(Settings):
    """Whatever reviewers have called real or bogus."""

    kind: Literal["labels"]
    workspace: str = Field(description="whose reviewers; its differences are searched, if there are any")
    path: str | None = Field(None, description="alert files that are searched, too")


class Cuts(Settings):
    """Which triplets of the sources are left out."""

    min_snr: float | None = Field(None, ge=0, description="least |S/N|; what has none stays")
    max_fwhm_px: float | None = Field(None, gt=0, description="widest seeing, px; what has none stays")
    without_flags: int = Field(0, ge=0, description="none of these bits of flags")
    surveys: tuple[str, ...] = Field((), description="only these; none given: all")
    filters: tuple[str, ...] = Field((), description="only these; none given: all")
    without_kinds: tuple[str, ...] = Field((), description="none of these")
    without_objects: tuple[str, ...] = Field((), description="no trace of these objects")

    def keep(self, index: pd.DataFrame) -> pd.Series:
        """Return which rows of an index, as `catalogs.triplets.TRIPLETS`, are learnt from."""
        kept = pd.Series(True, index=index.index)
        if self.min_snr is not None:
            kept &= ~(index["snr"].abs() < self.min_snr)
        if self.max_fwhm_px is not None:
            kept &= ~(index["seeing_px"] > self.max_fwhm_px)
        kept &= (index["flags"].fillna(0).astype("int64") & self.without_flags) == 0
        for column, names in (("survey", self.surveys), ("filter", self.filters)):
            kept &= index[column].isin(names) if names else True
        kept &= ~index["kind"].isin(self.without_kinds)
        return kept & ~index["object_id"].isin(self.without_objects)


class Split(Settings):
    """How triplets are parted into those that are learnt from, those that choose the epoch, those that judge."""

    by: Literal["field", "time", "ccd", "filter", "survey", "kind"] = Field("field", description="held out as a whole")
    test: float = Field(0.15, gt=0, lt=1, description="share that judges")
    validation: float = Field(0.15, gt=0, lt=1, description="share that chooses the epoch")
    hold_out: tuple[str, ...] = Field((), description="what judges, by name, instead of a share")
    seed: int = Field(0, ge=0, description="of the shares")


class _About(Settings):
    name: str = Field(pattern=r"^\w[\w.-]*$")
    checksum: str | None = None


class _Document(Settings):
    set: _About
    source: tuple[Annotated[Simulated | Alerts | Candidates | Labels, Field(discriminator="kind")], ...] = Field(
        min_length=1
    )
    cuts: Cuts = Cuts()  # type: ignore[call-arg]
    split: Split = Split()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _has_reviewers(self) -> "_Document":
        for one in self.source:
            if isinstance(one, Alerts) and (one.labels == "review") != (one.workspace is not None):
                raise ValueError('alerts: give workspace with labels = "review", and only then')
        return self


class SetFile:
    """A description of a set, read.

    Parameters
    ----------
    path : Path
        Where it is; paths in it are relative to that.
    document : pydantic model
        What it says.

    Attributes
    ----------
    name : str
        Of the set.
    cuts, split : Cuts, Split
        What it says of them.
    """

    def __init__(self, path: Path, document: _Document) -> None:
        self.path, self._document = path, document
        self.name, self.cuts, self.split = document.set.name, document.cuts, document.split

    def stages(self, workspace: Folder) -> list[CandidateSet | Gathered]:
        """Return what makes the stores of all sources; each to be prepared and run.

        Parameters
        ----------
        workspace : Folder
            Receives them.

        Raises
        ------
        UsageError
            If a source is not there or has no labels.
        Mismatch
            If the file has a checksum, and the sources are not those it was taken of.
        """
        found = [stage for source in self._document.source for stage in self._stages(workspace, source)]
        own = digest([stage.identity for stage in found])
        if (wanted := self._document.set.checksum) is not None and wanted != own:
            raise Mismatch(
                f"{self.path}: its checksum is {wanted}, its sources have {own}; bring back the sources that it was "
                "taken of, or put in the new checksum, which makes it another set"
            )
        return found

    def describe(self, stages: list[CandidateSet | Gathered]) -> dict[str, Any]:
        """Return what the set is, for a model's card: name, checksum, sources, cuts, split.

        Parameters
        ----------
        stages : list
            Of `stages`, run.
        """
        return {
            "name": self.name,
            "checksum": digest([stage.identity for stage in stages]),
            "sources": [stage.describe() for stage in stages],
            "cuts": self.cuts.model_dump(mode="json", exclude_defaults=True),
            "split": self.split.model_dump(mode="json"),
        }

    def _stages(self, workspace: Folder, source: Settings) -> Iterator[CandidateSet | Gathered]:
        if isinstance(source, Simulated):
            about = None if source.description is None else str(self._near(source.description))
            settings = CandidateSetSettings(fields=source.fields, seed=source.seed, description=about)
            yield CandidateSet(workspace, settings)
        if isinstance(source, Alerts):
            yield Gathered(workspace, self.name, AlertTriplets(self._files(source.path), self._told(source)))
        if isinstance(source, Candidates):
            yield Gathered(workspace, self.name, StoredTriplets(self._workspace(source), self._told(source)))
        if isinstance(source, Labels):
            told = Verdicts.of_reviewers(self._workspace(source))
            yield Gathered(workspace, self.name, StoredTriplets(self._workspace(source), told, optional=True))
            if source.path is not None:
                yield Gathered(workspace, self.name, AlertTriplets(self._files(source.path), told))

    def _told(self, source: Alerts | Candidates) -> Verdicts:
        if source.labels == "review":
            return Verdicts.of_reviewers(self._workspace(source))
        rules = ("witness",) if isinstance(source, Alerts) else ("injected", "injected-else-bogus")
        if source.labels in rules:
            return Verdicts(source.labels, {})
        return Verdicts.of_file(self._near(source.labels))

    def _workspace(self, source: Any) -> Folder:
        return Folder(source.workspace if "://" in source.workspace else self._near(source.workspace))

    def _files(self, pattern: str) -> list[Path]:
        whole = self._near(pattern)
        found = sorted(path for path in Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))) if path.is_file())
        if not found:
            raise UsageError(f"{self.path}: no file is {whole}; give a file of alerts, or a pattern such as DIR/*.avro")
        return found

    def _near(self, path: str) -> Path:
        return (self.path.parent / path).absolute()


def load(path: Path | str) -> SetFile:
    """Read the description of a set.

    Parameters
    ----------
    path : path
        A TOML file.

    Raises
    ------
    UsageError
        If it does not parse, or says what is not known; the message names each.
    """
    path = Path(path)
    try:
        return SetFile(path, _Document.model_validate(tomllib.loads(path.read_text())))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UsageError(f"{path}: {faults}") from error
