"""Find the input that kills a worker: one by one in a child process with limits of memory and time."""

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from pipeline.errors import Reason, Rejected, SkysiftError
from pipeline.partition import Key
from pipeline.stage import InputOutcome, Outcome, Stage, State

__all__ = ["MEMORY_BYTES", "execute_isolated", "killers"]

MEMORY_BYTES = 8 << 30
SECONDS = 120.0
LIMIT_SECONDS = 1800.0

# A fresh interpreter: neither the engine's threads nor its memory are inherited.
_CONTEXT = multiprocessing.get_context("spawn")

# As in the engines' workers: with more threads a network's last bits differ.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


def killers(
    stage: Stage,
    key: Key,
    memory: int | None = MEMORY_BYTES,
    seconds: float = SECONDS,
    limit: float = LIMIT_SECONDS,
) -> dict[str, InputOutcome]:
    """Probe every input of a partition alone and return those that kill the process or raise an error.

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
        If all inputs together take too long.
    SkysiftError
        Whatever the stage has to say of the partition as a whole.
    """
    found: dict[str, InputOutcome] = {}
    left = stage.inputs(key)
    end = time.monotonic() + limit
    while left:
        with closing(_answers(_probe_all, stage, key, left, memory, seconds)) as answers:
            for name, answer in zip(list(left), answers):
                left = left[1:]
                if isinstance(answer, str):
                    found[name] = InputOutcome(name, State.FAILED, str(Reason.KILLED), answer)
                if left and time.monotonic() > end:
                    raise ChildProcessError(f"{key}: {len(left)} inputs not probed after {limit:.0f} s")
    return found


def execute_isolated(
    stage: Stage,
    key: Key,
    memory: int | None = MEMORY_BYTES,
    seconds: float = SECONDS,
    limit: float = LIMIT_SECONDS,
) -> Outcome:
    """Execute a partition that has killed its workers: as it is, then without the inputs that do it.

    Takes three times `limit` at most; see `killers` for the parameters.

    Raises
    ------
    ChildProcessError
        If it dies, raises an error or takes too long all the same.
    SkysiftError
        What `Stage.execute` raises on purpose, `Stale` or `Mismatch` say.
    """
    skip: dict[str, InputOutcome] = {}
    answer = _execute(stage, key, skip, memory, limit)
    if isinstance(answer, str):  # a stray kill, of a machine short of memory, does not strike twice
        skip = killers(stage, key, memory, seconds, limit)
        answer = _execute(stage, key, skip, memory, limit)
    if isinstance(answer, Outcome):
        return answer
    without = f"without {', '.join(sorted(skip))}" if skip else "though none of its inputs does it alone"
    raise ChildProcessError(f"{key}: {answer}, {without}")


def _execute(stage: Stage, key: Key, skip: dict[str, InputOutcome], memory: int | None, limit: float) -> object:
    with closing(_answers(_execute_whole, stage, key, skip, memory, limit)) as answers:
        return next(answers)


def _answers(
    target: Callable[..., None], stage: Stage, key: Key, what: object, memory: int | None, seconds: float
) -> Generator[object, None, None]:
    """Yield what a child answers, and last, if it dies or is silent for `seconds`, a text that says so."""
    child, pipe = _start(target, stage, key, what, memory)
    try:
        while pipe.poll(seconds):
            answer = pipe.recv()
            if isinstance(answer, SkysiftError):
                raise answer
            yield answer
        yield f"no answer for {seconds:.0f} s"
    except EOFError:
        child.join()
        yield f"its process died (exit {child.exitcode})"
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
    for name in names:
        pipe.send(_tried(stage.probe, key, name))


def _execute_whole(stage: Stage, key: Key, skip: dict[str, InputOutcome], memory: int | None, pipe: Connection) -> None:
    _limit(memory)
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
