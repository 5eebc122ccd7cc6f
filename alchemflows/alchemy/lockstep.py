"""Run several relaxations, or dynamics of several systems, concurrently and evaluate their requests in one batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
import torch

from alchemflows.alchemy.interfaces import Evaluation, SecondDerivatives
from alchemflows.alchemy.joint import JointPotential, Request
from alchemflows.alchemy.potential import AlchemicalPotential

Result = TypeVar("Result")

#: Derivatives that an evaluation may have.
_DERIVATIVES = ("forces", "stress", "weight_gradients")


class _Asking:
    """A task that runs in a separate thread and asks the thread that has the potential."""

    def __init__(self, number: int, requests: SimpleQueue) -> None:
        self._number = number
        self._requests = requests
        self.answers: SimpleQueue = SimpleQueue()

    def _ask(self, request: Any) -> Any:
        self._requests.put((self._number, request))
        answer = self.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Seat(_Asking):
    """Access to a shared potential for one task of :func:`in_lockstep`."""

    def evaluate(self, positions: np.ndarray, cells: np.ndarray, weights: np.ndarray) -> Evaluation:
        """Evaluate one replica like :meth:`AlchemicalPotential.evaluate`, in one batch with the other tasks."""
        return self._ask((positions, cells, weights))

    def second_derivatives(self, positions: np.ndarray, cell: np.ndarray, weights: np.ndarray) -> SecondDerivatives:
        """Return second derivatives, see :meth:`AlchemicalPotential.second_derivatives`."""
        return self._ask(lambda potential: potential.second_derivatives(positions, cell, weights))


class SystemSeat(_Asking):
    """The potential of one system for one task of :func:`systems_in_lockstep`."""

    def __init__(self, number: int, requests: SimpleQueue, joint: JointPotential) -> None:
        super().__init__(number, requests)
        self._joint = joint
        self._own = joint.members[number]

    @property
    def device(self) -> torch.device:
        """Device of the potential."""
        return self._own.device

    def evaluate(
        self,
        positions: torch.Tensor,
        cells: torch.Tensor,
        weights: torch.Tensor,
        *,
        forces: bool = True,
        stress: bool = True,
        weight_gradients: bool = True,
    ) -> Evaluation:
        """Evaluate replicas like :meth:`AlchemicalPotential.evaluate`, in one batch with the other tasks."""
        wanted = {"forces": forces, "stress": stress, "weight_gradients": weight_gradients}
        return self._ask((wanted, Request(self._number, positions, cells, weights)))

    def energies(self, positions: torch.Tensor, cells: torch.Tensor, weights: Any) -> torch.Tensor:
        """Return energies like :meth:`AlchemicalPotential.energies`, in one batch with the other tasks."""
        return self._ask((np.shape(weights)[1], Request(self._number, positions, cells, weights)))

    def memory(self) -> dict[str, torch.Tensor]:
        """Return the memory of the potential, see :meth:`AlchemicalPotential.memory`."""
        return self._own.memory()

    def recall(self, memory: Mapping[str, torch.Tensor]) -> None:
        """Restore the memory of the potential, see :meth:`AlchemicalPotential.recall`."""
        self._joint.recall_member(self._number, memory)


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
    together = make_potential()
    own: dict[int, AlchemicalPotential] = {}

    def answers(waiting: Mapping[int, Any]) -> Iterator[tuple[int, Any]]:
        alike = sorted(number for number, request in waiting.items() if isinstance(request, tuple))
        if alike:
            arrays = (np.concatenate(values) for values in zip(*(waiting[n] for n in alike), strict=True))
            yield from zip(alike, _split(together.evaluate(*arrays)), strict=True)
        for number in sorted(waiting.keys() - set(alike)):
            if number not in own:
                own[number] = make_potential()
            yield number, waiting[number](own[number])

    return [future.result() for future in _run(seats, requests, tasks, answers, one_error_ends_all=True)]


def systems_in_lockstep(
    potentials: Sequence[AlchemicalPotential], tasks: Sequence[Callable[[SystemSeat], Result]]
) -> list[Result | Exception]:
    """Run tasks with different systems concurrently; evaluations of all potentials share batches.

    As for :func:`in_lockstep`, the content of a batch does not depend on the speed of threads. All evaluations share a
    batch, with the derivatives that any of them needs, and so do energies at the same number of sets of weights.

    Parameters
    ----------
    potentials
        Potential of each task, see :class:`~alchemflows.alchemy.joint.JointPotential`.
    tasks
        Functions of one argument, the :class:`SystemSeat` that the task uses as its potential.

    Returns
    -------
    results
        The result of each task, or the exception that ended it. Such an exception does not end the other tasks.

    Raises
    ------
    InvalidInputError
        If numbers of sites or potentials differ.
    """
    requests: SimpleQueue = SimpleQueue()
    joint = JointPotential(potentials)
    seats = [SystemSeat(number, requests, joint) for number in range(len(potentials))]

    def answers(waiting: Mapping[int, Any]) -> Iterator[tuple[int, Any]]:
        evaluations: dict[int, tuple[dict[str, bool], Request]] = {}
        energies: dict[int, list[Request]] = defaultdict(list)
        for number in sorted(waiting):
            what, request = waiting[number]
            if isinstance(what, dict):
                evaluations[number] = what, request
            else:
                energies[what].append(request)
        if evaluations:
            wanted = {name: any(what[name] for what, _ in evaluations.values()) for name in _DERIVATIVES}
            group = [request for _, request in evaluations.values()]
            yield from _answered(group, lambda: joint.evaluate_members(group, **wanted))
        for group in energies.values():
            yield from _answered(group, partial(joint.energies_of_members, group))

    futures = _run(seats, requests, tasks, answers, one_error_ends_all=False)
    results: list[Result | Exception] = []
    for future in futures:
        error = future.exception()
        if error is None:
            results.append(future.result())
        elif isinstance(error, Exception):
            results.append(error)
        else:
            raise error
    return results


def _answered(group: Sequence[Request], evaluate: Callable[[], Sequence[Any]]) -> Iterator[tuple[int, Any]]:
    """Return the number of each task with its result, or with the exception that the evaluation raised."""
    found: Sequence[Any]
    try:
        found = evaluate()
    except Exception as error:
        found = [error] * len(group)
    return zip((request.member for request in group), found, strict=True)


def _run(
    seats: Sequence[Any],
    requests: SimpleQueue,
    tasks: Sequence[Callable[[Any], Result]],
    answers: Callable[[Mapping[int, Any]], Iterator[tuple[int, Any]]],
    *,
    one_error_ends_all: bool,
) -> list[Future[Result]]:
    """Run tasks in threads; when all unfinished ones wait, give each an answer to its request. Return what they did."""

    def run(seat: int) -> Result:
        error: BaseException | None = None
        try:
            return tasks[seat](seats[seat])
        except BaseException as raised:
            error = raised
            raise
        finally:
            requests.put((seat, _Ended(error)))

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
                    if request.error is not None and one_error_ends_all:
                        raise request.error
                    active -= 1
                for number, answer in answers(waiting):
                    seats[number].answers.put(answer)
        except BaseException as error:
            for seat in seats:  # the answer to its current or next request
                seat.answers.put(error)
            raise
        return futures


def _split(evaluation: Evaluation) -> list[Evaluation]:
    """Split the evaluation of a batch into one evaluation per replica."""
    derivatives = evaluation.forces, evaluation.stress, evaluation.weight_gradients
    return [
        Evaluation(evaluation.energy[k : k + 1], *(None if d is None else d[k : k + 1] for d in derivatives))
        for k in range(len(evaluation.energy))
    ]
