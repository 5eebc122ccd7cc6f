"""Estimate the memory that a batch of replicas needs on a device, before it is evaluated.

Most of the memory of an evaluation with derivatives is in the tensors that torch saves for the backward pass. Their
size is proportional to the number of replicas, apart from parameters of the potential and other constants, and the same
on every device. It is counted for one and for two replicas; the difference is that of one replica. If memory runs out
nevertheless, the batch is halved.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch

from alchemflows.errors import PotentialError

logger = logging.getLogger(__name__)

#: Approximate number of vectors per call of the backend, by device: small for CPU caches, large to use all cores of a
#: GPU. Larger batches are split by replicas and sets of weights.
VECTORS_AT_ONCE = {"cpu": 2**12, "cuda": 2**18}
#: Parts of the messages of errors due to a lack of memory, which may be a torch.OutOfMemoryError, a plain RuntimeError
#: from TorchScript, or an error of cuBLAS or of the CPU allocator.
OUT_OF_MEMORY = ("out of memory", "alloc_failed", "can't allocate memory")
#: Peak of the memory of an evaluation relative to the tensors saved for the backward pass, whose gradients come in
#: addition. On an H100 it was 1.4 (89-element MACE) and 2.2 (mace-demo) for 32 replicas of 40 atoms, see
#: docs/performance.md.
PEAK_PER_SAVED = 2.5
#: Share of the memory of a device that a batch may need, by the estimate. The rest is for the lists of pairs,
#: parameters, the sampler and other programs.
SHARE_OF_DEVICE = 0.8

Result = TypeVar("Result")


def saved_bytes(evaluate: Callable[[], object]) -> int:
    """Return the size (bytes) of the tensors that torch saves for the backward pass while a function runs.

    Tensors that share their memory are counted once.
    """
    seen: dict[int, torch.Tensor] = {}  # the tensors are kept, since memory that is freed may be used again

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        seen.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        evaluate()
    return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


def device_bytes(device: torch.device) -> int | None:
    """Return the memory (bytes) of a GPU; None for other devices.

    The free memory would be a better limit, but it varies, and with it the batches and the rounding of results.
    """
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None


def second_replica_bytes(evaluate: Callable[[int], object]) -> int:
    """Estimate the memory (bytes) that the second replica of a batch needs; `evaluate` gets a number of replicas."""
    evaluate(1)  # not counted, since the first evaluation may also check or compile the model
    one, two = (saved_bytes(partial(evaluate, n)) for n in (1, 2))
    return max(1, round(PEAK_PER_SAVED * (two - one)))


class MemoryLimit:
    """Size of the parts into which the batches of a potential are split, so that they fit into a device.

    Parameters
    ----------
    device
        Device of the potential.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.vectors_at_once = VECTORS_AT_ONCE.get(device.type, 2**18)
        self._is_fitted = device_bytes(device) is None

    def fit(self, replica_bytes: Callable[[], int], n_vectors: int) -> None:
        """Lower the limit, at the first call, to what the memory of the device allows by the estimate.

        Parameters
        ----------
        replica_bytes
            Function that estimates the memory of a replica (bytes).
        n_vectors
            Number of vectors of this replica.
        """
        if self._is_fitted:
            return
        self._is_fitted = True
        total = device_bytes(self._device)
        assert total is not None
        try:
            per_replica = replica_bytes()
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            return  # two replicas are too many; the batch is halved until it fits
        logger.info("%s: about %.3g MiB for each replica", self._device, per_replica / 2**20)
        limit = int(SHARE_OF_DEVICE * total / per_replica * max(1, n_vectors))
        self.vectors_at_once = min(self.vectors_at_once, limit)

    def compute(
        self,
        n_replicas: int,
        n_sets: int,
        n_vectors: int,
        part: Callable[[slice, int], Result],
        release: Callable[[], None],
    ) -> list[Result]:
        """Compute all replicas in as few parts as memory allows, and return the results of the parts.

        Parameters
        ----------
        n_replicas, n_sets
            Number of replicas, and of sets of weights for each.
        n_vectors
            Largest number of vectors of a replica.
        part
            Function that computes some replicas, with a number of sets of weights at a time.
        release
            Function that frees the memory of caches, called after memory ran out.

        Raises
        ------
        PotentialError
            If the device has too little memory for a single replica with one set of weights.
        """
        results: list[Result] = []
        done = 0
        per_replica = max(1, n_vectors)
        while done < n_replicas:
            size = min(max(1, self.vectors_at_once // per_replica), n_replicas - done)
            sets = min(max(1, self.vectors_at_once // (per_replica * size)), n_sets)
            try:
                results.append(part(slice(done, done + size), sets))
                done += size
                continue
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                if size * sets == 1:
                    raise PotentialError(
                        f"{self._device} has too little memory for one replica; use a smaller cell: {error}"
                    ) from error
                self.vectors_at_once = per_replica * size * sets // 2
                logger.warning("%s is out of memory with %d replicas at once; trying half", self._device, size * sets)
            # Outside the except clause, where the error would keep references to the tensors.
            release()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        return results


def _is_out_of_memory(error: RuntimeError) -> bool:
    return any(text in str(error).lower() for text in OUT_OF_MEMORY)
