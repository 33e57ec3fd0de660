"""The service as an ASGI application: triplets in, scores out, whatever computes them.

::

    POST /score                       triplets or alerts → scores
    GET  /models                      versions, aliases, which are ready
    POST /models/{name}/promote       another version in production, without a restart
    POST /models/{name}/rollback      the one before
    GET  /health  /metrics            for those who watch it
    GET  /openapi.json                all of this, for programs
    …    /review                      pages of labelling, where `models.review_pages` is there
"""

import asyncio
import importlib
import importlib.util
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from catalogs.folder import Folder
from catalogs.table import CatalogError
from models import service_bodies
from models.service_answers import BODY, ERRORS, Health, Model, Models, Moved, Promotion, Score, Unscored, answers
from models.service_batches import Backend, Batches, Gone
from models.service_gate import LOCAL_NAMES, Gate
from models.service_journal import Journal
from models.service_limits import Budget, Limits, Refusal
from models.service_metrics import CONTENT_TYPE, DriftMetrics, Metrics
from models.service_models import Choice, Chosen
from pipeline import candidates
from pipeline.errors import CorruptModel, ModelNotFound, Refused, SkysiftError
from pipeline.settings import CandidateScoreSettings

__all__ = ["Service", "app"]

_CONTROL = 64 << 10  # bytes of a body that is not of triplets
_DECODERS = 2


@dataclass(frozen=True)
class Service:
    """What a service is made of.

    Parameters
    ----------
    workspace : Folder
        With its registry of models.
    backend : Backend
        What computes.
    model : str
        Of requests that name none; its alias production unless it names another.
    token : str
        That requests must bring; empty: none.
    limits : Limits
        Of what is taken at once.
    batch : int
        Triplets computed together.
    lanes : int
        Batches under way at once.
    settings : CandidateScoreSettings
        Of tiers, and of widths of stars, as in batch.
    log_s : float
        Seconds between two entries in the log of what was scored, see `models.monitor`.
    """

    workspace: Folder
    backend: Backend
    model: str = "realbogus"
    token: str = ""
    limits: Limits = field(default_factory=Limits)
    batch: int = 16
    lanes: int = 1
    settings: CandidateScoreSettings = field(default_factory=lambda: CandidateScoreSettings.load(None, "candidates"))
    log_s: float = 60.0


class _State:
    """A service at work, in one event loop."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.choice = Choice(service.workspace, service.model)
        self.budget = Budget(service.limits)
        self.metrics = Metrics(lambda: self.batches.waiting)
        self.journal = Journal(service.workspace, service.log_s)
        self.drift = DriftMetrics(service.workspace)
        self.batches = Batches(service.backend, service.batch, service.lanes, service.limits, self.metrics.batch)
        self.moving = asyncio.Lock()

    @asynccontextmanager
    async def at_work(self, _: FastAPI) -> AsyncIterator[None]:
        """Score while inside."""
        self.batches.start()
        self.journal.start()
        # Asyncio's own pool is for the disk; decoding is bounded, as it shares its cores with those who score.
        self.decoders = ThreadPoolExecutor(_DECODERS, "decode")
        try:
            yield
        finally:
            await self.batches.stop()
            await asyncio.to_thread(self.journal.stop)
            self.decoders.shutdown(wait=False, cancel_futures=True)

    async def choose(self, model: str) -> Chosen:
        """Return the version that is meant, or refuse."""
        with _told():
            return await asyncio.to_thread(self.choice.resolve, model)


class _told:
    """Turns errors of models into refusals."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ModelNotFound):
            raise Refusal(422, "model", str(error)) from None
        if isinstance(error, CorruptModel):
            raise Refusal(503, "model_corrupt", str(error)) from None
        if isinstance(error, Gone | TimeoutError):
            raise Refusal(503, "unavailable", "nothing is there to score at the moment; again in a second") from None
        if isinstance(error, OSError):
            raise Refusal(503, "storage", "the workspace cannot be read at the moment; again in a second") from None


def app(service: Service) -> Gate:
    """Return the application of a service, behind its gate."""

    state = _State(service)
    made = FastAPI(
        title="skysift",
        version="1",
        description="Real or bogus: scores of triplets (science, reference, difference) and of whole alerts.",
        lifespan=state.at_work,
        # Their pages load programs from another site, which a closed network has not and an open one should not.
        docs_url=None,
        redoc_url=None,
    )
    made.include_router(_scoring(state))
    made.include_router(_control(state))
    if importlib.util.find_spec("models.review_pages"):
        pages = importlib.import_module("models.review_pages")
        made.include_router(pages.router(service.workspace), prefix="/review")
    handlers = {Refusal: _refused, RequestValidationError: _invalid, HTTPException: _http, ClientDisconnect: _left}
    for kind, answer in handlers.items():
        made.add_exception_handler(kind, answer)
    return Gate(made, service.token, LOCAL_NAMES, state.metrics.request)


