"""Take jobs from the queue that are sampled in one batch with the job of a worker, and return them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from fireworks import FWorker, LaunchPad
from fireworks.fw_config import PING_TIME_SECS
from jobflow import CURRENT_JOB, Job
from pymongo.errors import PyMongoError

from alchemflows.storage.fireworks import claim, keep_claimed, make_ready

#: Time (s) between two records that jobs are still held; at most that between two heartbeats of a job.
KEEP_S = min(60.0, PING_TIME_SECS)


@contextlib.contextmanager
def claimed_jobs(
    launchpad: LaunchPad, fworker: FWorker, report: Callable[[str], None], accepts: Callable[[Job], bool]
) -> Iterator[list[Job]]:
    """Yield ready jobs that may be sampled in one batch with the current job, and return them to the queue at the end.

    There are none if the current job has no such setting, for which the database is not asked, or if the database is
    unreachable.

    Parameters
    ----------
    launchpad, fworker
        Where jobs are, and which ones this worker takes.
    report
        Called with a line that names the jobs.
    accepts
        Whether a job is taken.
    """
    current = CURRENT_JOB.job
    batch = None if current is None else current.config.manager_config.get("batch")
    if current is None or batch is None:
        yield []
        return
    found: dict[int, Job] = {}
    try:
        found = claim(launchpad, fworker, batch["key"], batch["n_jobs"] - 1, accepts)
    except PyMongoError as error:
        report(f"the database is unreachable ({type(error).__name__}); the job is sampled alone")
    if not found:
        yield []
        return
    report(f"job {current.metadata.get('fw_id')} is sampled in one batch with {', '.join(map(str, found))}")
    ended = threading.Event()
    heart = threading.Thread(target=_keep, args=(launchpad, list(found), ended), daemon=True)
    heart.start()
    try:
        yield list(found.values())
    finally:
        ended.set()
        heart.join()
        with contextlib.suppress(PyMongoError):  # else they count as lost after some time
            make_ready(launchpad, list(found), 0.0)


def _keep(launchpad: LaunchPad, fw_ids: Sequence[int], ended: threading.Event) -> None:
    while not ended.wait(KEEP_S):
        with contextlib.suppress(PyMongoError):
            keep_claimed(launchpad, fw_ids)
