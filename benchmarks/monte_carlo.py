"""Compare informed with blind swaps in Monte Carlo on arrangements, with the potential mace-demo.

    python benchmarks/monte_carlo.py [--json FILE] [--quick] [--length 400] [--only NAME ...]

Four solid solutions of 27 to 36 cations are first equilibrated with dynamics, then with informed swaps and dynamics.
From the same states, informed and blind (uniform) swaps are sampled with the same dynamics between them.

The acceptance of blind swaps is the mean of min(1, exp(-ΔE / kT)) over random swaps in the states that the informed
chains visit, which both kinds of chains sample. So few are accepted that counts of them have large errors.

The costs of attempts are measured alternately. A blind swap needs only the energy of a crystal of plain elements, so
that the bounds use this energy, with its graph already built, as the cost of a blind attempt. Attempts of the package
keep what depends on the positions alone as long as these are constant, for both proposals. A uniform proposal of the
package also keeps the nodes of all species; its cost is reported for information. Times of autocorrelation are those
of the Warren-Cowley parameter of nearest neighbours, in attempts, times the cost of an attempt. The time of the
dynamics is the same for both and not counted.

In (Al,Sc)N, where the fewest swaps are accepted, attempts with several tries are compared with those with one try.

In (Li,K)Cl, whose ions differ much in size, swaps are compared with candidate moves, which are carried out by dynamics.
Pairs that are chosen by ∂E/∂w and pairs that are chosen at random are both measured.

The swap Monte Carlo of torch-sim, as published, is installed from PyPI into a folder of its own. It attempts swaps from
the equilibrated states of the first solid solution, beside attempts of this package.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from measure import Report, interleave, reason, seconds
from peers import TorchSimSwaps
from solid_solutions import Bench, Series, Share, mismatched, solutions

from alchemflows.alchemy.backends.loading import mace_model
from alchemflows.sampling.candidate_moves import CandidateSwitch
from alchemflows.sampling.proposals import Proposal
from alchemflows.schemas.monte_carlo import ProposalKind

KINDS: tuple[ProposalKind, ...] = ("informed", "uniform")
#: Acceptance of blind swaps below which the gain must be large, and the bounds of the gain.
RARE, GAIN_IF_RARE, GAIN = 0.07, 10.0, 2.0
COST, TAU, BATCH, SWITCHED = 1.6, 0.2, 1.1, 0.05
#: Attempts of torch-sim for each informed attempt beside it.
BLIND_PER_INFORMED = 10
#: Time step (fs) and schedule of candidate moves.
SWITCH_FS, SWITCH_SCHEDULE = 3.0, "linear"
#: Steps of dynamics before the sweeps.
N_MOVING = 250
#: Solid solution in which several tries are measured, and their number.
TRIED, N_TRIES = "(Al,Sc)N", 4


def compare(report: Report, bench: Bench, length: int, n_swaps: int, rounds: int) -> tuple[Series, np.ndarray]:
    """Measure costs and acceptances of one solid solution; return the informed series and the ratios of the costs."""
    name = bench.solution.name
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
    series = bench.sample(Proposal(), length)
    informed = Share.of(series.accepted.astype(float))
    barker = Share.of(bench.sample(Proposal(balancing="barker"), length).accepted.astype(float))
    blind = bench.blind_acceptance(series.states, n_swaps)
    for kind, share in (("informed", informed), ("informed, Barker", barker), ("blind", blind)):
        around = share.value + share.error * np.array([-1, 1])
        report.target(2, f"{name}: acceptance, {kind}", around, None, value=share.value, unit="share")
    gain = informed.value / blind.value / float(np.median(ratios))
    spread = float(np.std(ratios) / np.mean(ratios) / np.sqrt(rounds))
    error = gain * np.sqrt(informed.relative_error**2 + blind.relative_error**2 + spread**2)
    report.target(
        3,
        f"{name}: accepted moves per second, informed ÷ blind",
        np.array([gain - error, gain + error]),
        GAIN_IF_RARE if blind.value < RARE else GAIN,
        value=gain,
        sense="at least",
        note=f"standard error {error:.2f}",
    )
    return series, ratios


def correlation(report: Report, bench: Bench, informed: Series, length: int, ratios: np.ndarray) -> None:
    """Measure autocorrelation times of one solid solution, from an informed and a blind series."""
    name, n_sites = bench.solution.name, bench.arrangements.n_sites
    series = {"informed": informed, "uniform": bench.sample(Proposal("uniform"), 3 * length)}
    title = f"{name}: autocorrelation time in seconds, informed ÷ blind"
    if not series["uniform"].acceptance:
        report.missing(4, title, TAU, "no blind swap was accepted")
        return
    tau = {kind: found.inefficiency for kind, found in series.items()}
    for kind, g in tau.items():
        report.measure(f"{name}: statistical inefficiency, {kind}", g, "attempts")
    if not series["informed"].long_enough(n_sites):
        report.missing(4, title, TAU, "the informed series is too short")
        return
    if not series["uniform"].long_enough(n_sites):
        report.note(f"{name}: the blind series is short, so that its autocorrelation time may be longer than shown.")
    relative = tau["informed"] / tau["uniform"] * ratios
    report.target(4, title, relative, TAU)


def several_tries(report: Report, bench: Bench, n_attempts: int, rounds: int) -> None:
    """Measure accepted moves per second with several tries relative to one try."""
    name = bench.solution.name
    for kind in KINDS:
        chains = {n: bench.chains(kind, 1, n_tries=n) for n in (1, N_TRIES)}
        times = interleave(
            {str(n): lambda own=own: seconds(own.attempt) for n, own in chains.items()}, rounds, warmup=2
        )
        accepted = {n: bench.sample(Proposal(kind, n_tries=n), n_attempts).acceptance for n in chains}
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


def candidate_moves(report: Report, bench: Bench, n_steps: int, n_sweeps: int) -> None:
    """Measure the acceptance of swaps, and of candidate moves by dynamics, where the sizes differ much.

    The first quarter of the moves of random pairs is equilibration. Moves of informed pairs follow, a third as many.
    """
    name = bench.solution.name
    switch = CandidateSwitch(n_steps, timestep_fs=SWITCH_FS, schedule=SWITCH_SCHEDULE)
    random = bench.switched(switch, "uniform", n_sweeps, bench.start)
    informed = bench.switched(switch, "informed", max(1, n_sweeps // 3), random.end)
    swaps = bench.blind_acceptance([random.end, informed.end], 10 * n_sweeps)
    report.target(6, f"{name}: acceptance, blind swaps", np.array([swaps.value]), None, unit="share")
    moves = {"random": random.accepted[:, n_sweeps // 4 :], "informed": informed.accepted}
    for kind, accepted in moves.items():
        share = accepted.mean()
        error = np.sqrt(share * (1 - share) / accepted.size)
        report.target(
            6,
            f"{name}: acceptance, candidate moves of {n_steps} steps of {SWITCH_FS:g} fs, {kind} pairs",
            share + error * np.array([-1, 1]),
            SWITCHED if kind == "random" else None,
            value=float(share),
            sense="at least",
            unit="share",
            note=f"{accepted.sum()} of {accepted.size} moves",
        )


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
    parser.add_argument("--swaps", type=int, default=25, help="blind swaps in each state of the informed chains")
    parser.add_argument("--switching-steps", type=int, default=300, help="steps of a candidate move")
    parser.add_argument("--switches", type=int, default=20, help="candidate moves of each replica")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="solid solutions to measure, such as '(Ce,Zr)O2'")
    parser.add_argument("--without-autocorrelation", action="store_true", help="leave out target 4")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    quick = arguments.quick
    length, n_replicas, rounds = (20, 2, 3) if quick else (arguments.length, 4, 20)
    settings = {"quick": quick, "length": length, "n_replicas": n_replicas, "threads": arguments.threads}
    report = Report("Monte Carlo on arrangements", "benchmarks/monte_carlo.py", settings)
    begun = time.perf_counter()
    wanted = arguments.only
    try:
        n_sweeps = max(1, length // 30)
        n_moving = 5 if quick else N_MOVING
        for index, solution in enumerate(solutions(quick=quick)):
            if wanted and solution.name not in wanted:
                continue
            bench = Bench(solution, n_replicas, n_sweeps, n_moving)
            series, ratios = compare(report, bench, length, arguments.swaps, rounds)
            if not arguments.without_autocorrelation:
                correlation(report, bench, series, length, ratios)
            if index == 0 and not wanted:
                batch(report, bench, 4 if quick else 32, 3)
                if not quick:
                    beside_torch_sim(report, bench, length // 4, series.acceptance)
            if (quick or solution.name == TRIED) and not wanted:
                several_tries(report, bench, length, 3 if quick else 10)
        if not wanted or mismatched().name in wanted:
            n_steps, n_switches = (4, 4) if quick else (arguments.switching_steps, arguments.switches)
            candidate_moves(report, Bench(mismatched(), n_replicas, 0, 2 * n_moving), n_steps, n_switches)
    finally:  # an interrupted run reports the solid solutions that it has completed
        report.note(f"Total time: {time.perf_counter() - begun:.0f} s.")
        report.finish(arguments.json)


if __name__ == "__main__":
    main()
