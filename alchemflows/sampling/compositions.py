"""Choose the ensemble and its moves by what controls the composition."""

from __future__ import annotations

from collections.abc import Mapping

from alchemflows.errors import InvalidInputError
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.sampling.ensembles import Canonical, Constrained, Ensemble, SemiGrand
from alchemflows.sampling.reactions import Combined, Reactions
from alchemflows.schemas.monte_carlo import CompositionControl


def ensemble_of(arrangements: Arrangements, control: CompositionControl) -> Ensemble:
    """Return the ensemble: canonical, semi-grand, variance-constrained, or one whose composition changes by exchanges.

    Raises
    ------
    InvalidInputError
        As :func:`chemical_potentials`, :func:`target_shares` and :class:`~alchemflows.sampling.reactions.Reactions`.
    """
    if control.mu_eV:
        return SemiGrand(arrangements, chemical_potentials(arrangements, control.mu_eV))
    if control.targets:
        return Constrained(arrangements, target_shares(arrangements, control.targets), control.stiffness_eV)
    swaps = Canonical(arrangements)
    if not control.exchange_mu_eV:
        return swaps
    exchanges = Reactions(
        arrangements,
        list(control.exchange_mu_eV),
        list(control.exchange_mu_eV.values()),
        oxidation_states=control.oxidation_states,
    )
    return Combined([swaps, exchanges])


def chemical_potentials(arrangements: Arrangements, mu_eV: Mapping[str, float]) -> list[dict[str, float]]:
    """Return the chemical potentials (eV) of all species on each sublattice; that of the reference species is 0.

    Parameters
    ----------
    arrangements
        The arrangements.
    mu_eV
        Chemical potential relative to the reference, for all species of each sublattice but one: the reference.

    Raises
    ------
    InvalidInputError
        If a species is unknown, or a sublattice does not have exactly one species without a value.
    """
    return [{rest: 0.0, **given} for rest, given in _but_one(arrangements, "mu_eV", mu_eV, "the reference")]


def target_shares(arrangements: Arrangements, targets: Mapping[str, float]) -> list[dict[str, float]]:
    """Return the target shares of all species on each sublattice, which sum to 1.

    Parameters
    ----------
    arrangements
        The arrangements.
    targets
        Target share for all species of each sublattice but one, which has the rest.

    Raises
    ------
    InvalidInputError
        If a species is unknown, or a sublattice does not have exactly one species without a value.
    """
    each = _but_one(arrangements, "targets", targets, "which has the rest")
    return [{rest: 1.0 - sum(given.values()), **given} for rest, given in each]


def _but_one(
    arrangements: Arrangements, name: str, values: Mapping[str, float], role: str
) -> list[tuple[str, dict[str, float]]]:
    """Return the species of each sublattice that has no value, and the values of the others."""
    unknown = sorted(set(values) - set(arrangements.species))
    if unknown:
        raise InvalidInputError(
            f"{name}: {', '.join(unknown)} is not among the species that can change, {', '.join(arrangements.species)}"
        )
    found = []
    for index in range(arrangements.n_sublattices):
        allowed = arrangements.allowed[arrangements.sublattice == index].any(axis=0)
        own = [symbol for symbol, there in zip(arrangements.species, allowed, strict=True) if there]
        without = [symbol for symbol in own if symbol not in values]
        if len(without) != 1:
            raise InvalidInputError(
                f"{name}: on sublattice {index} give values for all species but one, {role}; of {', '.join(own)}, "
                f"{', '.join(without) or 'none'} has no value"
            )
        found.append((without[0], {symbol: values[symbol] for symbol in own if symbol in values}))
    return found
