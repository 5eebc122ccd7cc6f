"""Run several relaxations concurrently and evaluate their requests in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np

from alchemflows.alchemy.interfaces import Evaluation, SecondDerivatives
from alchemflows.alchemy.potential import AlchemicalPotential

Result = TypeVar("Result")


class Seat:
    """Access to a shared potential for one task of :func:`in_lockstep`, which runs in a separate thread."""

    def __init__(self, number: int, requests: SimpleQueue) -> None:
        self._number = number
        self._requests = requests
        self.answers: SimpleQueue = SimpleQueue()

    def evaluate(self, positions: np.ndarray, cells: np.ndarray, weights: np.ndarray) -> Evaluation:
        """Evaluate one replica like :meth:`AlchemicalPotential.evaluate`, in one batch with the other tasks."""
        return self._ask((positions, cells, weights))

    def second_derivatives(self, positions: np.ndarray, cell: np.ndarray, weights: np.ndarray) -> SecondDerivatives:
        """Return second derivatives, see :meth:`AlchemicalPotential.second_derivatives`."""
        return self._ask(lambda potential: potential.second_derivatives(positions, cell, weights))

    def _ask(self, request: Any) -> Any:
        self._requests.put((self._number, request))
        answer = self.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer


class _Ended:
    """Last message of a task: it has ended, with an error or None."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def in_lockstep(
    make_potential: Callable[[], AlchemicalPotential], tasks: Sequence[Callable[[Seat], Result]]
) -> list[Result]:
    """Run tasks concurrently and return their results; their evaluations of the potential share one batch.

    Each task runs in a thread until it requests an evaluation. When all unfinished tasks have made a request, the
    calling thread evaluates the batch. The content of a batch therefore does not depend on the speed of threads, and
    only one thread uses the potential.

    Parameters
    ----------
    make_potential
        Function that returns a new potential. It is called once for the batch, and once for each task that requests
        second derivatives.
    tasks
        Functions of one argument, the :class:`Seat` that the task uses as its potential.

    Raises
    ------
    BaseException
        The first exception raised by a task or an evaluation; all other tasks are stopped.
    """
    requests: SimpleQueue = SimpleQueue()
    seats = [Seat(number, requests) for number in range(len(tasks))]

    def run(seat: int) -> Result:
        error: BaseException | None = None
        try:
            return tasks[seat](seats[seat])
        except BaseException as raised:
            error = raised
            raise
        finally:
            requests.put((seat, _Ended(error)))

    together = make_potential()
    own: dict[int, AlchemicalPotential] = {}
    with ThreadPoolExecutor(len(tasks)) as pool:
        futures = [pool.submit(run, number) for number in range(len(tasks))]
        try:
            active = len(tasks)
            while active:
                waiting: dict[int, Any] = {}
                while len(waiting) < active:
                    number, request = requests.get()
                    if not isinstance(request, _Ended):
                        waiting[number] = request
                        continue
                    if request.error is not None:
                        raise request.error
                    active -= 1
                alike = sorted(number for number, request in waiting.items() if isinstance(request, tuple))
                if alike:
                    arrays = (np.concatenate(values) for values in zip(*(waiting[n] for n in alike), strict=True))
                    for number, one in zip(alike, _split(together.evaluate(*arrays)), strict=True):
                        seats[number].answers.put(one)
                for number in sorted(waiting.keys() - set(alike)):
                    if number not in own:
                        own[number] = make_potential()
                    seats[number].answers.put(waiting[number](own[number]))
        except BaseException as error:
            for seat in seats:  # the answer to its current or next request
                seat.answers.put(error)
            raise
        return [future.result() for future in futures]


def _split(evaluation: Evaluation) -> list[Evaluation]:
    """Split the evaluation of a batch into one evaluation per replica."""
    derivatives = evaluation.forces, evaluation.stress, evaluation.weight_gradients
    return [
        Evaluation(evaluation.energy[k : k + 1], *(None if d is None else d[k : k + 1] for d in derivatives))
        for k in range(len(evaluation.energy))
    ]
