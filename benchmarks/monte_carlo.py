"""Compare informed with blind swaps in Monte Carlo on arrangements, with the potential mace-demo.

    python benchmarks/monte_carlo.py [--json FILE] [--quick] [--length 400]

Four solid solutions of 27 to 36 cations are first equilibrated with dynamics, then with informed swaps and dynamics.
From the same states, informed and blind (uniform) swaps are sampled with the same dynamics between them.

The costs of attempts are measured alternately. A blind swap needs only the energy of a crystal of plain elements, so
that the bounds use this energy, with its graph already built, as the cost of a blind attempt. Attempts of the package
keep what depends on the positions alone as long as these are constant, for both proposals. A uniform proposal of the
package also keeps the nodes of all species; its cost is reported for information. Times of autocorrelation are those
of the Warren-Cowley parameter of nearest neighbours, in attempts, times the cost of an attempt. The time of the
dynamics is the same for both and not counted.

In (Al,Sc)N, where the fewest swaps are accepted, attempts with several tries are compared with those with one try.

In (Li,K)Cl, whose ions differ much in size, swaps are compared with candidate moves, which are carried out by dynamics.

The swap Monte Carlo of torch-sim, as published, is installed from PyPI into a folder of its own. It attempts swaps from
the equilibrated states of the first solid solution, beside attempts of this package.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from ase import Atoms
from measure import Report, interleave, reason, seconds
from peers import TorchSimSwaps
from pymatgen.core import Lattice, Structure

from alchemflows import AlchemicalPotential, load_potential
from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.backends.loading import mace_model
from alchemflows.free_energy.errors import correlated_variance
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.sampling.candidate_moves import CandidateSwitch
from alchemflows.sampling.ensembles import Canonical
from alchemflows.sampling.langevin import Langevin
from alchemflows.sampling.monte_carlo import MonteCarlo
from alchemflows.sampling.proposals import Proposal
from alchemflows.sampling.sweeps import Sweeps
from alchemflows.schemas.monte_carlo import MonteCarloSettings, ProposalKind

KINDS: tuple[ProposalKind, ...] = ("informed", "uniform")
#: Attempts and steps of dynamics of a sweep.
N_ATTEMPTS, N_MD_STEPS = 16, 4
#: Acceptance of blind swaps below which the gain must be large, and the bounds of the gain.
RARE, GAIN_IF_RARE, GAIN = 0.07, 10.0, 2.0
COST, TAU, BATCH, SWITCHED = 1.6, 0.2, 1.1, 0.05
#: Attempts of torch-sim for each informed attempt beside it.
BLIND_PER_INFORMED = 10
#: Steps of dynamics before the sweeps.
N_MOVING = 250
#: Solid solution in which several tries are measured, and their number.
TRIED, N_TRIES = "(Al,Sc)N", 4
#: A series must be this many times as long as its statistical inefficiency.
LONG_ENOUGH = 20


@dataclass(frozen=True)
class Solution:
    """A solid solution of two cations in equal parts, in a supercell, at one temperature."""

    name: str
    structure: Structure
    supercell: tuple[int, int, int]
    temperature_K: float
    shell_A: float

    @property
    def disorder(self) -> Disorder:
        """The disordered supercell."""
        return Disorder(self.structure, self.supercell)


def solutions(*, quick: bool) -> list[Solution]:
    """Return the solid solutions; only one small cell for a quick run."""
    rocksalt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.95), [{"Na": 0.5, "K": 0.5}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    if quick:
        return [Solution("(Na,K)Cl", rocksalt, (2, 1, 1), 600, 4.6)]
    fluorite = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.3), [{"Ce": 0.5, "Zr": 0.5}, "O"], [[0, 0, 0], [0.25, 0.25, 0.25]]
    )
    wurtzite = Structure.from_spacegroup(
        186, Lattice.hexagonal(3.3, 5.1), [{"Al": 0.5, "Sc": 0.5}, "N"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.38]]
    )
    perovskite = Structure(
        Lattice.cubic(6.3),
        ["Cs", {"Pb": 14 / 27, "Sn": 13 / 27}, "I", "I", "I"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    )
    return [
        Solution("(Na,K)Cl", rocksalt, (2, 2, 2), 600, 4.6),
        Solution("(Ce,Zr)O2", fluorite, (2, 2, 2), 1500, 4.2),
        Solution("(Al,Sc)N", wurtzite, (3, 3, 2), 1500, 3.6),
        Solution("Cs(Pb,Sn)I3", perovskite, (3, 3, 3), 400, 7.0),
    ]


def mismatched() -> Solution:
    """Return a small cell of ions of very different sizes."""
    metal = {"Li": 0.5, "K": 0.5}
    crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.8), [metal, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return Solution("(Li,K)Cl", crystal, (2, 1, 1), 600, 4.6)


@dataclass(frozen=True)
class Series:
    """Attempts of one kind: share that was accepted, and the Warren-Cowley parameter after each, (replicas, n)."""

    acceptance: float
    order: np.ndarray

    @property
    def inefficiency(self) -> float:
        """Statistical inefficiency, 1 + 2 τ, in attempts, of all replicas together."""
        variance = correlated_variance(list(self.order / self.order.size)).value
        return variance * self.order.size / float(self.order.var())

    def long_enough(self, n_sites: int) -> bool:
        """Whether there are many independent samples, and each replica has moved as many times as it has sites."""
        n_accepted = self.acceptance * self.order.shape[1]
        return self.order.size > LONG_ENOUGH * self.inefficiency and n_accepted >= n_sites


class Bench:
    """Chains of one solid solution, all from the same equilibrated states.

    Parameters
    ----------
    solution
        The solid solution.
    n_replicas
        Number of replicas.
    n_sweeps
        Number of sweeps of the equilibration.
    n_steps
        Number of steps of 2 fs before them, in which atoms relax around the species and begin to vibrate.
    """

    def __init__(self, solution: Solution, n_replicas: int, n_sweeps: int, n_steps: int) -> None:
        self.solution = solution
        disorder = solution.disorder
        self.arrangements = Arrangements.of(disorder)
        self.potential = AlchemicalPotential(self.arrangements.system, load_potential("mace-demo"))
        crystal = self.arrangements.system.structure
        self.pairs = neighbours(crystal, [site for s in disorder.sublattices for site in s.sites], solution.shell_A)
        half = self.arrangements.n_sites // 2
        labels = self.arrangements.random([[self.arrangements.n_sites - half, half]], range(n_replicas))
        sweeps = self._sweeps("informed", self._moved(labels, n_steps), labels)
        for _ in range(n_sweeps * sweeps.length):
            sweeps.step()
        self.start = sweeps.chains.current

    def chains(
        self, kind: ProposalKind, n_replicas: int, switch: CandidateSwitch | None = None, n_tries: int = 1
    ) -> MonteCarlo:
        """Return chains without dynamics between the attempts, from the equilibrated states in turn."""
        chosen = np.arange(n_replicas) % len(self.start.labels)
        return MonteCarlo(
            self.potential,
            Canonical(self.arrangements),
            self.start.positions_A[chosen],
            self.start.cells_A[chosen],
            self.start.labels[chosen],
            temperature_K=self.solution.temperature_K,
            seeds=range(n_replicas),
            proposal=Proposal(kind, n_tries=n_tries),
            switch=switch,
        )

    def sample(self, kind: ProposalKind, n_attempts: int, n_tries: int = 1) -> Series:
        """Sample with dynamics between the attempts."""
        sweeps = self._sweeps(kind, self.start.positions_A, self.start.labels, n_tries)
        orders: list[np.ndarray] = []
        while len(orders) < n_attempts:
            before = sweeps.chains.n_attempts
            sweeps.step()
            if sweeps.chains.n_attempts > before:
                orders.append(self.order(sweeps.chains.current.labels))
        acceptance = sweeps.chains.n_accepted.mean() / sweeps.chains.n_attempts
        return Series(float(acceptance), np.stack(orders, axis=1))

    def order(self, labels: np.ndarray) -> np.ndarray:
        """Return the Warren-Cowley parameter of nearest neighbours, 1 − P(unlike) / (2 x (1 − x)), of each replica."""
        first, second = self.pairs
        share = labels.mean(axis=1)
        return 1 - (labels[:, first] != labels[:, second]).mean(axis=1) / (2 * share * (1 - share))

    def atoms(self) -> list[Atoms]:
        """Return the equilibrated states as atoms of ASE."""
        states = []
        for weights, positions in zip(
            self.arrangements.weights(self.start.labels), self.start.positions_A, strict=True
        ):
            states.append(self.arrangements.system.at_vertex(weights).to_ase_atoms())
            states[-1].set_positions(positions)
        return states

    def plain_energy(self) -> None:
        """Compute the energy of one arrangement as a crystal of plain elements."""
        weights = self.arrangements.weights(self.start.labels[:1])
        place = self.start.positions_A[:1], self.start.cells_A[:1]
        self.potential.evaluate(*place, weights, forces=False, stress=False, weight_gradients=False)

    def _moved(self, labels: np.ndarray, n_steps: int) -> np.ndarray:
        """Return positions after dynamics from those of the crystal (Å), shape (B, N, 3)."""
        system, weights = self.arrangements.system, self.arrangements.weights(labels)
        langevin = Langevin(
            self.potential,
            np.repeat(system.structure.cart_coords[None], len(labels), axis=0),
            np.repeat(system.structure.lattice.matrix[None], len(labels), axis=0),
            weights,
            system.masses(weights),
            temperature_K=np.full(len(labels), self.solution.temperature_K),
            timestep_fs=2.0,
            friction_per_ps=10.0,
            seeds=list(range(2000, 2000 + len(labels))),
        )
        for _ in range(n_steps):
            langevin.step()
        return langevin.positions.cpu().numpy()

    def _sweeps(self, kind: ProposalKind, positions: np.ndarray, labels: np.ndarray, n_tries: int = 1) -> Sweeps:
        n_replicas, system = len(labels), self.arrangements.system
        place = np.broadcast_to(positions, (n_replicas, system.n_sites, 3)).copy()
        cells = np.repeat(system.structure.lattice.matrix[None], n_replicas, axis=0)
        settings = MonteCarloSettings(
            temperature_K=self.solution.temperature_K,
            timestep_fs=1.0,
            attempts_per_sweep=N_ATTEMPTS,
            n_md_steps=N_MD_STEPS,
            proposal=kind,
            n_tries=n_tries,
        )
        temperatures = np.full(n_replicas, self.solution.temperature_K)
        chains = MonteCarlo(
            self.potential,
            Canonical(self.arrangements),
            place,
            cells,
            labels,
            temperature_K=temperatures,
            seeds=range(n_replicas),
            proposal=Proposal(kind, n_tries=n_tries),
        )
        weights = self.arrangements.weights(labels)
        seeds = list(range(1000, 1000 + n_replicas))
        masses = system.masses(weights)
        langevin = Langevin.under(settings, self.potential, (place, cells), weights, masses, seeds)
        return Sweeps(chains, settings, temperatures, langevin)


def neighbours(crystal: Structure, sites: list[int], shell_A: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of sites (as indices in `sites`) that are nearer than a distance."""
    cations = Structure.from_sites([crystal[site] for site in sites])
    first, second, _, _ = cations.get_neighbor_list(shell_A)
    return first, second


