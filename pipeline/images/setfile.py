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
    workspace = "../night1"       # without it, as above: the one that is trained in
    path = "alerts/*.avro"        # optional: where its alerts are now; by default where they were scored
    weight = 20.0                 # optional, of any source: each of its triplets counts as so many

    [cuts]
    min_snr = 5.0

    [split]                       # what is not said is as the settings of the training say
    by = "field"                  # as --split-by: field, temporal, ccd, filter, survey, kind, or such as survey:ztf

Of a candidate that is in several sources the first one counts.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field, ValidationError, field_validator, model_validator

from catalogs.folder import Folder
from pipeline.alerts.plan import Plan
from pipeline.errors import Mismatch, UsageError
from pipeline.images.gathered import AlertTriplets, Gathered, StoredTriplets
from pipeline.images.training import CandidateSet, store_path
from pipeline.images.verdicts import Verdicts
from pipeline.settings import CandidateSetSettings, Settings, TrainSettings, digest

__all__ = ["Cuts", "Described", "SetFile", "Split", "load"]


class _Source(Settings):
    weight: float = Field(1.0, gt=0, description="of each triplet in training")


class Simulated(_Source):
    """Simulated fields."""

    kind: Literal["simulated"]
    description: str | None = Field(None, description="TOML file of what is drawn; None: the own one")
    fields: int | None = Field(None, ge=1, description="how many; None: as described")
    seed: int | None = Field(None, ge=0, description="of the fields; None: as described")


class Alerts(_Source):
    """Alert packets with labels."""

    kind: Literal["alerts"]
    path: str = Field(description="file, or pattern of files")
    labels: str = Field(description="witness, review, or a CSV or Parquet file: candidate_id or candid, label, kind")
    workspace: str | None = Field(None, description="whose reviewers, with labels = review; None: own")


class Candidates(_Source):
    """Candidates of differenced images with labels."""

    kind: Literal["candidates"]
    workspace: str | None = Field(None, description="where the images were differenced; None: the one trained in")
    labels: str = Field(description="review, injected, injected-else-bogus, or a CSV or Parquet file")


class Labels(_Source):
    """Whatever reviewers have called real or bogus."""

    kind: Literal["labels"]
    workspace: str | None = Field(None, description="whose reviewers and candidates; None: the one trained in")
    path: str | None = Field(None, description="files of its alerts; None: those that were scored, where they were")


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
    """How triplets are parted into those that are learnt from, those that choose the epoch, those that judge.

    What is not given here is as the settings of the training say.
    """

    by: str = Field("field", description="held out as a whole, as the setting split_by of the training")
    test: float | None = Field(None, gt=0, lt=1, description="share that judges")
    validation: float | None = Field(None, gt=0, lt=1, description="share that chooses the epoch")
    seed: int | None = Field(None, ge=0, description="of the shares, and of the training")

    @field_validator("by")
    @classmethod
    def _is_a_way(cls, by: str) -> str:
        try:
            return TrainSettings(split_by=by).split_by  # type: ignore[call-arg]
        except ValidationError as error:
            raise ValueError(
                f"{by!r} is no way to split; {TrainSettings.model_fields['split_by'].description}"
            ) from error

    def options(self) -> dict[str, Any]:
        """Return what is given, as `pipeline.settings.TrainSettings` calls it."""
        told = self.model_dump(exclude_unset=True, exclude_none=True)
        return {"split_by" if name == "by" else name: value for name, value in told.items()}


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
    def _has_no_idle_workspace(self) -> "_Document":
        for one in self.source:
            if isinstance(one, Alerts) and one.workspace is not None and one.labels != "review":
                raise ValueError('alerts: a workspace is that of the reviewers; give it with labels = "review" only')
        return self


