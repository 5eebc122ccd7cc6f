"""When a job is run again: what counts as lost and as failed, and how often it is rerun."""

from __future__ import annotations

from dataclasses import dataclass

from fireworks.fw_config import RUN_EXPIRATION_SECS

from alchemflows.storage.fireworks import ENDED, FAILED, HELD, Attempts, Launch, Relatives

#: Errors that are not the job's own fault: it was stopped, or the database was unreachable.
INTERRUPTIONS = (
    "RunStoppedError",
    "JobInterrupted",
    "AutoReconnect",
    "ConnectionFailure",
    "NetworkTimeout",
    "NotPrimaryError",
    "ServerSelectionTimeoutError",
)


@dataclass(frozen=True)
class RerunPolicy:
    """When jobs are run again.

    A job *failed* if its last launch ended with an exception of its own, was *interrupted* if the exception is one of
    :data:`INTERRUPTIONS`, and is *lost* if its worker sends no heartbeat any more. An interrupted job is returned
    to the queue whatever its history. A failed or lost job is rerun until its reruns are used up; then it stays
    failed, and a user may retry it.

    Attributes
    ----------
    retries
        Reruns of a job that failed.
    lost_retries
        Reruns of a job that was lost. Many are allowed, since reaching the wall time is not an error
        of the job. The number is limited, since some jobs kill their worker.
    lost_after_s
        Time (s) after which a running job without a heartbeat, or a taken job that has not started, is lost.
    worker_restarts
        Restarts of local workers that died, all workers of one run together.
    """

    retries: int = 3
    lost_retries: int = 20
    lost_after_s: float = RUN_EXPIRATION_SECS
    worker_restarts: int = 3

    def reruns_failed(self, attempts: Attempts) -> bool:
        """Tell whether a failed job is rerun, from all its launches, the last one included."""
        return attempts.n_failed <= self.retries and attempts.n_lost <= self.lost_retries

    def reruns_lost(self, attempts: Attempts) -> bool:
        """Tell whether a lost job is rerun, from its launches before the one that was lost."""
        return attempts.n_lost < self.lost_retries

    def restarts_worker(self, n_restarts: int) -> bool:
        """Tell whether a local worker that died is restarted, given the number of earlier restarts."""
        return n_restarts < self.worker_restarts


#: Policy for workers on this machine. The only delay is the time (s) between taking a job and storing its launch, since
#: the jobs of stopped workers are known.
LOCAL = RerunPolicy(lost_after_s=2.0)


def was_interrupted(launch: Launch) -> bool:
    """Tell whether a launch was stopped, or lost the database: the job itself did not cause the end."""
    return launch.state == "RUNNING" or (launch.state == FAILED and launch.error_class in INTERRUPTIONS)


def can_be_rerun(around: Relatives | None) -> bool:
    """Tell whether a failed job can be rerun now, given the states of the other jobs in its workflow.

    It cannot if one of its parents has failed, because the two are then rerun together. It cannot while a job that
    depends on it is running, because the rerun would remove the input of that job.
    """
    return around is not None and FAILED not in around.parents and not around.dependents & set(HELD)


def is_needed(around: Relatives | None) -> bool:
    """Tell whether a failed job keeps its workflow from completing."""
    return around is not None and around.workflow not in ENDED
