"""Jobs that are sampled in one batch with the current job: which ones may be, and where a job gets them from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, runtime_checkable

from jobflow import Job

#: Takes jobs from a queue that a function accepts, for as long as the context lasts.
Source = Callable[[Callable[[Job], bool]], AbstractContextManager[list[Job]]]

_source: Source | None = None


@runtime_checkable
class BatchMaker(Protocol):
    """A maker whose jobs can be sampled in one batch with others."""

    def batch_key(self, *args: Any, **kwargs: Any) -> str:
        """Return the key of the job that ``make`` returns for the same arguments; jobs of one key fit together."""
        ...


def batch_key_of(job: Job) -> str | None:
    """Return the key of jobs that can be sampled in one batch with a job; None if it is sampled alone."""
    return job.maker.batch_key(*job.function_args, **job.function_kwargs) if isinstance(job.maker, BatchMaker) else None


@contextmanager
def companions_from(source: Source) -> Iterator[None]:
    """Let the jobs that this process runs within the context take companions from a source."""
    global _source
    before, _source = _source, source
    try:
        yield
    finally:
        _source = before


@contextmanager
def companions(accepts: Callable[[Job], bool]) -> Iterator[list[Job]]:
    """Yield the jobs that the current job samples too; no other worker takes them within the context.

    Without a source (:func:`companions_from`) there are none.
    """
    if _source is None:
        yield []
        return
    with _source(accepts) as jobs:
        yield jobs