def compare(report: Report, bench: Bench, length: int, rounds: int) -> float:
    """Measure costs, acceptances and autocorrelation times of one solid solution; return the informed acceptance."""
    name, n_sites = bench.solution.name, bench.arrangements.n_sites
    chains = {kind: bench.chains(kind, 1) for kind in KINDS}
    times = interleave(
        {
            "informed": lambda: seconds(chains["informed"].attempt),
            "uniform": lambda: seconds(chains["uniform"].attempt),
            "plain": lambda: seconds(bench.plain_energy),
        },
        rounds,
        warmup=5,
    )
    for kind, values in times.items():
        report.times(f"{name}: {'energy of plain elements' if kind == 'plain' else f'{kind} attempt'}", values)
    ratios = times["informed"] / times["plain"]
    report.target(1, f"{name}: informed attempt ÷ energy of plain elements", ratios, COST)
    of_package = times["informed"] / times["uniform"]
    report.target(1, f"{name}: informed attempt ÷ uniform attempt of the package", of_package, None)
    series = {"informed": bench.sample("informed", length), "uniform": bench.sample("uniform", 3 * length)}
    for kind, found in series.items():
        report.target(2, f"{name}: acceptance, {kind}", np.array([found.acceptance]), None, unit="share")
    blind = series["uniform"].acceptance
    if blind:
        gain = series["informed"].acceptance / blind / ratios
        bound = GAIN_IF_RARE if blind < RARE else GAIN
        report.target(3, f"{name}: accepted moves per second, informed ÷ blind", gain, bound, sense="at least")
    else:
        report.missing(3, f"{name}: accepted moves per second", GAIN_IF_RARE, "no blind swap was accepted")
    title = f"{name}: autocorrelation time in seconds, informed ÷ blind"
    if not blind:
        report.missing(4, title, TAU, "no blind swap was accepted")
        return series["informed"].acceptance
    tau = {kind: found.inefficiency for kind, found in series.items()}
    for kind, g in tau.items():
        report.measure(f"{name}: statistical inefficiency, {kind}", g, "attempts")
    if not series["informed"].long_enough(n_sites):
        report.missing(4, title, TAU, "the informed series is too short")
        return series["informed"].acceptance
    if not series["uniform"].long_enough(n_sites):
        report.note(f"{name}: the blind series is short, so that its autocorrelation time may be longer than shown.")
    relative = tau["informed"] / tau["uniform"] * ratios
    report.target(4, title, relative, TAU)
    return series["informed"].acceptance


