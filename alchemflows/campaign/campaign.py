"""Define, submit and read campaigns from Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pandas as pd
from pydantic import ValidationError

from alchemflows.arguments import problem_of
from alchemflows.campaign import status, submission
from alchemflows.campaign.specification import check_method, read_campaign, tasks
from alchemflows.campaign.status import Condition
from alchemflows.campaign.submission import Failure, Submission
from alchemflows.errors import InvalidInputError
from alchemflows.results import readout
from alchemflows.schemas.campaign import CampaignSpec
from alchemflows.storage.database import Database, connect


class Campaign(CampaignSpec):
    """A campaign, with the fields of :class:`~alchemflows.schemas.campaign.CampaignSpec`.

    Its methods take the database to use; None is the one that is configured, or the private one
    (:func:`~alchemflows.storage.database.connect`).

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import Campaign
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> _ = salt.to("NaCl.cif")
    >>> campaign = Campaign(
    ...     name="salts",
    ...     structures={"NaCl": {"file": "NaCl.cif"}},
    ...     transformations={"NaK": {"Na": "K"}},
    ...     temperatures_K=[300.0, 400.0],
    ...     method={"kind": "thermodynamic-integration", "settings": {"n_windows": 3}},
    ...     potential={"name": "mace-demo"},
    ... )
    >>> campaign.submit().n_new
    2
    >>> len(campaign.status())
    2
    """

    def __init__(self, **fields: Any) -> None:
        """Make a campaign from its fields.

        Raises
        ------
        InvalidInputError
            Naming the first field that is wrong.
        """
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InvalidInputError(problem_of(error, model=type(self))) from None
        check_method(self)

    @classmethod
    def from_file(cls, path: Path | str) -> Self:
        """Return the campaign in a YAML file; see :func:`~alchemflows.campaign.specification.read_campaign`."""
        return cls(**dict(read_campaign(Path(path))))

    def submit(self, database: Database | None = None) -> Submission:
        """Add the tasks that are not in the database yet.

        See :func:`~alchemflows.campaign.submission.submit_campaign` for what it raises.
        """
        every = list(tasks(self))  # all are checked before the database is touched
        return submission.submit_campaign(database or connect(), self, every)

    def status(self, database: Database | None = None) -> list[Condition]:
        """Return how many jobs are in which state, for each structure, transformation and condition."""
        return status.campaign_status(database or connect(), self.name)

    def failures(self, database: Database | None = None) -> list[Failure]:
        """Return what failed, by cause."""
        return submission.failures(database or connect(), self.name)

    def free_energies(self, database: Database | None = None, *, reanalysed: bool = False) -> pd.DataFrame:
        """Return its free energies, a row each; see :func:`~alchemflows.results.readout.free_energies`."""
        return readout.free_energies(database or connect(), self.name, reanalysed=reanalysed)

    def windows(self, database: Database | None = None, *, where: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return its windows, a row each; see :func:`~alchemflows.results.readout.windows`."""
        return readout.windows(database or connect(), self.name, where=where)

    def samples(self, database: Database | None = None, *, where: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return samples of its windows, a row each, all in memory: choose windows by `where`.

        See :func:`~alchemflows.results.readout.samples`.
        """
        return readout.samples(database or connect(), self.name, where=where)
