"""One submission of a campaign at a time: two at once would both add the tasks that neither finds."""

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

#: Collection of the submissions that run, a document each.
SUBMISSIONS = "submissions"
#: Time (s) without a heartbeat after which a submission counts as dead.
DEAD_AFTER_S = 60.0
_POLL_S = 0.5


@contextmanager
def submitting(launchpad: LaunchPad, name: str, dead_after_s: float = DEAD_AFTER_S) -> Iterator[Callable[[], None]]:
    """Wait until no other process submits the campaign, and keep others waiting; gives what says that this one lives.

    Parameters
    ----------
    launchpad
        Where the campaign is submitted to.
    name
        The campaign's name.
    dead_after_s
        How long this submission may be without a sign of life.

    Raises
    ------
    DatabaseError
        If it was without one for longer, and another process has taken its place.
    """
    submissions, mine = database_of(launchpad)[SUBMISSIONS], uuid4().hex

    def alive() -> None:
        # By the server's clock. Where another holds it this would be a second document of the name.
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
            f"nothing was heard of this submission for {dead_after_s:g} s, and another process is at it; submit again"
        ) from error
    finally:
        submissions.delete_one({"_id": name, "holder": mine})