def several_tries(report: Report, bench: Bench, n_attempts: int, rounds: int) -> None:
    """Measure accepted moves per second with several tries relative to one try."""
    name = bench.solution.name
    for kind in KINDS:
        chains = {n: bench.chains(kind, 1, n_tries=n) for n in (1, N_TRIES)}
        times = interleave(
            {str(n): lambda own=own: seconds(own.attempt) for n, own in chains.items()}, rounds, warmup=2
        )
        accepted = {n: bench.sample(kind, n_attempts, n).acceptance for n in chains}
        title = f"{name}: acceptance, {kind}, {N_TRIES} tries"
        report.target(7, title, np.array([accepted[N_TRIES]]), None, unit="share")
        title = f"{name}: accepted moves per second, {kind}, {N_TRIES} tries ÷ one"
        if not accepted[1]:
            report.missing(7, title, None, "no move with one try was accepted")
            continue
        gain = accepted[N_TRIES] / accepted[1] * np.median(times["1"]) / times[str(N_TRIES)]
        report.target(7, title, gain, None)


def batch(report: Report, bench: Bench, n_replicas: int, rounds: int) -> None:
    """Measure the time of a batch relative to that of single replicas."""
    chains = {n: bench.chains("informed", n) for n in (1, n_replicas)}
    contenders = {str(n): lambda n=n: seconds(chains[n].attempt) for n in chains}
    times = interleave(contenders, rounds, warmup=1)
    ratio = times[str(n_replicas)] / (n_replicas * np.median(times["1"]))
    report.target(5, f"{bench.solution.name}: {n_replicas} replicas ÷ ({n_replicas} × one replica)", ratio, BATCH)


