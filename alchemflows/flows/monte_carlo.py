"""The flow that samples the arrangements of a disordered crystal by Monte Carlo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobflow import Flow
from pymatgen.core import Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.analysis.order import Wave
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.arrangements import SampledArrangementsMaker
from alchemflows.jobs.inputs import failing_onwards
from alchemflows.jobs.monte_carlo import ArrangementsMaker, check_moves
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.schemas.dynamics import Schedule, settings
from alchemflows.schemas.monte_carlo import CompositionControl


@dataclass
class MonteCarloMaker(SampledArrangementsMaker):
    """Sample the arrangements of a disordered crystal at one or several temperatures by Monte Carlo.

    See :class:`SampledArrangementsMaker` for the other parameters. The cell moves only between moves: without
    `n_md_steps`, pressure and barostat are not used.

    Parameters
    ----------
    mu_eV
        Chemical potential of each species relative to a reference species (eV), for a variable composition.

        The reference is the species without a value; each sublattice has one. Without any value, the composition is
        constant (canonical ensemble); otherwise the ensemble is semi-grand canonical, and the composition of the
        structure is that of the first arrangements. ``vacancy`` stands for a vacant site. `mu_eV`, `targets` and
        `exchange_mu_eV` exclude each other.
    targets
        Target share of each species but one of each sublattice, for compositions near a target.

        Also compositions inside a miscibility gap are sampled (variance-constrained semi-grand ensemble), and chemical
        potentials follow from the mean shares. The species without a value has the rest.
    stiffness_eV
        Stiffness of the targets per site (eV).

        Without interaction, the variance of a share on n sites is about k_B T / (4 K n) for two species and large K.
    exchange_mu_eV
        Exchanges of species that keep the charge, such as ``2 Ca -> Na + La``, with their chemical potentials (eV).

        A value is the chemical potential of the right side minus that of the left; positive values favour the right
        side. Species also swap places.
    oxidation_states
        Oxidation states of species of exchanges that have several common ones.
    n_replicas
        Number of replicas at each temperature; an even number.

        Half of them start from random arrangements, the others from arrangements of low energy.
    n_switching_steps
        Number of steps of dynamics that carry out an attempted move; 0 for instantaneous moves.
    schedule
        λ as a function of time during such a move.
    replica_exchange
        Whether neighbouring temperatures exchange replicas after each sweep, if there are several temperatures.
    round_composition
        Whether to round the composition to whole atoms in the supercell; otherwise a composition that does not
        correspond to whole atoms is an error.

        Document and verdict state how it was rounded.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import MonteCarloMaker
    >>> sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    >>> mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [{"Na": 0.5, "K": 0.5}, "Cl"], sites)
    >>> maker = MonteCarloMaker(potential="mace-demo", n_replicas=2)
    >>> [job.name for job in maker.make(mixed, (2, 1, 1), [600.0, 800.0]).jobs]
    ['relax mean-field', 'arrangements']
    """

    name: str = "Monte Carlo"
    mu_eV: Mapping[str, float] = field(default_factory=dict)
    targets: Mapping[str, float] = field(default_factory=dict)
    stiffness_eV: float = 1.0
    exchange_mu_eV: Mapping[str, float] = field(default_factory=dict)
    oxidation_states: Mapping[str, float] = field(default_factory=dict)
    n_replicas: int = 4
    n_switching_steps: int = 0
    schedule: Schedule = "ninth-order"
    round_composition: bool = False

    @checked
    def make(
        self,
        structure: Structure,
        supercell: Sequence[int],
        temperatures: Sequence[float],
        *,
        waves: Sequence[Sequence[float]] = (),
    ) -> Flow:
        """Return the flow; its output is a :class:`MonteCarloDocument`.

        Parameters
        ----------
        structure
            Structure with partial occupancies, which set the composition.
        supercell
            Repeats of the structure along a, b, c.
        temperatures
            Temperatures (K).
        waves
            Wave vectors of long-range order parameters, in units of the reciprocal lattice vectors of `structure`.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure is ordered or invalid, its composition does not give whole atoms in the supercell, a wave
            does not fit, the control of the composition is invalid (:meth:`composition`), no exchange is possible at
            this composition, or a number or the potential is invalid.
        """
        if self.n_replicas < 2 or self.n_replicas % 2:
            raise InvalidInputError(
                f"n_replicas must be an even number, at least 2, since half of the replicas start from random "
                f"arrangements and half from arrangements of low energy; got {self.n_replicas}"
            )
        disorder = Disorder(structure, supercell, rounded=self.round_composition)
        composition = self.composition()
        check_moves(Arrangements.of(disorder), composition, disorder)
        for sublattice in disorder.sublattices:
            sites = Structure.from_sites([disorder.system.structure[site] for site in sublattice.sites])
            for wave in waves:
                Wave.of(sites, wave, structure.lattice)
        settings = self.sweep_settings(
            disorder,
            temperatures,
            n_switching_steps=self.n_switching_steps,
            schedule=self.schedule,
            replica_exchange=self.replica_exchange and len(temperatures) > 1,
        )
        potential = self.checked_potential(disorder.system)
        jobs, start = self.relaxed(disorder, potential)
        sampling = ArrangementsMaker(
            potential=potential,
            settings=settings,
            temperatures_K=sorted(map(float, temperatures)),
            n_replicas=self.n_replicas,
            composition=composition,
            seed=self.seed,
            n_frames=self.n_frames,
        ).make(disorder, [list(wave) for wave in waves], start)
        name = f"{self.name} {disorder.system.formula(disorder.weights)}"
        return failing_onwards(Flow(self.categorised([*jobs, sampling]), output=sampling.output, name=name))

    def composition(self) -> CompositionControl:
        """Return what controls the composition.

        Raises
        ------
        InvalidInputError
            If several of `mu_eV`, `targets` and `exchange_mu_eV` are given, `oxidation_states` without exchanges, or a
            number is invalid.
        """
        return settings(
            CompositionControl,
            mu_eV=dict(self.mu_eV),
            targets=dict(self.targets),
            stiffness_eV=self.stiffness_eV,
            exchange_mu_eV=dict(self.exchange_mu_eV),
            oxidation_states=dict(self.oxidation_states),
        )
