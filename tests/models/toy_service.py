"""A service in this process: the application, a model that has learnt nothing, and what asks them."""

import asyncio
import base64
import gzip
import io
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
from astropy.io import fits

from catalogs.folder import Folder
from models.scorer import Scores
from models.service import Service, app
from models.service_gate import Gate
from models.service_models import Shelf
from pipeline.settings import ScoreSettings

__all__ = ["URL", "Here", "ask", "document", "encoded", "image", "npy", "running", "service"]

URL = "http://127.0.0.1:8000"


class Here:
    """A backend of this process, one thread."""

    def __init__(self, workspace: Folder) -> None:
        self.shelf = Shelf(workspace, ScoreSettings(runtime="torch", precision="fp32", batch_size=16))
        self.pool = ThreadPoolExecutor(1)
        self.batches: list[int] = []

    async def score(self, pixels: np.ndarray, model: str) -> Scores:
        self.batches.append(len(pixels))
        return await asyncio.get_running_loop().run_in_executor(self.pool, self.shelf.score, pixels, model)

    async def load(self, model: str) -> None:
        await asyncio.get_running_loop().run_in_executor(self.pool, self.shelf.load, model)

    async def loaded(self) -> list[list[str]]:
        return [self.shelf.loaded()]


def service(workspace: Folder, **options: Any) -> Service:
    """Return a service of this process."""
    return Service(workspace, **{"backend": Here(workspace), **options})


class running:
    """An application at work: `async with running(service) as client`."""

    def __init__(self, made: Service, url: str = URL) -> None:
        self.app: Gate = app(made)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=url, timeout=60)

    async def __aenter__(self) -> httpx.AsyncClient:
        self.lifespan = self.app.app.router.lifespan_context(self.app.app)
        await self.lifespan.__aenter__()
        return self.client

    async def __aexit__(self, *error: Any) -> None:
        await self.client.aclose()
        await self.lifespan.__aexit__(None, None, None)


def ask(made: Service, *requests: Coroutine[Any, Any, Any] | Any) -> list[httpx.Response]:
    """Return the answers to (method, path, options), asked one after the other."""

    async def all() -> list[httpx.Response]:
        async with running(made) as client:
            return [await client.request(method, path, **options) for method, path, options in requests]

    return asyncio.run(all())


def image(pixels: np.ndarray, packed: bool = True) -> bytes:
    """Return a FITS image."""
    buffer = io.BytesIO()
    fits.PrimaryHDU(pixels).writeto(buffer)
    return gzip.compress(buffer.getvalue(), 1) if packed else buffer.getvalue()


def encoded(pixels: np.ndarray) -> str:
    """Return the base64 of a gzipped FITS image."""
    return base64.b64encode(image(pixels)).decode()


def document(triplets: np.ndarray, **more: Any) -> dict[str, Any]:
    """Return the JSON body of triplets; their ids are t0, t1, …"""
    names = ("science", "template", "difference")
    rows = [
        {"id": f"t{row}", **dict(zip(names, map(encoded, triplet), strict=True))}
        for row, triplet in enumerate(triplets)
    ]
    return {"triplets": rows, **more}


def npy(values: np.ndarray) -> bytes:
    """Return an array as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()
