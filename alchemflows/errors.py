"""The errors that a user can meet and mend; the command line prints them as one line."""


class AlchemflowsError(Exception):
    """Base of all errors that this package raises on purpose.

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
    """What the user asked for cannot be done as asked: a wrong structure, weight, element or number."""


class PotentialError(AlchemflowsError):
    """A potential cannot be loaded, or cannot be supported exactly."""


class DatabaseError(AlchemflowsError):
    """The database cannot be reached, started or found."""


class DatabaseAwayError(DatabaseError):
    """The database does not answer; it may in a while."""


class DocumentVersionError(AlchemflowsError):
    """A stored document is of a version that this release cannot read; the message says what to install."""


class TrajectoryError(AlchemflowsError):
    """Sampling cannot go on: a number that is not finite, an absurd force or temperature, a device that failed."""


class RunStoppedError(AlchemflowsError):
    """A run was asked to stop before its end, and did in good order: it goes on from its last checkpoint."""


class UnstableCrystalError(TrajectoryError):
    """Atoms have left their sites: the phase is not mechanically stable, has molten, or an atom diffuses."""


class AlchemflowsWarning(UserWarning):
    """What a user should know about an input that is accepted; the command line prints it as one line."""
