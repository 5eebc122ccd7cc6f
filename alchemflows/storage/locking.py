"""Allow one submission of a campaign at a time; simultaneous submissions would add the same tasks twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

from fireworks import LaunchPad
from pymongo.errors import DuplicateKeyError

from alchemflows.errors import DatabaseError
from alchemflows.storage.fireworks import database_of

logger = logging.getLogger(__name__)

#: Collection with one document per running submission.
SUBMISSIONS = "submissions"
#: Time (s) without a heartbeat after which a submission counts as dead.
DEAD_AFTER_S = 60.0
_POLL_S = 0.5


@contextmanager
def submitting(launchpad: LaunchPad, name: str, dead_after_s: float = DEAD_AFTER_S) -> Iterator[Callable[[], None]]:
    """Wait for other submissions of the campaign and block new ones; yield the function that sends a heartbeat.

    Parameters
    ----------
    launchpad
        LaunchPad of the campaign.
    name
        The campaign's name.
    dead_after_s
        Time (s) without a heartbeat after which another process may take over.

    Raises
    ------
    DatabaseError
        If no heartbeat was sent for longer and another process has taken over.
    """
    submissions, mine = database_of(launchpad)[SUBMISSIONS], uuid4().hex

    def alive() -> None:
        # Uses the server's clock. If another process holds the lock, the upsert raises DuplicateKeyError.
        until = {"$add": ["$$NOW", 1000.0 * dead_after_s]}
        submissions.update_one({"_id": name, "holder": mine}, [{"$set": {"until": until}}], upsert=True)

    told = False
    while True:
        submissions.delete_one({"_id": name, "$expr": {"$lt": ["$until", "$$NOW"]}})
        try:
            alive()
            break
        except DuplicateKeyError:
            if not told:
                logger.warning("another process is submitting the campaign %s; waiting for it", name)
                told = True
            time.sleep(_POLL_S)
    try:
        yield alive
    except DuplicateKeyError as error:
        raise DatabaseError(
            f"this submission sent no heartbeat for {dead_after_s:g} s and another process took over; submit again"
        ) from error
    finally:
        submissions.delete_one({"_id": name, "holder": mine})
