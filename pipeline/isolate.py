"""Find the input that kills a worker: one by one in a child process with limits of memory and time."""

import multiprocessing
import resource
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from pipeline.errors import Reason, Rejected
from pipeline.partition import Key
from pipeline.stage import InputOutcome, Outcome, Stage, State

__all__ = ["execute_isolated", "killers"]

MEMORY_BYTES = 8 << 30
SECONDS = 120.0

# A fresh interpreter: neither the engine's threads nor its memory are inherited.
_CONTEXT = multiprocessing.get_context("spawn")


def killers(stage: Stage, key: Key, memory: int = MEMORY_BYTES, seconds: float = SECONDS) -> dict[str, InputOutcome]:
    """Probe every input of a partition alone and return those that kill the process.

    Parameters
    ----------
    stage, key : Stage, Key
        The partition.
    memory : int
        Address space of the child, bytes.
    seconds : float
        Time limit an input, s.

    Returns
    -------
    dict
        Input → outcome `State.FAILED`, to be passed to `Stage.execute` as `skip`.
    """
    found: dict[str, InputOutcome] = {}
    left = stage.inputs(key)
    while left:
        child, pipe = _start(_probe_all, stage, key, left, memory)
        finished = 0
        while pipe.poll(seconds):
            try:
                pipe.recv_bytes()
            except EOFError:
                break
            finished += 1
        if finished == len(left):
            child.join()
            break
        child.kill()
        child.join()
        message = f"its process died (exit {child.exitcode}) or took over {seconds:.0f} s, {memory >> 20} MB"
        found[left[finished]] = InputOutcome(left[finished], State.FAILED, str(Reason.KILLED), message)
        left = left[finished + 1 :]
    return found


def execute_isolated(stage: Stage, key: Key, memory: int = MEMORY_BYTES, seconds: float = SECONDS) -> Outcome:
    """Execute a partition that has killed its workers, without the inputs that did it.

    Raises
    ------
    ChildProcessError
        If it dies all the same.
    """
    skip = killers(stage, key, memory, seconds)
    child, pipe = _start(_execute, stage, key, skip, memory)
    count = len(stage.inputs(key))
    try:
        if pipe.poll(seconds * max(count, 1)):
            outcome: Outcome = pipe.recv()
            return outcome
    except EOFError:
        pass
    finally:
        child.kill()
        child.join()
    raise ChildProcessError(f"{key}: dies even without {sorted(skip) or 'any input'} (exit {child.exitcode})")


def _start(target: object, *args: object) -> tuple[BaseProcess, Connection]:
    receive, send = _CONTEXT.Pipe(duplex=False)
    child = _CONTEXT.Process(target=target, args=(*args, send), daemon=True)  # type: ignore[arg-type]
    child.start()
    send.close()
    return child, receive


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _probe_all(stage: Stage, key: Key, names: list[str], memory: int, pipe: Connection) -> None:
    _limit(memory)
    for name in names:
        with suppress(Rejected):  # a verdict, not a death
            stage.probe(key, name)
        pipe.send_bytes(b".")


def _execute(stage: Stage, key: Key, skip: dict[str, InputOutcome], memory: int, pipe: Connection) -> None:
    _limit(memory)
    pipe.send(stage.execute(key, skip))
