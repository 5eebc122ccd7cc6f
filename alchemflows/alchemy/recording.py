"""Repeat an evaluation on a GPU as one CUDA graph, so that the host does not start each of its operations again.

From one step of the dynamics to the next only positions, cells and weights change, and when a neighbour list is rebuilt
also the indices of the pairs. They are copied to the memory from which the recorded operations read. If their number
changes, the evaluation is recorded again.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch

from alchemflows.alchemy.interfaces import Evaluation
from alchemflows.alchemy.topology import Topology
from alchemflows.settings import Settings

logger = logging.getLogger(__name__)

#: Evaluations with arrays of the same sizes before they are recorded; recording takes as long as several of them.
N_BEFORE = 10
#: Recordings that are kept; all share the memory of their intermediate results.
N_KEPT = 4
#: Largest difference between a recorded or compiled and a usual evaluation, relative to the largest value.
TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-9}

Compute = Callable[[Topology, torch.Tensor, torch.Tensor, torch.Tensor], Evaluation]
Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Results = tuple[torch.Tensor, ...]
#: Records some work; returns its results, and a function that writes the results of the same work, on what is now in
#: the memory from which it reads, to the same tensors.
Recorder = Callable[[Callable[[], Results]], tuple[Results, Callable[[], None]]]


class CudaGraphs:
    """Record work as CUDA graphs, which share one pool of memory.

    Parameters
    ----------
    device
        The GPU, which need not be the current one.

    Notes
    -----
    The graphs must run one after the other, and results must be copied before another graph runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], Results]) -> tuple[Results, Callable[[], None]]:
        """Record the work, after a warm-up on another stream, as torch requires.

        Raises
        ------
        RuntimeError
            If the work waits for the device, or memory runs out.
        """
        with torch.cuda.device(self._device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(2):
                    work()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):
                results = work()

        def replay() -> None:
            with torch.cuda.device(self._device):
                graph.replay()

        replay()  # capturing computes nothing
        return results, replay


def recordings_on(device: torch.device, wanted: bool | None) -> Recordings | None:
    """Return the recordings of a potential; None if they are not wanted (None: by the setting) or there is no GPU."""
    if device.type != "cuda" or not (Settings().cuda_graphs if wanted is None else wanted):
        return None
    return Recordings(CudaGraphs(device))


@dataclass
class _Recording:
    """A recorded evaluation: the memory from which it reads, and its results, of which some are not present."""

    topology: Topology
    inputs: Inputs
    copied_from: Topology
    results: Results
    replay: Callable[[], None]
    present: list[bool]

    def evaluation(self) -> Evaluation:
        """Return a copy of the results, since the next evaluation overwrites them."""
        copies = (result.clone() for result in self.results)
        return Evaluation(*(next(copies) if is_there else None for is_there in self.present))  # type: ignore[arg-type]


class Recordings:
    """Recorded evaluations of one potential, by the sizes of their arrays.

    Parameters
    ----------
    record
        How work is recorded.
    n_before
        Number of evaluations with the same sizes before they are recorded.
    """

    def __init__(self, record: Recorder, n_before: int = N_BEFORE) -> None:
        self._record = record
        self._n_before = n_before
        self._seen: Counter[Hashable] = Counter()
        self._recordings: dict[Hashable, _Recording] = {}
        self._works = True

    def evaluate(
        self,
        kind: Hashable,
        dtype: torch.dtype,
        compute: Compute,
        topology: Topology,
        positions: torch.Tensor,
        cells: torch.Tensor,
        weights: torch.Tensor,
    ) -> Evaluation:
        """Return ``compute(topology, positions, cells, weights)``, from a recording if there is one.

        Parameters
        ----------
        kind
            What `compute` computes; it must do the same for the same kind.
        dtype
            Precision of the potential.
        compute
            The evaluation; it must not wait for the device.
        topology, positions, cells, weights
            Its arguments; the topology must have static shapes.
        """
        inputs = positions, cells, weights
        recording = self._find((kind, topology.sizes), dtype, compute, topology, inputs) if self._works else None
        if recording is None:
            return compute(topology, *inputs)
        if recording.copied_from is not topology:
            for own, new in zip(recording.topology.constants(), topology.constants(), strict=True):
                own.copy_(new)
            recording.copied_from = topology
        for own, new in zip(recording.inputs, inputs, strict=True):
            own.copy_(new)
        recording.replay()
        return recording.evaluation()

    def forget(self) -> None:
        """Free the memory of all recordings."""
        self._recordings.clear()
        self._seen.clear()

    def _find(
        self, key: Hashable, dtype: torch.dtype, compute: Compute, topology: Topology, inputs: Inputs
    ) -> _Recording | None:
        """Return the recording with this key, which is made after some evaluations; None if there is none."""
        if key not in self._recordings:
            self._seen[key] += 1
            if self._seen[key] <= self._n_before:
                return None
            recording = self._recorded(compute, topology, inputs, dtype)
            if recording is None:
                return None
            if len(self._recordings) >= N_KEPT:
                self._recordings.pop(next(iter(self._recordings)))
            self._recordings[key] = recording
        return self._recordings[key]

    def _recorded(self, compute: Compute, topology: Topology, inputs: Inputs, dtype: torch.dtype) -> _Recording | None:
        """Record an evaluation and compare it with the usual one; return None if it fails or differs."""
        own = copy.deepcopy(topology)
        positions, cells, weights = (values.clone() for values in inputs)
        expected = _values(compute(topology, *inputs))

        def work() -> Results:
            return tuple(value for value in _values(compute(own, positions, cells, weights)) if value is not None)

        try:
            results, replay = self._record(work)
        except RuntimeError as error:
            self._fails(str(error).splitlines()[0])
            return None
        present = [value is not None for value in expected]
        recording = _Recording(own, (positions, cells, weights), topology, results, replay, present)
        for found, wanted in zip(_values(recording.evaluation()), expected, strict=True):
            if found is not None and wanted is not None and not is_close(found, wanted, dtype):
                self._fails("its results differ from those of the usual evaluation")
                return None
        return recording

    def _fails(self, reason: str) -> None:
        """Use no recordings from now on, and say so."""
        self._works = False
        self.forget()
        logger.warning("the evaluation is not repeated as a CUDA graph, which would be faster: %s", reason)


def _values(evaluation: Evaluation) -> tuple[torch.Tensor | None, ...]:
    return evaluation.energy, evaluation.forces, evaluation.stress, evaluation.weight_gradients


def is_close(values: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> bool:
    """Return whether values that were computed in a precision differ by rounding only; NaN equals NaN."""
    scale = float(expected.nan_to_num().abs().amax()) if expected.numel() else 0.0
    return torch.allclose(values, expected, rtol=0, atol=TOLERANCES[dtype] * max(scale, 1e-3), equal_nan=True)
