"""What a user may set: one model per step, with meaning and unit; unknown names are refused.

Settings come from the ``[ingest]``, ``[preprocess]``, … tables of a TOML file (``--config``), then from options.
Only what changes results stands here: workers, addresses and verbosity are the job's own business.
"""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import UsageError

__all__ = [
    "IngestSettings",
    "PreprocessSettings",
    "ReportSettings",
    "ScoreSettings",
    "Settings",
    "TrainSettings",
    "digest",
]


#: Tables of a settings file, one a step.
SECTIONS = ("ingest", "preprocess", "train", "score", "report")


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
    def load(cls, config: str | Path | None, section: str, **options: Any) -> Self:
        """Return settings from a TOML file's table `section`, overridden by the options that are not None.

        Raises
        ------
        UsageError
            If the file does not parse, or a name or value is not allowed; the message names each.
        """
        values: dict[str, Any] = {}
        if config is not None:
            try:
                tables = tomllib.loads(Path(config).read_text())
            except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise UsageError(f"{config}: {error}") from error
            if unknown := sorted(tables.keys() - set(SECTIONS)):
                raise UsageError(f"{config}: no step is called {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
            values = dict(tables.get(section, {}))
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

    recipe: Literal["calnet", "robust"] = Field("calnet", description="the published steps, or the mended ones")
    compression: int = Field(1, ge=1, le=9, description="zstd level of the store")


class TrainSettings(Settings):
    """Labelled segments → weights."""

    epochs: int = Field(20, ge=1, description="passes over the training stars")
    batch_size: int = Field(32, ge=1, description="segments a step, over all workers")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW's, after warm-up")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's")
    seed: int = Field(0, ge=0, description="of initial weights, order, split and drawn negatives")
    validation: float = Field(0.15, gt=0, lt=1, description="share of the stars that choose the best epoch")
    test: float = Field(0.15, gt=0, lt=1, description="share of the stars that only the metrics see")
    split_by: Literal["star", "sector"] = Field("star", description="what a fold holds out as a whole")
    unlisted_as_negative: int = Field(0, ge=0, description="stars not on the list drawn as negatives")
    max_seconds: float | None = Field(None, gt=0, description="stop after this time, s; None: run all epochs")


class ScoreSettings(Settings):
    """Segments → scores."""

    runtime: Literal["auto", "openvino", "torch"] = Field("auto", description="what runs the network on a CPU")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where the CPU has it")
    batch_size: int = Field(64, ge=1, description="fixed batch; the last of a partition is padded")


class ReportSettings(Settings):
    """Catalogue → page."""

    threshold: float = Field(0.5, ge=0, le=1, description="counted as candidates in the report")