def _scoring(state: _State) -> APIRouter:
    router = APIRouter(responses={status: told for status, told in ERRORS.items() if status != 409})

    @router.post("/score", response_model=list[Score | Unscored], openapi_extra=BODY)
    async def score(request: Request, model: str = "") -> Response:
        """Score triplets; one that cannot be scored has a reason in its place, the others go on."""
        limits, kind = state.service.limits, request.headers.get("content-type", "")
        async with state.budget.body(request.stream(), request.headers, limits.body, state.batches.wait) as data:
            deadline = time.monotonic() + limits.answer_s
            body = await _decoded(state, data, kind)
            chosen = await state.choose(model or body.model)
            rows = await _scored(state, body.items, chosen, deadline)
        return JSONResponse(rows)

    @router.get("/models")
    async def models() -> Models:
        """List models, their versions and aliases, and which are ready."""
        with _told():
            table = await asyncio.to_thread(state.choice.table)
            ready = await state.service.backend.loaded()
        common = set.intersection(*map(set, ready)) if ready else set()
        rows = [Model(**row, loaded=[id for id in row["versions"] if id in common]) for row in table]
        return Models(default=state.service.model, models=rows)

    return router


async def _decoded(state: _State, data: bytes, kind: str) -> service_bodies.Body:
    """Return what a body asks for, within the time of an answer: others may be decoded for long before it."""
    limits, settings = state.service.limits, state.service.settings
    work = asyncio.get_running_loop().run_in_executor(state.decoders, service_bodies.read, data, kind, limits, settings)
    try:
        async with asyncio.timeout(limits.answer_s):
            return await work
    except TimeoutError:
        raise Refusal(503, "timeout", "not decoded in time; send fewer triplets at once") from None


async def _scored(
    state: _State, items: list[service_bodies.Item], chosen: Chosen, deadline: float
) -> list[dict[str, Any]]:
    """Return the answer of each triplet, in the order sent."""
    found = [item for item in items if item.pixels is not None]
    good: list[dict[str, Any]] = []
    if found:
        pixels = np.stack([item.pixels for item in found if item.pixels is not None])
        with _told():
            scores = await state.batches.score(pixels, chosen.id, deadline)
        uncertain = state.service.settings.uncertain
        good = answers([item.id for item in found], scores, chosen, uncertain)
        state.metrics.scored(chosen.id, scores, good)
        known = [{**item.facts, "tier": row.get("tier", "")} for item, row in zip(found, good, strict=True)]
        state.journal.scored(chosen.id, pixels, scores, known)
    rest = iter(good)
    rows = []
    for item in items:
        if item.pixels is not None:
            rows.append(next(rest))
        else:
            state.metrics.unscored(item.reason)
            state.journal.refused(chosen.id, item.reason)
            rows.append({"id": item.id, "reason": item.reason, "message": item.message, "model": chosen.id})
    return rows


def _control(state: _State) -> APIRouter:
    router = APIRouter(responses={status: ERRORS[status] for status in (401, 403, 413, 422, 503)})
    registry, backend = state.choice.registry, state.service.backend

    @router.post(
        "/models/{name}/promote",
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": Promotion.model_json_schema()}}}},
    )
    async def promote(request: Request, name: str) -> Moved:
        """Put a version into production, once every replica has it ready; the default is the candidate."""
        async with state.budget.body(request.stream(), request.headers, _CONTROL) as data:
            try:
                wanted = Promotion.model_validate_json(data or b"{}").version
            except ValidationError as error:
                text = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
                raise Refusal(422, "json", f'{text[:300]}; send {{"version": "candidate"}}') from None
        async with state.moving:
            with _told():
                entry = await asyncio.to_thread(state.choice.entry, f"{name}@{wanted}")
                await backend.load(entry.id)
                before = await asyncio.to_thread(registry.set_alias, name, "production", entry.id)
            return await _moved(state, name, entry.id, before)

    @router.post("/models/{name}/rollback", responses={409: ERRORS[409]})
    async def rollback(name: str) -> Moved:
        """Put into production what was there before."""
        async with state.moving:
            with _told():
                before = await asyncio.to_thread(state.choice.entry, name)
                former = await asyncio.to_thread(registry.former, name)
                await backend.load(former)
                try:
                    await asyncio.to_thread(registry.rollback, name, former)
                except Refused as error:
                    raise Refusal(409, "moved", str(error)) from None
            return await _moved(state, name, former, before.id)

    @router.get("/health")
    async def health() -> Health:
        """Say whether triplets can be scored."""
        try:
            replicas = len(await backend.loaded())
        except (Gone, TimeoutError):
            replicas = 0
        if not replicas:
            raise Refusal(503, "unavailable", "nothing is there to score at the moment; again in a second")
        return Health(status="ok", replicas=replicas, waiting=state.batches.waiting)

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Return figures for Prometheus."""
        drift = await state.drift.text(state.service.model)
        return Response(state.metrics.text() + drift, media_type=CONTENT_TYPE)

    return router


async def _moved(state: _State, name: str, production: str, before: str | None) -> Moved:
    """Let all that shows what is in production follow."""
    state.choice.forget()
    try:
        catalogue = await asyncio.to_thread(candidates.follow, state.service.workspace, production)
    except (OSError, SkysiftError, CatalogError) as error:  # the promotion itself is done
        catalogue = f"the catalogue is left as it was: {error}"
    return Moved(name=name, production=production, before=before, catalogue=catalogue)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _problem(error.status, error.code, error.message, error.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    text = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return _problem(422, "request", f"{text[:300]}; see /openapi.json")


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem(error.status_code, "http", f"{error.detail}; see /openapi.json", error.headers)


async def _left(_: Request, error: Exception) -> Response:
    return _problem(400, "left", f"{type(error).__name__}: the client went away")  # nobody reads it; it is counted


def _problem(status: int, code: str, message: str, headers: Any = None) -> Response:
    return JSONResponse({"error": code, "message": message}, status, headers)
