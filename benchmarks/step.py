"""Measure targets 1 to 5 and 7: the cost of an MD step, relative to the plain calculators in the same process.

    python benchmarks/step.py [--quick] [--targets 1,2] [--threads 2] [--json FILE]

1. alchemical step (E, F, σ, dE/dλ at λ = ½) ÷ step of the plain MACECalculator (E, F, σ), 89 elements
2. the same for the plain SevenNetCalculator, SevenNet-0, and for the CHGNetCalculator, CHGNet
3. fraction of the time of an MD step that the sampler itself takes
4. energies of one sample at 21 windows ÷ plain step
5. exponent of the cost in the number of atoms and of replicas
7. alchemical step as in 1 ÷ plain step of symmetrix-xl (E, F, σ), a compiled MACE, which is installed from PyPI

Contenders run alternately, one call each. Ratios are computed in each round, and their median is reported. Every call
has new positions, one step of a random walk from the previous ones, the same for all contenders. The first calls, in
which TorchScript compiles, are not timed. Targets 1, 2 and 7 are measured with built-in and with compiled kernels; the
first call of these compiles them, unless code of an earlier run is found. All models run in float32. A missed target is
reported; the exit code is 0.
"""

from __future__ import annotations

import argparse
import inspect
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from ase.calculators.calculator import Calculator
from mace.calculators import MACECalculator
from measure import Report, interleave, loglog_slope, reason, seconds
from peers import chgnet_calculator, sevennet_calculator, symmetrix_calculator
from workloads import FULL, QUICK, Shape, atoms, perovskite, potential, random_mace, replicas

from alchemflows.alchemy.interfaces import Evaluation
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.errors import PotentialError
from alchemflows.sampling.langevin import Langevin
from alchemflows.sampling.windows import sample_windows
from alchemflows.schemas.dynamics import MIN_SAMPLES, DynamicsSettings

#: One coordinate's displacement from step to step (Å, standard deviation), as in MD at about 400 K and 2 fs.
STEP_A = 0.003
LAMBDA = 0.5
N_WINDOWS = 21
TEMPERATURE_K = 400.0


@dataclass(frozen=True)
class Settings:
    """Amount of measurements. Sizes are repeats of the five-atom cell along each axis. Quick runs compile nothing."""

    quick: bool
    shape: Shape
    rounds: int
    warmup: int
    sizes: tuple[int, ...]
    md_steps: int
    scaling_rounds: int
    scaling_warmup: int
    scaling_sizes: tuple[int, ...]
    replicas: tuple[int, ...]


FULL_RUN = Settings(False, FULL, 40, 10, (2, 3), 400, 7, 5, (2, 3, 4, 5, 6), (1, 2, 4, 8, 16, 32))
QUICK_RUN = Settings(True, QUICK, 3, 2, (1,), 6, 2, 1, (1, 2), (1, 2))


class Bench:
    """Settings, report and the random model, which is made when it is first used."""

    def __init__(self, settings: Settings, report: Report, folder: Path, threads: int) -> None:
        self.settings = settings
        self.report = report
        self.folder = folder
        self.threads = threads
        self._file = folder / "random.model"

    @property
    def size(self) -> int:
        """Repeats of the cell for targets with one size: the smallest, 40 atoms in a full run."""
        return self.settings.sizes[0]

    @property
    def model_file(self) -> Path:
        """The random model's file."""
        return self._file if self._file.exists() else random_mace(self._file, self.settings.shape)

    def mace_calculator(self) -> Calculator:
        """Return the plain calculator of the random model."""
        return MACECalculator(model_paths=str(self.model_file), device="cpu", default_dtype="float32")


class Walk:
    """Random walk of positions (N, 3); walks with the same seed are the same."""

    def __init__(self, path: AlchemicalPath, seed: int = 1) -> None:
        self._positions = path.system.structure.cart_coords.copy()
        self._rng = np.random.default_rng(seed)

    def __call__(self) -> np.ndarray:
        self._positions = self._positions + self._rng.normal(0, STEP_A, self._positions.shape)
        return self._positions


def alchemical_step(model: AlchemicalPotential, path: AlchemicalPath) -> Callable[[], float]:
    """Contender: E, F, σ and dE/dλ at an interior λ."""
    walk, cells, weights = Walk(path), path.system.structure.lattice.matrix[None], path.weights([LAMBDA])

    def step(positions: np.ndarray) -> np.ndarray:
        evaluation = model.evaluate(positions[None], cells, weights)
        assert evaluation.weight_gradients is not None
        return evaluation.weight_gradients.cpu().numpy() @ path.direction

    def contender() -> float:
        positions = walk()
        return seconds(lambda: step(positions))

    return contender