class SetFile:
    """A description of a set, read.

    Parameters
    ----------
    path : Path
        Where it is; paths in it are relative to that.
    document : pydantic model
        What it says.
    sha256 : str
        Of the file.

    Attributes
    ----------
    name : str
        Of the set.
    cuts, split : Cuts, Split
        What it says of them.
    """

    def __init__(self, path: Path, document: _Document, sha256: str) -> None:
        self.path, self._document, self.sha256 = path, document, sha256
        self.name, self.cuts, self.split = document.set.name, document.cuts, document.split

    def gather(self, workspace: Folder) -> "Described":
        """Return what makes the stores of all sources, and what is to be done with these.

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
        found = [(stage, one.weight) for one in self._document.source for stage in self._stages(workspace, one)]
        done = Described(tuple(stage for stage, _ in found), self, tuple(weight for _, weight in found))
        if (wanted := self._document.set.checksum) is not None and wanted != done.checksum:
            raise Mismatch(
                f"{self.path}: its checksum is {wanted}, its sources have {done.checksum}; bring back the sources that "
                "it was taken of, or put in the new checksum, which makes it another set"
            )
        return done

    def _stages(self, workspace: Folder, source: Settings) -> Iterator[CandidateSet | Gathered]:
        if isinstance(source, Simulated):
            about = None if source.description is None else str(self._near(source.description))
            settings = CandidateSetSettings(fields=source.fields, seed=source.seed, description=about)
            yield CandidateSet(workspace, settings)
            return
        assert isinstance(source, Alerts | Candidates | Labels)
        own = workspace if source.workspace is None else self._workspace(source.workspace)
        if isinstance(source, Alerts):
            yield Gathered(workspace, self.name, AlertTriplets(self._files(source.path), self._told(source, own)))
        if isinstance(source, Candidates):
            yield Gathered(workspace, self.name, StoredTriplets(own, self._told(source, own)))
        if isinstance(source, Labels):
            told = Verdicts.of_reviewers(own)
            files = _scored(own) if source.path is None else self._files(source.path)
            both = (StoredTriplets(own, told, optional=True), AlertTriplets(files, told, optional=True))
            if not any(one.parts() for one in both):
                cure = "label some on the review page of python -m jobs.serve, or give path, where the alerts are now"
                raise UsageError(f"{self.path}: of the {len(told.labels)} candidates labelled in {own} none is among "
                                 f"its differences or in {len(files)} files of its alerts; {cure}")  # fmt: skip
            yield from (Gathered(workspace, self.name, one) for one in both if one.parts())

    def _told(self, source: Alerts | Candidates, workspace: Folder) -> Verdicts:
        if source.labels == "review":
            return Verdicts.of_reviewers(workspace)
        rules = ("witness",) if isinstance(source, Alerts) else ("injected", "injected-else-bogus")
        if source.labels in rules:
            return Verdicts(source.labels, {})
        return Verdicts.of_file(self._near(source.labels))

    def _workspace(self, name: str) -> Folder:
        return Folder(name if "://" in name else self._near(name))

    def _files(self, pattern: str) -> list[Path]:
        whole = self._near(pattern)
        found = sorted(path for path in Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))) if path.is_file())
        if not found:
            raise UsageError(f"{self.path}: no file is {whole}; give a file of alerts, or a pattern such as DIR/*.avro")
        return found

    def _near(self, path: str) -> Path:
        return (self.path.parent / path).absolute()


def _scored(workspace: Folder) -> list[Path]:
    """Return the files of alerts that were scored in a workspace, as far as they are still there and the same."""
    found = {Path(file.path): file for part in Plan(workspace).parts for file in part}
    return sorted(path for path, file in found.items() if path.is_file() and file.is_unchanged())


@dataclass(frozen=True)
class Described:
    """A set, as far as it is gathered: what makes its stores, and what of these is learnt from.

    Parameters
    ----------
    stages : tuple
        That make a store each.
    file : SetFile, optional
        What describes it; None for a source alone, all of which is learnt from.
    weights : tuple of float
        Of the triplets of each.
    """

    stages: tuple[CandidateSet | Gathered, ...]
    file: SetFile | None = None
    weights: tuple[float, ...] = ()

    @property
    def checksum(self) -> str:
        """Over what the sources are made from, not over what is made of them."""
        return digest([stage.identity for stage in self.stages])

    def taught(self, index: pd.DataFrame) -> pd.DataFrame:
        """Return the rows that are learnt from, with their weights.

        Parameters
        ----------
        index : pandas.DataFrame
            Columns of `catalogs.triplets.TRIPLETS`, and path (of the store), in the order of `stages`.
        """
        if self.file is None:
            return index
        weights = {store_path(one.where): weight for one, weight in zip(self.stages, self.weights, strict=True)}
        kept = index[self.file.cuts.keep(index)].drop_duplicates("candidate_id")
        return kept.assign(weight=kept["weight"] * kept["path"].map(weights))

    def describe(self) -> dict[str, Any]:
        """Return what the set is, for a model's card.

        Returns
        -------
        dict
            Of a source alone as its stage says; else name, file and its sha256, checksum, sources, cuts, split.
        """
        if self.file is None:
            return self.stages[0].describe()
        kept = zip(self.stages, self.weights, strict=True)
        return {
            "name": self.file.name,
            "file": self.file.path.name,
            "sha256": self.file.sha256,
            "checksum": self.checksum,
            "sources": [stage.describe() | ({} if weight == 1 else {"weight": weight}) for stage, weight in kept],
            "cuts": self.file.cuts.model_dump(mode="json", exclude_defaults=True),
            "split": self.file.split.options(),
        }


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
        text = path.read_bytes()
        return SetFile(path, _Document.model_validate(tomllib.loads(text.decode())), sha256(text).hexdigest())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UsageError(f"{path}: {faults}") from error
