"""Find the input that kills a worker: one by one in a child process with limits of memory and time.

A child that dies of a signal from outside proves nothing: it is tried again before an input is blamed.
"""

import logging
import multiprocessing
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from pipeline.errors import Reason, Rejected, SkysiftError
from pipeline.partition import Key
from pipeline.stage import InputOutcome, Outcome, Stage, State

__all__ = ["MEMORY_BYTES", "execute_isolated", "killers"]

log = logging.getLogger(__name__)

MEMORY_BYTES = 8 << 30
SECONDS = 120.0
LIMIT_SECONDS = 1800.0

#: Deaths by a signal from outside after which an input is taken for their cause.
TRIES = 3

#: Deaths of a child that had not begun yet, or of a partition none of whose inputs is to blame, that are borne.
PATIENCE = 20

# A fresh interpreter: neither the engine's threads nor its memory are inherited.
_CONTEXT = multiprocessing.get_context("spawn")

# As in the engines' workers: with more threads a network's last bits differ.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")

#: Before another child is started, s: a machine short of memory needs time to have some again.
_PAUSE = 0.5

_STRAY = (-signal.SIGKILL, -signal.SIGTERM)


@dataclass(frozen=True)
class _Death:
    """How a child ended: in words; whether it had begun; whether somebody else may have killed it."""

    text: str
    begun: bool
    stray: bool = False

    def __str__(self) -> str:
        return self.text


def killers(
    stage: Stage,
    key: Key,
    memory: int | None = MEMORY_BYTES,
    seconds: float = SECONDS,
    limit: float = LIMIT_SECONDS,
) -> dict[str, InputOutcome]:
    """Probe every input of a partition alone and return those that kill the process or raise an error.

    What is killed by a signal that may come from outside (SIGKILL, SIGTERM) is an input's fault from the `TRIES`-th
    time on.

    Parameters
    ----------
    stage, key : Stage, Key
        The partition.
    memory : int, optional
        Writable memory of the child, bytes; None for no limit, as CUDA needs it.
    seconds : float
        Time limit an input, s.
    limit : float
        Time limit of them all, s.

    Returns
    -------
    dict
        Input → outcome `State.FAILED`, to be passed to `Stage.execute` as `skip`.

    Raises
    ------
    ChildProcessError
        If all inputs together take too long, or no process lives long enough to try one.
    SkysiftError
        Whatever the stage has to say of the partition as a whole.
    """
    found: dict[str, InputOutcome] = {}
    left, deaths, unborn = stage.inputs(key), Counter[str](), 0
    end = time.monotonic() + limit
    while left:
        if time.monotonic() > end:
            raise ChildProcessError(f"{key}: {len(left)} inputs not probed after {limit:.0f} s")
        with closing(_answers(_probe_all, stage, key, left, memory, seconds)) as answers:
            for name, answer in zip(list(left), answers):
                if isinstance(answer, _Death) and not answer.begun:
                    unborn += 1
                    if unborn == PATIENCE or not answer.stray:
                        raise ChildProcessError(f"{key}: {answer}, before it had begun, {unborn} times")
                    time.sleep(_PAUSE)
                    break
                if isinstance(answer, _Death) and answer.stray:
                    deaths[name] += 1
                    if deaths[name] < TRIES:
                        time.sleep(_PAUSE)
                        break
                left = left[1:]
                if isinstance(answer, str | _Death):
                    found[name] = InputOutcome(name, State.FAILED, str(Reason.KILLED), str(answer))
                if time.monotonic() > end:
                    break
    return found


