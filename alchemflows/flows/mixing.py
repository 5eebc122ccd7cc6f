"""The flow that computes the free energy of mixing of two elements on the sites of a crystal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobflow import Flow
from pymatgen.core import Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.cell_size import check_neighbours
from alchemflows.alchemy.system import AlchemicalSystem, Coupling
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import ConditionsMaker, relaxed_mixture
from alchemflows.jobs.inputs import failing_onwards
from alchemflows.jobs.mixing import MixingSamplesMaker
from alchemflows.jobs.relax import AlchemicalRelaxMaker, relaxing
from alchemflows.schemas.monte_carlo import Balancing, MonteCarloSettings, ProposalKind

#: Smallest number of chemical potentials, with which neighbours may overlap.
MIN_POTENTIALS = 3


@dataclass
class MixingMaker(ConditionsMaker):
    """Compute the free energy of mixing of two elements on the sites of a crystal, and its phase diagram.

    Arrangements are sampled at several chemical potentials Δμ and temperatures (semi-grand ensemble), which exchange
    their replicas. MBAR combines all samples to the free energy at each composition of the supercell. See
    :class:`ConditionsMaker` for the other parameters. They are those of the dynamics between moves; at frozen positions
    (`n_md_steps` is 0) they are not used.

    Parameters
    ----------
    n_potentials
        Number of chemical potentials at each temperature.

        They are evenly spaced over the range in which the crystal changes from one pure composition to the other.
    n_equilibration_sweeps
        Number of sweeps before the first sample.
    n_production_sweeps
        Number of sweeps with a sample each.
    attempts_per_sweep
        Number of attempted moves per sweep; none for one per site that can change, rounded up to an odd number.
    n_md_steps
        Number of steps of dynamics after the moves of a sweep; 0 for frozen positions.
    proposal
        Whether moves are chosen by ∂E/∂w (``informed``) or with equal probabilities (``uniform``).
    balancing
        Balancing function of informed proposals: ``sqrt`` or ``barker``.
    replica_exchange
        Whether neighbouring chemical potentials and temperatures exchange replicas after each sweep.
    n_terms
        Number of Redlich–Kister terms; none for the smallest that describes the result.
    coupling
        Interaction between the alchemical sites in the relaxation: ``mean-field`` or ``paired``.
    relax_maker
        Relaxation of positions and cell of the alchemical crystal with equal shares, the start of all replicas.

        With None they start from the given structure.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import MixingMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> flow = MixingMaker(potential="mace-demo").make(salt, {"Na": ["Na", "K"]}, (2, 1, 1), [600.0, 800.0])
    >>> [job.name for job in flow.jobs]
    ['relax mean-field', 'mixing']
    """

    name: str = "mixing"
    n_potentials: int = 16
    n_equilibration_sweeps: int = 50
    n_production_sweeps: int = 400
    attempts_per_sweep: int | None = None
    n_md_steps: int = 0
    proposal: ProposalKind = "informed"
    balancing: Balancing = "sqrt"
    replica_exchange: bool = True
    n_terms: int | None = None
    coupling: Coupling = "mean-field"
    relax_maker: AlchemicalRelaxMaker | None = field(default_factory=lambda: relaxing(0.02, steps=1000))

    @checked
    def make(
        self,
        structure: Structure,
        choices: Mapping[str, Sequence[str]],
        supercell: Sequence[int],
        temperatures: Sequence[float],
        *,
        delta_mu_eV: Sequence[float] = (),
    ) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.mixing.MixingDocument`.

        Parameters
        ----------
        structure
            Ordered structure.
        choices
            The element on the mixing sites and the two elements that mix there, such as ``{"Na": ["Na", "K"]}``; x is
            the fraction of the second one.
        supercell
            Repeats of the structure along a, b, c.
        temperatures
            Temperatures (K). A consolute point needs at least two.
        delta_mu_eV
            Chemical potentials of the second element minus that of the first (eV), instead of `n_potentials` of them.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, a choice, a number or the potential is invalid.
        """
        if not temperatures or len(set(temperatures)) < len(temperatures):
            raise InvalidInputError(f"temperatures: give at least one, and each once; got {list(temperatures)}")
        n_potentials = len(set(delta_mu_eV)) if delta_mu_eV else self.n_potentials
        if n_potentials < MIN_POTENTIALS or (delta_mu_eV and n_potentials < len(delta_mu_eV)):
            raise InvalidInputError(
                f"n_potentials, or the number of different delta_mu_eV, must be at least {MIN_POTENTIALS}; "
                f"got {list(delta_mu_eV) or self.n_potentials}"
            )
        if self.n_terms is not None and self.n_terms < 1:
            raise InvalidInputError(f"n_terms must be at least 1; got {self.n_terms}")
        disorder, second = _disordered(structure, choices, supercell)
        system = AlchemicalSystem(disorder.system.structure, disorder.system.groups, self.coupling)
        maker = self
        if self.n_md_steps:
            check_neighbours(system.structure)
            maker = self.in_crystal(system)
        settings = maker._settings(min(temperatures))
        potential = self.checked_potential(system)
        jobs, start = relaxed_mixture(self.relax_maker, system, disorder.weights.tolist(), potential)
        sampling = MixingSamplesMaker(
            potential=potential,
            settings=settings,
            temperatures_K=sorted(map(float, temperatures)),
            n_potentials=self.n_potentials,
            delta_mu_eV=sorted(map(float, delta_mu_eV)),
            n_terms=self.n_terms,
            seed=self.seed,
        ).make(disorder, second, start)
        name = f"{self.name} {system.formula(disorder.weights)}"
        return failing_onwards(Flow(self.categorised([*jobs, sampling]), output=sampling.output, name=name))

    def _settings(self, temperature_K: float) -> MonteCarloSettings:
        """Return the settings of the job, at the lowest temperature."""
        return self.settings(
            MonteCarloSettings,
            temperature_K=temperature_K,
            pressure_GPa=self.pressure_GPa if self.n_md_steps else None,
            cell_freedom="isotropic" if self.cell_freedom == "auto" else self.cell_freedom,
            n_equilibration_sweeps=self.n_equilibration_sweeps,
            n_production_sweeps=self.n_production_sweeps,
            attempts_per_sweep=self.attempts_per_sweep,
            n_md_steps=self.n_md_steps,
            proposal=self.proposal,
            balancing=self.balancing,
            replica_exchange=self.replica_exchange,
        )


def _disordered(
    structure: Structure, choices: Mapping[str, Sequence[str]], supercell: Sequence[int]
) -> tuple[Disorder, str]:
    """Return the crystal with equal shares of both elements, and the symbol of the second."""
    if len(choices) != 1 or any(len(set(symbols)) != 2 or len(symbols) != 2 for symbols in choices.values()):
        raise InvalidInputError(
            f"choices: a free energy of mixing is that of two elements on the sites of one, such as "
            f"{{'Na': ['Na', 'K']}}; got {dict(choices)}"
        )
    ((element, symbols),) = choices.items()
    present = {site.symbol for site in structure.composition.elements}
    if not structure.is_ordered or element not in present:
        raise InvalidInputError(
            f"structure: it must be ordered and contain {element}; got {structure.composition.formula}"
        )
    mixed = structure.copy()
    mixed.remove_oxidation_states()
    mixed.replace_species({element: dict.fromkeys(symbols, 0.5)})
    return Disorder(mixed, supercell, rounded=True), symbols[1]