def candidate_moves(report: Report, bench: Bench, n_steps: int, n_attempts: int) -> None:
    """Measure the acceptance of blind swaps, and of candidate moves by dynamics, where the sizes differ much."""
    name = bench.solution.name
    swaps = bench.sample("uniform", 10 * n_attempts)
    report.target(6, f"{name}: acceptance, uniform swaps", np.array([swaps.acceptance]), None, unit="share")
    chains = bench.chains("informed", len(bench.start.labels), CandidateSwitch(n_steps, timestep_fs=1.0))
    for _ in range(n_attempts):
        chains.attempt()
    acceptance = float(chains.n_accepted.mean() / chains.n_attempts)
    title = f"{name}: acceptance, candidate moves of {n_steps} steps"
    report.target(6, title, np.array([acceptance]), SWITCHED, sense="at least", unit="share")


def beside_torch_sim(report: Report, bench: Bench, n_attempts: int, acceptance: float) -> None:
    """Measure accepted moves per second relative to torch-sim, whose attempts start from the equilibrated states.

    Parameters
    ----------
    report
        The report.
    bench
        Chains of a solid solution.
    n_attempts
        Number of attempts of both whose times are measured; torch-sim has more, since few are accepted.
    acceptance
        Share of the informed attempts that are accepted, with dynamics between them.
    """
    name = bench.solution.name
    title = f"{name}: accepted moves per second, informed ÷ torch-sim"
    chains = bench.chains("informed", len(bench.start.labels))
    with TemporaryDirectory() as folder:
        try:
            swaps = TorchSimSwaps(mace_model("mace-demo"), bench.atoms(), bench.solution.temperature_K, Path(folder))
        except ImportError as error:
            report.missing(8, title, None, reason(error))
            return
        difference = np.abs(np.array(swaps.energies_eV) - chains.current.energy_eV)
        report.measure(f"{name}: largest difference of the energies of torch-sim", float(difference.max()), "eV")
        one = bench.chains("informed", 1)
        contenders = {
            kind: lambda own=own: seconds(own.attempt) for kind, own in (("informed", one), ("torch-sim", swaps))
        }
        times = interleave(contenders, n_attempts, warmup=2)
        while swaps.n_attempts < BLIND_PER_INFORMED * n_attempts:
            swaps.attempt()
    for kind, values in times.items():
        report.times(f"{name}: {kind} attempt beside the other", values)
    report.target(
        8, f"{name}: acceptance, torch-sim", np.array([swaps.n_accepted / swaps.n_attempts]), None, unit="share"
    )
    if not swaps.n_accepted:
        report.missing(8, title, None, "torch-sim accepted no swap")
        return
    gain = acceptance * swaps.n_attempts / swaps.n_accepted * times["torch-sim"] / np.median(times["informed"])
    report.target(8, title, gain, None)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the report to this file")
    parser.add_argument("--quick", action="store_true", help="one small cell and few attempts; the bounds do not apply")
    parser.add_argument("--length", type=int, default=400, help="informed attempts of each replica; blind: 3 times")
    parser.add_argument("--switching-steps", type=int, default=128, help="steps of a candidate move")
    parser.add_argument("--without-candidate-moves", action="store_true", help="leave out target 6")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    quick = arguments.quick
    length, n_replicas, rounds = (20, 2, 3) if quick else (arguments.length, 4, 20)
    settings = {"quick": quick, "length": length, "n_replicas": n_replicas, "threads": arguments.threads}
    report = Report("Monte Carlo on arrangements", "benchmarks/monte_carlo.py", settings)
    begun = time.perf_counter()
    try:
        n_sweeps = max(1, length // 30)
        n_moving = 5 if quick else N_MOVING
        for index, solution in enumerate(solutions(quick=quick)):
            bench = Bench(solution, n_replicas, n_sweeps, n_moving)
            acceptance = compare(report, bench, length, rounds)
            if index == 0:
                batch(report, bench, 4 if quick else 32, 3)
            if index == 0 and not quick:
                beside_torch_sim(report, bench, length // 4, acceptance)
            if quick or solution.name == TRIED:
                several_tries(report, bench, length, 3 if quick else 10)
        if not arguments.without_candidate_moves:
            n_steps, n_attempts = (4, 2) if quick else (arguments.switching_steps, 20)
            candidate_moves(report, Bench(mismatched(), n_replicas, 1, 2 * n_moving), n_steps, n_attempts)
    finally:  # an interrupted run reports the solid solutions that it has completed
        report.note(f"Total time: {time.perf_counter() - begun:.0f} s.")
        report.finish(arguments.json)


if __name__ == "__main__":
    main()