def execute_isolated(
    stage: Stage,
    key: Key,
    memory: int | None = MEMORY_BYTES,
    seconds: float = SECONDS,
    limit: float = LIMIT_SECONDS,
) -> Outcome:
    """Execute a partition that has killed its workers: as it is, then without the inputs that do it.

    Where none does it, others kill its processes, and it is tried up to `PATIENCE` times. Takes three times `limit` at
    most; see `killers` for the parameters.

    Raises
    ------
    ChildProcessError
        If it dies, raises an error or takes too long all the same.
    SkysiftError
        What `Stage.execute` raises on purpose, `Stale` or `Mismatch` say.
    """
    skip: dict[str, InputOutcome] = {}
    answer = _execute(stage, key, skip, memory, limit, TRIES)
    if not isinstance(answer, Outcome):
        skip = killers(stage, key, memory, seconds, limit)
        answer = _execute(stage, key, skip, memory, limit, TRIES if skip else PATIENCE)
    if isinstance(answer, Outcome):
        return answer
    without = f"without {', '.join(sorted(skip))}" if skip else "though none of its inputs does it alone"
    raise ChildProcessError(f"{key}: {answer}, {without}")


def _execute(
    stage: Stage, key: Key, skip: dict[str, InputOutcome], memory: int | None, limit: float, tries: int
) -> object:
    """Return what a child answers or how it died; one that somebody else may have killed is started so often."""
    end = time.monotonic() + limit
    while True:
        with closing(_answers(_execute_whole, stage, key, skip, memory, max(end - time.monotonic(), 1.0))) as answers:
            answer = next(answers)
        tries -= 1
        if not tries or not isinstance(answer, _Death) or not answer.stray or time.monotonic() > end:
            return answer
        log.warning("%s: %s; trying it again, %d times at most", key, answer, tries)
        time.sleep(_PAUSE)


def _answers(
    target: Callable[..., None], stage: Stage, key: Key, what: object, memory: int | None, seconds: float
) -> Generator[object, None, None]:
    """Yield what a child answers, and last, if it dies or is silent for `seconds`, how it ended."""
    child, pipe = _start(target, stage, key, what, memory)
    begun = False
    try:
        while pipe.poll(seconds):
            answer = pipe.recv()
            if isinstance(answer, SkysiftError):
                raise answer
            if begun:
                yield answer
            begun = True  # the first word of a child is that it is there
        yield _Death(f"no answer for {seconds:.0f} s", begun)
    except EOFError:
        child.join()
        yield _Death(f"its process died (exit {child.exitcode})", begun, child.exitcode in _STRAY)
    finally:
        child.kill()
        child.join()
        pipe.close()


def _start(target: Callable[..., None], *args: object) -> tuple[BaseProcess, Connection]:
    receive, send = _CONTEXT.Pipe(duplex=False)
    child = _CONTEXT.Process(target=target, args=(*args, send), daemon=True)
    with _one_thread():
        child.start()
    send.close()
    return child, receive


@contextmanager
def _one_thread() -> Iterator[None]:
    """Set what a child must find before it imports anything."""
    before = dict(os.environ)
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name in _ONE_THREAD:
            os.environ.pop(name)
        os.environ.update({name: before[name] for name in _ONE_THREAD if name in before})


def _limit(memory: int | None) -> None:
    # Writable memory, not address space: what torch, OpenVINO and allocators map or reserve unused is many times more.
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def _probe_all(stage: Stage, key: Key, names: list[str], memory: int | None, pipe: Connection) -> None:
    _limit(memory)
    pipe.send("begun")
    for name in names:
        pipe.send(_tried(stage.probe, key, name))


def _execute_whole(stage: Stage, key: Key, skip: dict[str, InputOutcome], memory: int | None, pipe: Connection) -> None:
    _limit(memory)
    pipe.send("begun")
    pipe.send(_tried(stage.execute, key, skip))


def _tried(function: Callable[..., object], *args: object) -> object:
    """Return a result, an error of ours to be raised by the parent, or the text of any other."""
    try:
        return function(*args)
    except Rejected:
        return None  # a verdict on an input, not a death
    except SkysiftError as error:
        return error
    except Exception as error:  # noqa: BLE001 — whatever it was, the parent reports it
        return f"{type(error).__name__}: {error}"
