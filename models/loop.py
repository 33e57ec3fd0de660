"""The training loop of every model, as each worker of Ray Train runs it.

Whatever happens in an epoch follows from the settings' seed, the epoch and the worker's rank, and every epoch
ends in a checkpoint: a run that was killed and resumed gives the bytes of one that was not, unless it is
limited in time.
"""

import io
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import ray.train
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from ray.train.torch import get_device, prepare_model
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from catalogs import write
from catalogs.folder import Folder
from models import checkpoint
from models.data import Batch, Segments
from models.evaluate import best_epoch
from models.registry import Registry
from models.spec import get_spec
from pipeline.errors import UsageError
from pipeline.settings import TrainSettings

__all__ = ["HISTORY", "INDEX", "PREDICTIONS", "Run", "read_state", "rate", "work"]

INDEX, HISTORY, PREDICTIONS = "segments.parquet", "history.json", "predictions.parquet"

_WARM_UP = 0.1  # share of the run in which the learning rate rises
_AHEAD = 64  # segments a forward pass without gradients takes


@dataclass(frozen=True)
class Run:
    """What a worker is told: model, settings, the workspace and the run's folder in it."""

    model: str
    settings: TrainSettings
    workspace: Folder
    path: str

    @property
    def folder(self) -> Folder:
        """Where checkpoints, history and the table of segments lie."""
        return self.workspace.child(self.path)


@dataclass
class State:
    """How far a run is: an entry of history an epoch, seconds spent, whether it is over, what went wrong."""

    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False
    error: str = ""


def read_state(run: Run) -> State:
    """Return how far a run is, as its last epoch left it."""
    try:
        return State(**json.loads(run.folder.read(HISTORY)))
    except FileNotFoundError:
        return State()


def rate(progress: float, stepped: bool = False) -> float:
    """Return the learning rate over its peak after a share of the run.

    A linear rise, then half a cosine; or `stepped`: a tenth after each third.
    """
    if stepped:
        return float(0.1 ** min(int(3 * progress), 2))
    if progress < _WARM_UP:
        return progress / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - _WARM_UP) / (1 - _WARM_UP))))


def work(config: dict[str, Any]) -> None:
    """Train as one worker; `config` holds the `Run`."""
    context = ray.train.get_context()
    logging.getLogger().setLevel(logging.WARNING)  # Ray would print every report
    torch.set_num_threads(1)  # workers are what there is more of: two of one thread beat one of two
    _Worker(config["run"], context.get_world_rank(), context.get_world_size()).train()


