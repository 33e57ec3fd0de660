"""Alerts, as a survey sends them, decoded and scored: in one process and in two, beside eager PyTorch and astropy."""

import gzip
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from astropy.io import fits

from catalogs.folder import Folder
from models.planes import planes
from models.runtime import Predictor
from models.scorer import Scorer
from models.spec import get_spec
from pipeline.alerts.batches import gather
from pipeline.alerts.packets import Packet, read
from pipeline.settings import CandidateScoreSettings
from tests.benchmarks import scoring
from tests.benchmarks.figures import figure, heading
from tests.models import toy_realbogus
from tests.pipeline.alerts import made

#: ZTF's peak.
NEEDED = 1333.0

ALERTS, DIFFERENT, BATCH = 256, 32, 256
SECONDS = 8.0


def main() -> None:
    """Decode and score ZTF packets in Avro, with their histories."""
    heading("alerts of ZTF, decoded and scored, processes of one thread")
    features = set(Path("/proc/cpuinfo").read_text().split())
    with tempfile.TemporaryDirectory(prefix="skysift-bench-") as name:
        workspace = Folder(Path(name, "workspace"))
        toy_realbogus.save(workspace)
        path = Path(name, "alerts.avro")
        unlike = [made.alert() | {"candid": number} for number in range(DIFFERENT)]
        path.write_bytes(made.avro([unlike[number % DIFFERENT] for number in range(ALERTS)]))
        where = str(path), str(workspace.root)
        plain = _alone(_astropy, *where)
        figure("decode by astropy, alerts/s/core", plain, "–", None)
        ours = _alone(_decode, *where)
        figure("decode, alerts/s/core", ours, "–", None, f"{ours / plain:.1f} × astropy")
        eager = scoring.together(_eager, *where)
        figure("decode by astropy, eager PyTorch, alerts/s on 2 cores", eager, "–", None)
        for precision in ("fp32", "bf16") if {"avx512_bf16", "amx_bf16"} & features else ("fp32",):
            alone = _alone(_score, *where, precision)
            figure(f"decode and score, {precision}, alerts/s on 1 core", alone, "–", None)
            both = scoring.together(_score, *where, precision)
            figure(
                f"decode and score, {precision}, alerts/s on 2 cores", both, f"≥ {NEEDED:.0f}", both >= NEEDED,
                f"{both / eager:.1f} × eager",
            )  # fmt: skip


class _Nobody:
    """A barrier of one."""

    def wait(self) -> None:
        """Return."""


def _alone(measure: Any, *args: Any) -> float:
    torch.set_num_threads(1)
    return float(measure(_Nobody(), *args))


def _rate(barrier: Any, work: Any) -> float:
    work()
    barrier.wait()
    done, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < SECONDS:
        work()
        done += ALERTS
    return done / seconds


def _decode(barrier: Any, path: str, _: str) -> float:
    return _rate(barrier, lambda: [None for _ in gather(read(path), BATCH, centred=True)])


def _plain(data: bytes) -> Any:
    with fits.open(io.BytesIO(gzip.decompress(data))) as hdus:
        return np.asarray(hdus[0].data, np.float32)


def _triplets(path: str) -> Any:
    packets = [packet for packet in read(path) if isinstance(packet, Packet)]
    return np.stack([np.stack([_plain(cutout or b"") for cutout in packet.cutouts]) for packet in packets])


def _astropy(barrier: Any, path: str, _: str) -> float:
    return _rate(barrier, lambda: _triplets(path))


def _eager(barrier: Any, path: str, _: str) -> float:
    network = get_spec("realbogus").network().eval()

    def work() -> None:
        pixels = planes(_triplets(path))
        with torch.inference_mode():
            for first in range(0, len(pixels), 64):
                network(torch.from_numpy(pixels[first : first + 64]))

    return _rate(barrier, work)


def _score(barrier: Any, path: str, workspace: str, precision: str) -> float:
    settings = CandidateScoreSettings.model_validate({"precision": precision})
    scorer = Scorer.load(Folder(workspace), "realbogus", settings)
    assert isinstance(scorer.predictor, Predictor)

    def work() -> None:
        for batch in gather(read(path), BATCH, centred=True):
            scorer.score(batch.triplets)

    return _rate(barrier, work)
