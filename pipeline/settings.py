"""What a user may set: one model per step, with meaning and unit; unknown names are refused.

Settings come from the ``[ingest]``, ``[preprocess]``, … tables of a TOML file (``--config``), then from options.
Only what changes results stands here: workers, addresses and verbosity are the job's own business.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from pipeline.errors import UsageError

__all__ = [
    "CandidateSetSettings",
    "AssociateSettings",
    "CalibrationSettings",
    "CandidateScoreSettings",
    "CompletenessSettings",
    "DifferenceSettings",
    "DriftSettings",
    "ImageSettings",
    "IngestSettings",
    "InjectionSettings",
    "MatchSettings",
    "PairSettings",
    "PreprocessSettings",
    "ReportSettings",
    "SamplingSettings",
    "ScoreSettings",
    "MeasureSettings",
    "SelectSettings",
    "Settings",
    "StampSetSettings",
    "StampSettings",
    "SystemsSettings",
    "TrainSettings",
    "TrainingSetSettings",
    "VisualScoreSettings",
    "digest",
]


#: Tables of a settings file, one a step.
SECTIONS = ("ingest", "preprocess", "training", "rehearsal", "train", "calibration", "score", "systems", "completeness",
            "report", "images", "pairs", "difference", "injections", "associate", "select", "candidates", "triplets",
            "drift", "stamps", "stampset", "measure", "visual")  # fmt: skip


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of `value`."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Settings(BaseModel):
    """Frozen settings of one step; what is not listed is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON; stands in manifests and catalogues."""
        return digest(self.model_dump(mode="json"))[:16]

    @classmethod
    def load(
        cls, config: str | Path | None, section: str, defaults: Mapping[str, Any] | None = None, **options: Any
    ) -> Self:
        """Return settings from a TOML file's table `section`, overridden by the options that are not None.

        `defaults` stand where neither says anything.

        Raises
        ------
        UsageError
            If the file does not parse, or a name or value is not allowed; the message names each.
        """
        values: dict[str, Any] = dict(defaults or {})
        if config is not None:
            try:
                tables = tomllib.loads(Path(config).read_text())
            except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise UsageError(f"{config}: {error}") from error
            if unknown := sorted(tables.keys() - set(SECTIONS)):
                raise UsageError(f"{config}: no step is called {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
            values |= tables.get(section, {})
        values |= {name: value for name, value in options.items() if value is not None}
        try:
            return cls(**values)
        except ValidationError as error:
            lines = [f"[{section}] {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            known = ", ".join(cls.model_fields)
            source = config or "options"
            raise UsageError(f"{source}: {'; '.join(lines)} (settings of this step: {known})") from error


class IngestSettings(Settings):
    """Light-curve files → store."""

    # It chooses files and changes no byte of what is made of them: no part of what a rerun is compared by.
    pattern: str = Field(
        "**/*.fits*", exclude=True, description="glob below the archive; {sector} stands for the sector"
    )
    compression: int = Field(1, ge=1, le=9, description="zstd level of the store; 1 is fast, 5 saves 8%")


class PreprocessSettings(Settings):
    """Light curves → segments, curves and periodograms."""

    recipe: Literal["calnet", "robust"] = Field("robust", description="what `eb` needs; calnet: the published steps")
    compression: int = Field(1, ge=1, le=9, description="zstd level of the store")


class TrainingSetSettings(Settings):
    """Simulated and real labelled light curves → segments to learn from."""

    # It makes more partitions and changes none.
    stars: int = Field(32_768, ge=0, exclude=True, description="simulated stars, in whole partitions of 256")
    seed: int = Field(7, ge=0, lt=1000, description="of the simulated stars")
    sectors: int = Field(1, ge=1, le=64, description="sectors each of them is seen in")
    recipe: Literal["calnet", "robust"] = Field("robust", description="what the model needs")


class CandidateSetSettings(Settings):
    """Simulated fields, subtracted → triplets of candidates to learn from, labelled by truth."""

    # It makes more partitions and changes none.
    fields: int | None = Field(None, ge=1, exclude=True, description="in whole partitions of 8; None: as described")
    seed: int | None = Field(None, ge=0, lt=100_000, description="of the fields; None: as described")
    # What it says, not where it lies, stands in the manifests.
    description: str | None = Field(None, exclude=True, description="TOML file of what is drawn; None: the own one")


class TrainSettings(Settings):
    """Labelled segments or triplets → weights."""

    epochs: int = Field(20, ge=1, description="passes over what is learnt from")
    batch_size: int = Field(32, ge=1, description="segments or triplets a step, over all workers")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW's, after warm-up")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's")
    seed: int = Field(0, ge=0, description="of initial weights, order, split and drawn negatives")
    validation: float = Field(0.15, gt=0, lt=1, description="share of stars or fields that choose the best epoch")
    test: float = Field(0.15, gt=0, lt=1, description="share of stars or fields that only the metrics see")
    folds: int | None = Field(None, ge=2, description="test one fold of so many instead of the share test")
    fold: int = Field(0, ge=0, description="which fold, from 0")
    # One word, so that what was trained before keeps its hash: triplets may name what is held out after a colon.
    split_by: str = Field(
        "star",
        pattern=r"^(star|sector|source|field|temporal|(ccd|filter|survey|kind)(:\S+)?)$",
        description="what a fold holds out as a whole: star or sector of light curves; source of stamps; of triplets "
        "field, temporal, ccd, filter, survey or kind, the last four also as kind:NAME",
    )
    unlisted_as_negative: int = Field(0, ge=0, description="stars not on the list drawn as negatives")
    max_seconds: float | None = Field(None, gt=0, description="stop after this time, s; None: run all epochs")
    start_from: str | None = Field(None, description="id of a model of the same network to begin with")

    @field_validator("fold")
    @classmethod
    def _is_one_of(cls, fold: int, info: ValidationInfo) -> int:
        folds = info.data.get("folds")
        if fold and "folds" in info.data and folds is None:
            raise ValueError(f"{fold} is given without folds; say how many there are, too")
        if folds is not None and fold >= folds:
            raise ValueError(f"{fold} is none of {folds} folds; they are 0 to {folds - 1}")
        return fold


class CalibrationSettings(Settings):
    """Scores of held-out stars → probabilities."""

    prior: float = Field(0.028, gt=0, lt=1, description="share of eclipsing binaries that probabilities hold for")
    precision: float = Field(0.9, gt=0, lt=1, description="expected at least of the stars of tier high, at that prior")
    low_precision: float = Field(0.5, gt=0, lt=1, description="the same of tiers high and low together")
    stars: int = Field(512, ge=16, description="simulated stars, each in many sectors")
    sectors: int = Field(30, ge=1, le=64, description="sectors each of them is seen in")
    once: int = Field(8192, ge=0, description="more simulated stars, each in one sector")


class ScoreSettings(Settings):
    """Segments → scores."""

    runtime: Literal["auto", "openvino", "torch"] = Field("auto", description="what runs the network on a CPU")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where the CPU has it")
    batch_size: int = Field(64, ge=1, description="fixed batch; the last of a partition is padded")


class SamplingSettings(Settings):
    """Triplets of any survey → triplets with stars of a width that networks know."""

    min_fwhm: float = Field(1.5, gt=0, description="FWHM from which on triplets keep their own pixels, px")
    max_fwhm: float = Field(6.0, gt=0, description="FWHM up to which they do, px")
    target_fwhm: float = Field(3.0, gt=0, description="FWHM that the others are resampled to, px")


class CandidateScoreSettings(ScoreSettings, SamplingSettings):
    """Candidates and alerts → scores; runtime and batch as for scores."""

    prior: float | None = Field(
        None, gt=0, lt=1, description="share of real ones among candidates that p_prior is for; None: the model's"
    )
    uncertain: float = Field(
        10.0, ge=1, description="factor by which an uncertain one's odds are below the threshold's, at most"
    )
    # It makes more partitions and changes no row.
    part_mb: float = Field(24.0, gt=0, exclude=True, description="alerts of a partition, about, MB as stored")


class SystemsSettings(Settings):
    """Candidates → ephemerides, vetted."""

    # It chooses stars and changes the result of none.
    min_p: float | None = Field(
        None, ge=0, le=1, exclude=True, description="p_eb of a candidate; None: the model's lower threshold"
    )


class CompletenessSettings(ScoreSettings):
    """Catalogue → trials on light curves whose truth is known; runtime and batch as for scores."""

    # They make more trials and change none.
    injections: int = Field(8192, ge=1, exclude=True, description="eclipsing binaries put into quiet stars")
    inverted: int = Field(4096, ge=0, exclude=True, description="light curves turned upside down, one a star")
    variables: int = Field(2048, ge=0, exclude=True, description="stars varying without eclipses put into quiet ones")
    seed: int = Field(11, ge=0, description="of stars and light")
    quiet_power: float = Field(0.2, gt=0, le=1, description="share of variance from which a sine makes a star vary")
    periods: bool = Field(False, description="look for the periods of the binaries found, too; 0.5 s each")


class ReportSettings(Settings):
    """Catalogue → page."""

    threshold: float | None = Field(None, ge=0, le=1, description="p_eb of a candidate; None: the catalogue's own")
    pages: int = Field(200, ge=0, description="vetting pages of at most so many candidates, by rank; 0: none")


class ImageSettings(Settings):
    """Survey images → stores with variance and mask."""

    # It chooses files and changes no byte of what is made of them.
    pattern: str = Field(
        "*.fits*,*.fit,*.fit.*,*.fts,*.fts.*,*.fz", exclude=True, description="globs below the archive, by commas"
    )
    compression: int = Field(1, ge=1, le=9, description="zstd level of the store")
    mesh: int = Field(64, ge=16, le=1024, description="boxes that sky level and noise are measured in, px")
    detection: float = Field(5.0, ge=2, description="peak over noise, after smoothing, of a source")
    cosmic_rays: bool = Field(True, description="look for cosmic rays where no data-quality plane marks them")
    sigclip: float = Field(5.0, gt=1, description="Laplacian over noise of a cosmic ray")
    objlim: float = Field(
        5.0, gt=0, description="Laplacian over fine structure of a cosmic ray, in well-sampled images"
    )
    trails: bool = Field(True, description="look for trails of satellites")
    grow: int = Field(1, ge=0, le=16, description="radius by which cosmic rays, trails and bleeds are grown, px")
    max_gib: float = Field(4.0, gt=0, description="largest file, stored or unpacked, GiB")


class PairSettings(Settings):
    """Images → pairs of a science image and its reference."""

    min_overlap: float = Field(0.3, gt=0, le=1, description="share of the science image that the reference covers")
    before_days: float = Field(0.02, ge=0, description="a reference is older than the science image by as much, d")
    after_days: float = Field(180.0, gt=0, description="or younger by as much, d: the event has faded")
    rise_days: float = Field(30.0, gt=0, description="time in which an older reference loses what is new, d")
    fade_days: float = Field(180.0, gt=0, description="the same of a younger one, d")
    depth_weight: float = Field(1.0, ge=0, description="power of the score of depth")
    seeing_weight: float = Field(1.0, ge=0, description="power of the score of seeing")
    epoch_weight: float = Field(1.0, ge=0, description="power of the score of epoch")


class MatchSettings(Settings):
    """Pairs → registration, PSFs and flux ratio."""

    min_overlap: float = Field(0.05, gt=0, le=1, description="share of the science image that the reference covers")
    reach: float = Field(15.0, gt=0, description="how far the two WCSs may be apart, px")
    max_stars: int = Field(250, ge=3, description="stars that a PSF is measured on")


class DifferenceSettings(MatchSettings):
    """Matched pairs → differences, significances and candidates; what matching does is among them."""

    tile: int = Field(0, ge=0, le=512, description="side of the tiles with a PSF of their own, px; 0: by its variation")
    mesh: int = Field(128, ge=16, le=1024, description="boxes that the sky is measured in, px")
    threshold: float = Field(5.0, ge=3, description="|S_corr| of a candidate")
    triplet: int = Field(63, ge=15, le=255, description="side of the triplets, px, odd")
    compression: int = Field(1, ge=1, le=9, description="zstd level of the stores")

    @property
    def matching(self) -> MatchSettings:
        """What a match depends on: another threshold needs no other match."""
        return MatchSettings(**{name: getattr(self, name) for name in MatchSettings.model_fields})

    @field_validator("tile")
    @classmethod
    def _is_a_tile(cls, tile: int) -> int:
        if 0 < tile < 128:
            raise ValueError(f"{tile} px is too small for a PSF and its surroundings; give 128 to 512, or 0")
        return tile

    @field_validator("triplet")
    @classmethod
    def _is_odd(cls, triplet: int) -> int:
        if triplet % 2 == 0:
            raise ValueError(f"{triplet} px have no middle pixel; give {triplet - 1} or {triplet + 1}")
        return triplet


class InjectionSettings(Settings):
    """Pairs → transients put into the science image, and how many of them are found."""

    count: int = Field(0, ge=0, description="transients put into each pair's science image; 0: none")
    min_snr: float = Field(3.0, gt=0, description="least significance; uniform in the logarithm")
    max_snr: float = Field(12.0, gt=0, description="largest significance")
    rounds: int = Field(8, ge=1, description="images that they are spread over, at most, where one has no room for all")
    seed: int = Field(1, ge=0, description="of places, fluxes and photons")

    @field_validator("max_snr")
    @classmethod
    def _is_larger(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("min_snr", value):
            raise ValueError("is below min_snr")
        return value


class AssociateSettings(Settings):
    """Candidates of all epochs → objects."""

    fwhm_share: float = Field(0.5, gt=0, description="detections are one object within as many FWHM")
    sigmas: float = Field(3.0, gt=0, description="or within as many standard errors of their distance")
    motion_sigma: float = Field(5.0, gt=0, description="significance from which an object moves")
    floor_fwhm: float = Field(0.02, ge=0, description="least standard error of a position, in FWHM")


class SelectSettings(Settings):
    """Objects → those that may be supernovae."""

    p_real: float | None = Field(
        None, ge=0, le=1, description="least p_real of a detection that counts; None: the model's own threshold, or 0.5"
    )
    gap_minutes: float = Field(30.0, ge=0, description="time between two detections that confirm one another, min")
    motion_sigma: float = Field(5.0, gt=0, description="significance from which an object moves")
    solar_arcsec: float = Field(5.0, gt=0, description="distance of a known body of the solar system, arcsec")
    variable_arcsec: float = Field(1.5, gt=0, description="distance of a known variable, arcsec")
    star_fwhm: float = Field(0.5, gt=0, description="distance from a star that is its own, in FWHM")
    nuclear_fwhm: float = Field(0.5, gt=0, description="distance from a galaxy's middle that is its nucleus, in FWHM")


class DriftSettings(Settings):
    """Log of what was scored → alarm."""

    psi: float = Field(0.2, gt=0, description="population stability index from which a shift matters, chance apart")
    false_alarms: float = Field(
        1e-3, gt=0, lt=1, description="probability of an alarm without a shift, in all comparisons of a run together"
    )


class StampSettings(Settings):
    """Stamps of files → stores, and stacks of their filters."""

    # They choose files and change no byte of what is made of them.
    pattern: str | None = Field(
        None, exclude=True, description="of names: <source>, <survey>, <filter>, as <source>_<survey>_<filter>"
    )
    surveys: str | None = Field(None, exclude=True, description="TOML file of surveys beside the own ones")
    pixscale: float | None = Field(
        None, gt=1e-3, lt=100, description="arcsec a pixel of files that tell nothing of it; None: they are rejected"
    )
    method: Literal["weighted", "clipped", "mean"] = Field(
        "weighted", description="how filters become one; mean: poster"
    )


class StampSetSettings(Settings):
    """Simulated stacks to learn from."""

    # It makes more partitions and changes none.
    stacks: int | None = Field(None, ge=1, exclude=True, description="a survey, whole partitions; None: as described")
    seed: int | None = Field(None, ge=0, lt=100_000, description="of the stacks; None: as described")
    # What it says, not where it lies, stands in the manifests.
    description: str | None = Field(None, exclude=True, description="TOML file of what is drawn; None: the own one")


class MeasureSettings(Settings):
    """Stamps → separation, position angle and difference of magnitudes by fits of one and two stars."""

    most: int = Field(4, ge=2, le=8, description="components that are fitted, at most")
    # What the files say, not where they lie, stands in the manifests.
    gaia: str | None = Field(None, exclude=True, description="table of Gaia's stars")
    counts: str | None = Field(None, exclude=True, description="table of star counts by magnitude")
    counts_filter: str | None = Field(
        None, description="filter that the counts are in, `G`: Gaia's; None: the median of all filters, else Gaia's G"
    )
    surveys: str | None = Field(None, exclude=True, description="TOML file of surveys beside the own ones")


class VisualScoreSettings(ScoreSettings):
    """Stacks → probability of a second star within 2.5 arcsec; runtime and batch as for scores."""

    # They are for the catalogue: scores depend on none of them.
    prior: float = Field(
        0.09, gt=0, lt=1, exclude=True, description="share of doubles among sources that p_prior and threshold are for"
    )
    precision_asked: float = Field(
        0.9, gt=0, lt=1, exclude=True, description="share of doubles from the threshold on at that prior, at least"
    )
    uncertain: float = Field(
        10.0, ge=1, exclude=True, description="factor by which a possible double's odds are below the threshold's"
    )
