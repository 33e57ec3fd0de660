"""What the service answers, as its OpenAPI document says it."""

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from catalogs.transient_candidates import tier
from models.scorer import Scores
from models.service_models import Chosen

__all__ = ["ERRORS", "BODY", "FWHM_PX", "Health", "Model", "Models", "Moved", "Promotion", "Problem", "Score",
           "Unscored", "answers"]  # fmt: skip

#: FWHM of stars that images may have, px.
FWHM_PX = (0.5, 50.0)

Share = Annotated[float, Field(ge=0, le=1)]


class Score(BaseModel):
    """What a model says of one triplet; null where the model does not tell."""

    id: str
    p_real: Share = Field(description="probability of real where half of all candidates are")
    p_prior: Share = Field(description="the same where a share `prior` of all candidates is real")
    prior: float = Field(gt=0, lt=1, description="share of real ones that p_prior is for, of the model's card")
    p_transient: Share | None = Field(description="given that it is real; these three sum to 1")
    p_variable: Share | None
    p_mover: Share | None
    novelty: Share | None = Field(description="share of known triplets that are less strange")
    ood: bool = Field(description="stranger than nearly all known triplets: the probabilities may mean nothing")
    threshold: Share = Field(description="p_real from which a candidate counts as real")
    tier: Literal["real", "uncertain", "bogus"] = Field(
        description="real: p_real at the threshold or above; uncertain: its odds a little below; bogus: the others"
    )
    model: str = Field(description="id of the version that scored")


class Unscored(BaseModel):
    """Why a triplet has no score."""

    id: str
    reason: str = Field(description="code, such as cutout_jpeg, cutout_missing, packet_malformed")
    message: str
    model: str


class Problem(BaseModel):
    """Why a request was refused, and the cure."""

    error: str = Field(description="a word for programs")
    message: str


class Model(BaseModel):
    """A model and its versions."""

    name: str
    versions: list[str]
    aliases: dict[str, str]
    loaded: list[str] = Field(description="versions that are ready in every replica")


class Models(BaseModel):
    """All models of triplets."""

    default: str = Field(description="what scores when a request names no model")
    models: list[Model]


class Health(BaseModel):
    """Whether triplets can be scored."""

    status: Literal["ok"] = Field(description="when nothing is there to score, the answer is 503")
    replicas: int
    waiting: int = Field(description="triplets in the queue")


class Promotion(BaseModel):
    """Which version shall be in production."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field("candidate", description="an alias, or the id of a version", max_length=100)


class Moved(BaseModel):
    """What is in production now, and what was."""

    name: str
    production: str
    before: str | None
    catalogue: str = Field(description="what the catalogue of transient candidates shows now")


def answers(names: list[str], scores: Scores, chosen: Chosen, uncertain: float) -> list[dict[str, Any]]:
    """Return the answer for each triplet, as `Score` or, where the model gives no number, `Unscored` says.

    Parameters
    ----------
    names : list of str
        Of the triplets.
    scores : Scores
        What the model says of them.
    chosen : Chosen
        The version that scored.
    uncertain : float
        Factor of `catalogs.transient_candidates.tier`.
    """
    columns = {
        name: _numbers(getattr(scores, name))
        for name in ("p_real", "p_prior", "p_transient", "p_variable", "p_mover", "novelty")
    }
    found = tier(scores.p_real, chosen.threshold, uncertain).tolist()
    same = {"prior": chosen.prior, "threshold": chosen.threshold, "model": chosen.id}
    rows: list[dict[str, Any]] = []
    for row, name in enumerate(names):
        if columns["p_real"][row] is None:  # values beyond what single precision can square
            message = "the model gives no number; are these counts?"
            rows.append({"id": name, "reason": "cutout_values", "message": message, "model": chosen.id})
            continue
        known = {key: values[row] for key, values in columns.items()}
        strange = bool(scores.ood[row])
        rows.append({"id": name, **known, "ood": strange, "tier": found[row], **same})
    return rows


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        401: "no token, or a wrong one",
        403: "a request of another site, or by another name",
        409: "production was moved by another meanwhile; look again",
        413: "too many bytes or triplets",
        422: "a body or a model that makes no sense",
        429: "too many others; again in a second",
        503: "not in time, or nothing is there to score",
    }.items()
}

_IMAGE = {"type": "string", "format": "byte", "description": "base64 of a FITS image, plain or gzipped"}
_TRIPLET = {
    "type": "object",
    "required": ["science", "difference"],
    "anyOf": [{"required": ["template"]}, {"required": ["reference"]}],
    "properties": {
        "id": {"type": "string"},
        "science": _IMAGE,
        "template": _IMAGE | {"description": "the reference; give this or `reference`"},
        "reference": _IMAGE,
        "difference": _IMAGE,
        "fwhm_px": {
            "type": "number",
            "minimum": FWHM_PX[0],
            "maximum": FWHM_PX[1],
            "description": "FWHM of stars in these images, pixels; far from usual ones they are resampled",
        },
    },
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_ALERT = {"type": "object", "description": "an alert packet of ZTF, WINTER, Gattini or Rubin; cutouts in base64"}
_TRIPLETS = {"type": "array", "minItems": 1, "items": _TRIPLET}

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One or many triplets. What a body is, is read off its bytes.",
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        {
                            "type": "object",
                            "required": ["triplets"],
                            "properties": {
                                "triplets": _TRIPLETS,
                                "model": {"type": "string", "example": "realbogus@candidate"},
                            },
                        },
                        _TRIPLETS,
                        _ALERT,
                        {"type": "array", "minItems": 1, "items": _ALERT},
                    ]
                },
                "example": {
                    "triplets": [{"id": "a", "science": "H4sI…", "template": "H4sI…", "difference": "H4sI…"}],
                    "model": "realbogus@production",
                },
            },
            "application/octet-stream": {
                "schema": {
                    "type": "string",
                    "format": "binary",
                    "description": "a NumPy .npy of shape (n, 3, 63, 63): science, reference, difference",
                }
            },
            "avro/binary": _BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}, "model": {"type": "string"}},
                }
            },
        },
    }
}
"""OpenAPI of the body of ``POST /score``."""