def plain_step(calculator: Calculator, path: AlchemicalPath) -> Callable[[], float]:
    """Contender: E, F and σ through ASE."""
    walk, crystal = Walk(path), atoms(path)
    crystal.calc = calculator

    def step(positions: np.ndarray) -> None:
        crystal.positions = positions
        crystal.get_potential_energy()
        crystal.get_forces()
        crystal.get_stress()

    def contender() -> float:
        positions = walk()
        return seconds(lambda: step(positions))

    return contender


def window_energies(model: AlchemicalPotential, path: AlchemicalPath) -> Callable[[], float]:
    """Contender: u_nk of one sample, after the sampler has evaluated the same positions."""
    walk, cells = Walk(path), path.system.structure.lattice.matrix[None]
    weights, ladder = path.weights([LAMBDA]), path.weights(np.linspace(0, 1, N_WINDOWS))[None]

    def contender() -> float:
        positions = walk()[None]
        model.evaluate(positions, cells, weights)
        return seconds(lambda: model.energies(positions, cells, ladder).cpu())

    return contender


def compare_steps(
    bench: Bench, number: int, bounds: Sequence[float], peer: str, name: str, calculator: Callable[[], Calculator]
) -> None:
    """Measure the ratio of an alchemical step to a plain one, at every size with its bound."""
    for size, bound in zip(bench.settings.sizes, bounds, strict=False):  # a quick run has one size
        path = perovskite(size)
        n = path.system.n_sites
        kernels = {"": potential(name, path)}
        if not bench.settings.quick and not kernels[""].backend.has_bonds:
            kernels[", compiled"] = potential(name, path, compiled=True)
        compare(
            bench,
            number,
            bound,
            path,
            [
                Ours(
                    f"alchemical E, F, σ, dE/dλ, {peer}, {n} atoms{kind}",
                    f"alchemical ÷ plain step, {peer}, {n} atoms{kind}",
                    alchemical_step(model, path),
                )
                for kind, model in kernels.items()
            ],
            (f"plain E, F, σ, {peer}, {n} atoms", calculator()),
        )


@dataclass(frozen=True)
class Ours:
    """One of our functions: the name of its times, the title of their ratio to those of a plain step, and itself."""

    name: str
    title: str
    contender: Callable[[], float]


def compare(
    bench: Bench,
    number: int,
    bound: float | None,
    path: AlchemicalPath,
    ours: Sequence[Ours],
    plain: tuple[str, Calculator],
) -> None:
    """Measure the ratios of our functions to a plain step, whose name is that of its times."""
    contenders = {each.name: each.contender for each in ours} | {plain[0]: plain_step(plain[1], path)}
    for name, contender in contenders.items():
        bench.report.measure(f"first call: {name}", contender(), "s")
    times = interleave(contenders, bench.settings.rounds, bench.settings.warmup)
    for name in contenders:
        bench.report.times(name, times[name])
    for each in ours:
        bench.report.target(number, each.title, times[each.name] / times[plain[0]], bound)


def target_1(bench: Bench) -> None:
    """Measure the ratio of the step to that of MACECalculator."""
    compare_steps(bench, 1, (0.20, 0.15), bench.settings.shape.label, str(bench.model_file), bench.mace_calculator)


def target_2(bench: Bench) -> None:
    """Measure the ratios of the steps to those of SevenNetCalculator and CHGNetCalculator."""
    for bounds, label, name, made in (
        ((0.40, 0.35), "SevenNet-0", "sevennet-0", sevennet_calculator),
        ((0.60, 0.60), "CHGNet", "chgnet", chgnet_calculator),
    ):
        try:
            calculator = made()
        except ImportError as error:
            bench.report.missing(2, f"alchemical ÷ plain step, {label}", bounds[0], reason(error))
            continue
        compare_steps(bench, 2, bounds, label, name, calculator)


def target_7(bench: Bench) -> None:
    """Measure the ratio of the step to the plain step of symmetrix-xl."""
    label = f"{bench.settings.shape.label} beside symmetrix-xl"
    try:
        calculator, compiling_s = symmetrix_calculator(bench.model_file, bench.folder, bench.threads)
    except ImportError as error:
        bench.report.missing(7, f"alchemical ÷ plain step, {label}", 1.25, reason(error))
        return
    bench.report.measure(f"conversion and compilation by symmetrix-xl, {bench.settings.shape.label}", compiling_s, "s")
    compare_steps(bench, 7, (1.25, 1.25), label, str(bench.model_file), lambda: calculator)


