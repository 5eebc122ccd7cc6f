"""Relaxations side by side: what each of them asks of the potential is evaluated in one batch."""

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
    """The potential as one of several callers sees it, each in a thread of its own; see :func:`in_lockstep`."""

    def __init__(self, number: int, requests: SimpleQueue) -> None:
        self._number = number
        self._requests = requests
        self.answers: SimpleQueue = SimpleQueue()

    def evaluate(self, positions: np.ndarray, cells: np.ndarray, weights: np.ndarray) -> Evaluation:
        """Evaluate one replica, as :meth:`AlchemicalPotential.evaluate` does, together with what others ask for."""
        return self._ask((positions, cells, weights))

    def second_derivatives(self, positions: np.ndarray, cell: np.ndarray, weights: np.ndarray) -> SecondDerivatives:
        """As :meth:`AlchemicalPotential.second_derivatives`."""
        return self._ask(lambda model: model.second_derivatives(positions, cell, weights))

    def _ask(self, request: Any) -> Any:
        self._requests.put((self._number, request))
        answer = self.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer


class _Ended:
    """What a seat says last, with the error that it ended with."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def in_lockstep(
    make_model: Callable[[], AlchemicalPotential], tasks: Sequence[Callable[[Seat], Result]]
) -> list[Result]:
    """Run tasks side by side and return their results, with one batch for what all of them ask of the potential.

    Each task runs in a thread, until it asks for an evaluation. When all that have not ended have asked, the calling
    thread evaluates. So which evaluations share a batch does not depend on how fast threads are, and only one thread
    uses the models.

    Parameters
    ----------
    make_model
        Makes a potential: one for the batch, and one for each task that asks for second derivatives.
    tasks
        Functions of the potential that they are to use.

    Raises
    ------
    BaseException
        Whatever a task raises first, or an evaluation; the other tasks end, too.
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

    together = make_model()
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
                        own[number] = make_model()
                    seats[number].answers.put(waiting[number](own[number]))
        except BaseException as error:
            for seat in seats:  # whatever it waits for, or will ask for next
                seat.answers.put(error)
            raise
        return [future.result() for future in futures]


def _split(evaluation: Evaluation) -> list[Evaluation]:
    """Return the evaluation of each replica."""
    derivatives = evaluation.forces, evaluation.stress, evaluation.weight_gradients
    return [
        Evaluation(evaluation.energy[k : k + 1], *(None if d is None else d[k : k + 1] for d in derivatives))
        for k in range(len(evaluation.energy))
    ]
