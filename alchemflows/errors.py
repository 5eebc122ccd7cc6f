"""Errors and warnings for the user; the command line prints each as one line."""

#: MongoDB's code of the error that a user may not do something.
UNAUTHORIZED = 13


class AlchemflowsError(Exception):
    """Base class of all errors that this package raises deliberately.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import AlchemflowsError, AlchemicalPath
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> try:
    ...     AlchemicalPath.from_substitution(salt, {"Li": "K"})
    ... except AlchemflowsError as error:
    ...     print(type(error).__name__)
    InvalidInputError
    """


class InvalidInputError(AlchemflowsError, ValueError):
    """Invalid input from the user: a structure, weight, element, number or file."""


class NoResultError(InvalidInputError):
    """An identifier that belongs to no stored result."""


class PotentialError(AlchemflowsError):
    """A potential that cannot be loaded, or whose architecture cannot be evaluated exactly."""


class DatabaseError(AlchemflowsError):
    """A database that is not configured, cannot be started or cannot be reached."""


class DatabaseUnreachableError(DatabaseError):
    """A database that is temporarily unreachable."""


class DocumentVersionError(AlchemflowsError):
    """A stored document whose version this release cannot read; the message says which release to install."""


class TrajectoryError(AlchemflowsError):
    """Sampling that cannot continue: non-finite numbers, excessive forces or temperatures, or a device failure."""


class ExplosionError(TrajectoryError):
    """A trajectory whose energy, force, temperature or volume exceeded its limit or was not finite.

    Attributes
    ----------
    replica
        Index of the replica in its batch.
    quantities
        The quantities beyond their limits, as a text.
    """

    def __init__(self, message: str, replica: int = 0, quantities: str = "") -> None:
        super().__init__(message)
        self.replica = replica
        self.quantities = quantities


class RunStoppedError(AlchemflowsError):
    """A run that was asked to stop and has stopped; its last checkpoint allows it to continue."""


class UnstableCrystalError(TrajectoryError):
    """A crystal whose atoms left their sites: it is mechanically unstable, has melted, or an atom has diffused."""


class NotLiquidError(TrajectoryError):
    """A liquid that did not melt, has crystallized, or whose atoms do not diffuse."""


class AlchemflowsWarning(UserWarning):
    """A warning about input that is accepted but may be a mistake; the command line prints it as one line."""