class Timed:
    """Potential that measures the time spent in it."""

    def __init__(self, model: AlchemicalPotential) -> None:
        self.model = model
        self.seconds = 0.0

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.device

    def evaluate(self, *arguments: Any, **options: Any) -> Evaluation:
        """Evaluate and add the time."""
        start = perf_counter()
        result = self.model.evaluate(*arguments, **options)
        self.seconds += perf_counter() - start
        return result

    def energies(self, *arguments: Any) -> torch.Tensor:
        """Evaluate at many weights and add the time."""
        start = perf_counter()
        result = self.model.energies(*arguments)
        self.seconds += perf_counter() - start
        return result


def target_3(bench: Bench) -> None:
    """Measure the fraction of time that the sampler itself takes."""
    sampler_share(bench, bench.settings.shape.label, str(bench.model_file), 0.03)
    try:
        potential("mace-demo", perovskite(bench.size))
    except PotentialError as error:
        for title in _shares("mace-demo"):
            bench.report.missing(3, title, 0.15, reason(error), unit="share")
    else:
        sampler_share(bench, "mace-demo", "mace-demo", 0.15)


def sampler_share(bench: Bench, label: str, name: str, bound: float) -> None:
    """Run dynamics, and report the time outside the potential.

    In the first value the potential includes all of ``evaluate``. In the second, rebuilding the neighbour lists counts
    as part of the sampler: for each step with a rebuild, the excess of its evaluation time over the median of the
    others. The third value is for a whole run of ``sample_windows`` with its samples.
    """
    path = perovskite(bench.size)
    model = Timed(potential(name, path))
    positions, cells = replicas(path, 1)
    weights = path.weights([LAMBDA])
    langevin = Langevin(
        model,
        positions,
        cells,
        weights,
        path.system.masses(weights),
        temperature_K=TEMPERATURE_K,
        timestep_fs=2.0,
        friction_per_ps=5.0,
        seeds=[1],
    )
    steps, inside, track = [], [], [langevin.positions.numpy().copy()]
    for _ in range(bench.settings.warmup + bench.settings.md_steps):
        model.seconds = 0.0
        steps.append(seconds(langevin.step))
        inside.append(model.seconds)
        track.append(langevin.positions.numpy().copy())
    step_s, potential_s, rebuilt = (
        np.array(values)[bench.settings.warmup :] for values in (steps, inside, rebuilds(track))
    )
    own_s = step_s - potential_s
    rebuilding_s = np.zeros_like(own_s)
    if rebuilt.any() and not rebuilt.all():
        rebuilding_s[rebuilt] = np.maximum(potential_s[rebuilt] - np.median(potential_s[~rebuilt]), 0)

    n = path.system.n_sites
    bench.report.times(f"step of dynamics, {label}, {n} atoms", step_s)
    bench.report.times(f"the sampler's own part of it, {label}, {n} atoms", own_s)
    bench.report.measure(f"neighbour lists rebuilt, {label}, {n} atoms", rebuilt.sum(), f"in {len(rebuilt)} steps")
    titles = _shares(label)
    bench.report.target(3, titles[0], own_s / step_s, bound, unit="share")
    total = float((own_s + rebuilding_s).sum() / step_s.sum())
    bench.report.target(3, titles[1], np.array([total]), bound, unit="share", note="total of all steps")

    interval = min(10, bench.settings.md_steps)
    dynamics = DynamicsSettings(
        temperature_K=TEMPERATURE_K,
        n_equilibration_steps=0,
        n_production_steps=interval * max(MIN_SAMPLES, bench.settings.md_steps // (4 * interval)),
        sample_interval_steps=interval,
    )
    lambdas = np.linspace(0, 1, N_WINDOWS).tolist()
    sample_windows(model, path, lambdas, [N_WINDOWS // 2], dynamics)  # compiles the functions that only samples use
    model.seconds = 0.0
    whole_s = seconds(lambda: sample_windows(model, path, lambdas, [N_WINDOWS // 2], dynamics))
    bench.report.target(
        3,
        titles[2],
        np.array([(whole_s - model.seconds) / whole_s]),
        None,
        unit="share",
        note=f"{dynamics.n_production_steps} steps, u_nk at {N_WINDOWS} windows every {interval}",
    )


def _shares(label: str) -> list[str]:
    return [
        f"sampler's share of a step, {label}",
        f"the same, rebuilding of neighbour lists included, {label}",
        f"sampler's share of sample_windows, {label}",
    ]


def rebuilds(track: list[np.ndarray]) -> np.ndarray:
    """Return after which steps the neighbour list is rebuilt: an atom has moved half the skin since the last rebuild.

    Parameters
    ----------
    track
        Positions at the start and after each step, each (B, N, 3), Å.
    """
    half = inspect.signature(AlchemicalPotential).parameters["skin_A"].default / 2
    reference, rebuilt = track[0], []
    for positions in track[1:]:
        rebuilt.append(bool((np.linalg.norm(positions - reference, axis=-1) >= half).any()))
        if rebuilt[-1]:
            reference = positions
    return np.array(rebuilt)


def target_4(bench: Bench) -> None:
    """Measure the ratio of u_nk to plain steps."""
    path = perovskite(bench.size)
    n = path.system.n_sites
    peers: list[tuple[str, str, float | None, Callable[[], Calculator]]] = [
        (bench.settings.shape.label, str(bench.model_file), 6.0, bench.mace_calculator)
    ]
    try:
        peers.append(("SevenNet-0", "sevennet-0", None, sevennet_calculator()))
    except ImportError as error:
        bench.report.missing(4, "u_nk ÷ plain step, SevenNet-0", None, reason(error))
    for label, name, bound, calculator in peers:
        compare(
            bench,
            4,
            bound,
            path,
            [
                Ours(
                    f"u_nk of one sample at {N_WINDOWS} windows, {label}, {n} atoms",
                    f"u_nk at {N_WINDOWS} windows ÷ plain step, {label}, {n} atoms",
                    window_energies(potential(name, path), path),
                )
            ],
            (f"plain E, F, σ in the same rounds, {label}, {n} atoms", calculator()),
        )


def target_5(bench: Bench) -> None:
    """Measure the exponents of the cost."""
    label, settings = bench.settings.shape.label, bench.settings
    by_atoms, n_atoms = [], []
    for size in settings.scaling_sizes:
        path = perovskite(size)
        contender = alchemical_step(potential(bench.model_file, path), path)
        times = interleave({"": contender}, settings.scaling_rounds, settings.scaling_warmup)[""]
        by_atoms.append(times)
        n_atoms.append(path.system.n_sites)
        bench.report.times(f"alchemical E, F, σ, dE/dλ, {label}, {n_atoms[-1]} atoms, 1 replica", times)
    by_replicas = []
    path = perovskite(bench.size)
    for n in settings.replicas:
        contender = batch_step(potential(bench.model_file, path), path, n)
        times = interleave({"": contender}, settings.scaling_rounds, settings.scaling_warmup)[""]
        by_replicas.append(times)
        title = f"alchemical E, F, σ, dE/dλ, {label}, {path.system.n_sites} atoms, {n} replicas in a batch"
        bench.report.times(title, times)
    for what, counts, series in (("atoms", n_atoms, by_atoms), ("replicas", settings.replicas, by_replicas)):
        sizes, rows = np.array(counts, dtype=float), np.array(series)
        bench.report.target(
            5,
            f"exponent of the cost, {what} {counts[0]} → {counts[-1]:,}, {label}",
            np.array([loglog_slope(sizes, row) for row in rows.T]),
            1.05,
            value=loglog_slope(sizes, np.median(rows, axis=1)),
            unit="exponent",
            note=f"fit to {len(counts)} medians",
        )


def batch_step(model: AlchemicalPotential, path: AlchemicalPath, n: int) -> Callable[[], float]:
    """Contender: E, F, σ and ∂E/∂w of n replicas, each at a different λ inside the path."""
    positions, cells = replicas(path, n)
    weights = path.weights(np.linspace(0, 1, n + 2)[1:-1])
    rng = np.random.default_rng(1)

    def contender() -> float:
        nonlocal positions
        positions = positions + rng.normal(0, STEP_A, positions.shape)
        return seconds(lambda: model.evaluate(positions, cells, weights))

    return contender


TARGETS = {1: target_1, 2: target_2, 3: target_3, 4: target_4, 5: target_5, 7: target_7}


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="What a step costs: targets 1 to 5, and 7.")
    parser.add_argument(
        "--targets", default="1,2,3,4,5,7", help="targets to measure, separated by commas (default: all)"
    )
    parser.add_argument("--threads", type=int, default=2, help="number of torch threads (default: 2)")
    parser.add_argument("--quick", action="store_true", help="small model and cells, few rounds: to test the script")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    chosen = parser.parse_args()
    try:
        chosen.targets = sorted({int(number) for number in chosen.targets.split(",")})
    except ValueError:
        parser.error(f"--targets takes numbers with commas; got {chosen.targets!r}")
    if unknown := [str(number) for number in chosen.targets if number not in TARGETS]:
        parser.error(f"no target {', '.join(unknown)}; choose from {', '.join(map(str, TARGETS))}")
    return chosen


def main() -> None:
    """Measure the chosen targets and report them."""
    chosen = arguments()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(chosen.threads)
    settings = QUICK_RUN if chosen.quick else FULL_RUN
    report = Report(
        "The cost of a step",
        "benchmarks/step.py",
        {"quick": chosen.quick, "threads": chosen.threads, "rounds": settings.rounds, "warmup": settings.warmup},
    )
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(settings, report, Path(folder), chosen.threads)
        for number in chosen.targets:
            TARGETS[number](bench)
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
