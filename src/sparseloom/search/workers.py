"""Work in several processes, results as they come; a process that is killed loses nothing but its own work."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from sparseloom.errors import Fault, SparseloomError

Item = TypeVar("Item")
Value = TypeVar("Value")

TRIES = 2
"""How often an item is given to a process before it counts as what kills them."""


@dataclass
class _Worker:
    """A process, our end of the pipe to it, and the number of the item that it works on."""

    process: BaseProcess
    pipe: Connection
    number: int | None = None


def in_processes(
    work: Callable[[Item], Value], items: Sequence[Item], jobs: int
) -> Iterator[tuple[int, Value | SparseloomError]]:
    """What ``work`` makes of each of some ``items``, with its number, in the order in which they are done; in place of a value the
    error of ours that it raised. Functions, items and values have to be such that can be pickled.

    An item whose process is killed is given to another, once; then its fault is the value. When the caller stops, or is
    interrupted, all processes are ended.
    """
    context = multiprocessing.get_context("spawn")
    left, tries = list(range(len(items)))[::-1], [0] * len(items)
    workers: list[_Worker] = []
    try:
        while left or any(worker.number is not None for worker in workers):
            while len(workers) < min(jobs, len(left) + sum(worker.number is not None for worker in workers)):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(work, theirs), daemon=True)
                process.start()
                theirs.close()
                workers.append(_Worker(process, ours))
            for worker in workers:
                if worker.number is None and left:
                    worker.number = left.pop()
                    tries[worker.number] += 1
                    worker.pipe.send(items[worker.number])
            busy = {worker.pipe: worker for worker in workers if worker.number is not None}
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                number = worker.number
                assert number is not None
                try:
                    value = worker.pipe.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    worker.process.join()
                    if tries[number] < TRIES:
                        left.append(number)
                        continue
                    value = SparseloomError(_killed(worker.process.exitcode))
                worker.number = None
                if isinstance(value, Exception) and not isinstance(value, SparseloomError):
                    raise value
                yield number, value
    finally:
        for worker in workers:
            worker.pipe.close()
            worker.process.terminate()
            worker.process.join()


def _killed(code: int | None) -> Fault:
    what = f"its process was killed {TRIES} times, the last time with exit code {code}"
    return Fault(what, fix="there may be too little memory: use fewer --jobs")


def _serve(work: Callable[[Any], Any], pipe: Connection) -> None:
    """Work on what comes through a pipe until it closes. An interrupt is for the parent, which ends this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        try:
            value = work(item)
        except Exception as error:
            value = error
        pipe.send(value)