class _Worker:
    def __init__(self, run: Run, rank: int, world: int) -> None:
        self.run, self.settings, self.rank, self.world = run, run.settings, rank, world
        self.device = get_device()
        self.bf16 = has_bf16(self.device)
        self.spec = get_spec(run.model)
        folds = {name: rows.reset_index(drop=True) for name, rows in _read_index(run).groupby("fold")}
        spec, targets = self.spec, ("label", "weight", *self.spec.targets)
        look = None if spec.prepare is None else spec.look
        self.data = {
            name: Segments(
                run.workspace, rows, spec.inputs, targets, rank, world, prepare=look, columns=spec.columns,
                seen=spec.seen,
            )
            for name, rows in folds.items()
        }  # fmt: skip
        torch.manual_seed(self.settings.seed)
        self.network = self.spec.network()
        if self.settings.start_from is not None:
            registry = Registry(run.workspace)
            entry = registry.resolve(f"{run.model}@{self.settings.start_from}")
            self.network.load_state_dict(registry.load_weights(entry))
        self.model = prepare_model(self.network)
        kind = torch.optim.Adam if self.spec.stepped else torch.optim.AdamW
        self.optimizer = kind(
            self.model.parameters(), lr=0.0, weight_decay=self.settings.weight_decay, fused=True
        )  # the rate is set at every step
        state = checkpoint.restore(run.folder, self.network, self.optimizer)
        self.state = State() if state is None else State(**state)
        self.began = time.monotonic() - self.state.seconds

    def train(self) -> None:
        """Go on with the run until it is over, then score the held-out stars with the best epoch."""
        if self.rank == 0:
            self._write_history()  # it may be an epoch behind the checkpoint
        while not self.state.finished:
            row = self._epoch(len(self.state.history))
            self._end_epoch(row)
            ray.train.report(row)  # a barrier: nobody goes on before the checkpoint is there
        if not self.state.error:
            self._score_held_out()
        ray.train.report({"finished": True})

    def _epoch(self, epoch: int) -> dict[str, Any]:
        generator = np.random.default_rng([self.settings.seed, epoch, self.rank])
        torch.manual_seed(int(generator.integers(2**62)))
        self.chance = torch.Generator().manual_seed(int(generator.integers(2**62)))
        size = max(1, self.settings.batch_size // self.world)
        steps = self.data["train"].steps(size)
        sums = torch.zeros(3, dtype=torch.float64)
        self.model.train()
        for number, batch in enumerate(self.data["train"].shuffled(size, generator)):
            progress = max((epoch + (number + 0.5) / steps) / self.settings.epochs, self._time_spent())
            if progress >= 1:
                break
            for group in self.optimizer.param_groups:
                group["lr"] = self.settings.learning_rate * rate(progress, self.spec.stepped)
            sums += self._step(batch)
        loss, right, count = self._sum(sums).tolist()
        held_out = self._outputs("validation")
        return {
            "epoch": epoch + 1,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": loss / max(count, 1),
            "train_accuracy": right / max(count, 1),
            **self._judge(held_out, self.data["validation"].table),
            "seconds": time.monotonic() - self.began,
        }

    def _step(self, batch: Batch) -> Tensor:
        inputs = [torch.from_numpy(values) for values in batch.inputs]
        if self.spec.augment is not None:
            inputs = self.spec.augment(inputs, self.chance)
        outputs = self._forward(self.model, inputs)
        loss = self._loss(outputs, batch.targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        label = np.asarray(batch.targets["label"])
        right = int(((self._score_of(outputs.detach()) >= 0.5) == label).sum())
        return torch.tensor([loss.item() * len(label), right, len(label)], dtype=torch.float64)

    def _forward(self, model: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            outputs: Tensor = model(*(values.to(self.device) for values in inputs))
        return outputs.float()

    def _loss(self, outputs: Tensor, targets: Mapping[str, NDArray[Any]]) -> Tensor:
        """Return the mean over the segments, each counted by its weight."""
        tensors = {name: torch.from_numpy(np.asarray(values)).to(outputs.device) for name, values in targets.items()}
        weight = tensors["weight"].float()
        losses = self.spec.loss(outputs, tensors | {"label": tensors["label"].long()})
        return (losses * weight).sum() / weight.sum()

    def _score_of(self, outputs: Tensor) -> NDArray[np.float64]:
        return self.spec.read(outputs.cpu().numpy())["score"]

    def _time_spent(self) -> float:
        """Share of the time limit that is gone; the same on every worker, lest they part ways."""
        if self.settings.max_seconds is None:
            return 0.0
        share = torch.tensor([(time.monotonic() - self.began) / self.settings.max_seconds])
        return float(self._reduce(share, dist.ReduceOp.MAX))

    def _outputs(self, fold: str) -> Tensor:
        """Return the network's outputs (n, outputs) for a fold, on every worker."""
        data = self.data[fold]
        outputs = torch.zeros(len(data.table), self.spec.outputs)
        self.network.eval()
        with torch.no_grad():
            for batch in data.in_order(_AHEAD):
                inputs = [torch.from_numpy(values) for values in batch.inputs]
                outputs[batch.position] = self._forward(self.network, inputs).cpu()
        return self._sum(outputs)

    def _judge(self, outputs: Tensor, table: pd.DataFrame) -> dict[str, float]:
        label, score = table["label"].to_numpy(np.int64), self._score_of(outputs)
        counted = table["weight"].to_numpy() > 0
        return {
            "validation_loss": self._loss(outputs, {name: table[name].to_numpy() for name in self._targets}).item(),
            "validation_accuracy": float(((score >= 0.5) == label)[counted].mean()),
            "validation_aucpr": float(average_precision_score(label[counted], score[counted])),
        }

    def _end_epoch(self, row: dict[str, Any]) -> None:
        self.state.seconds = row["seconds"]
        if not all(math.isfinite(value) for value in row.values()):
            self.state.error = f"epoch {row['epoch']}: the loss is no number; try a lower learning_rate"
            self.state.finished = True
        else:
            self.state.history.append(row)
            self.state.finished = row["epoch"] == self.settings.epochs or self._time_spent() >= 1
        if self.rank == 0:
            self._save()

    def _save(self) -> None:
        """Write the weights if they are the best, then the checkpoint; only then may older weights go."""
        folder, history = self.run.folder, self.state.history
        best = best_epoch(history) if history else 0
        if history and best == history[-1]["epoch"]:
            checkpoint.write_weights(folder, best, self.network)
        checkpoint.store(folder, self.network, self.optimizer, asdict(self.state))
        self._write_history()
        for row in history:
            if row["epoch"] != best:
                folder.remove(checkpoint.weights_path(row["epoch"]))

    def _write_history(self) -> None:
        self.run.folder.write(HISTORY, json.dumps(asdict(self.state)).encode())

    def _score_held_out(self) -> None:
        best = best_epoch(self.state.history)
        self.network.load_state_dict(checkpoint.read_weights(self.run.folder, best))
        frames = []
        for fold in ("validation", "test"):
            columns = self.spec.read(self._outputs(fold).numpy())
            frames.append(self.data[fold].table.assign(**columns))
        if self.rank == 0:
            file = io.BytesIO()
            pd.concat(frames).to_parquet(file, index=False)
            self.run.folder.write(PREDICTIONS, file.getvalue())

    @property
    def _targets(self) -> tuple[str, ...]:
        return self.data["train"].targets

    def _sum(self, values: Tensor) -> Tensor:
        return self._reduce(values, dist.ReduceOp.SUM)

    def _reduce(self, values: Tensor, how: Any) -> Tensor:
        if self.world == 1:
            return values
        there = values.to(self.device)  # nccl reduces what is on the GPU
        dist.all_reduce(there, how)
        return there.cpu()


def _read_index(run: Run) -> pd.DataFrame:
    try:
        return write.read(run.folder, INDEX).to_pandas()
    except FileNotFoundError:
        raise UsageError(
            f"{run.folder.url(INDEX)}: a worker does not see it; put the workspace on a shared file system or s3://"
        ) from None


def has_bf16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 itself; training without it takes half as long again."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cpu = torch.cpu
    return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())
