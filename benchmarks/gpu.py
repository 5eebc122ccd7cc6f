"""Measure target 6: a ladder of replicas in one batch on a GPU, relative to the ASE calculator.

    python benchmarks/gpu.py [--device cuda] [--cueq] [--json FILE]
    python benchmarks/gpu.py --device cpu --quick    # to test the script without a GPU

The ladder is 32 replicas of 40 atoms, λ from 0 to 1, in the package's Langevin dynamics at 400 K and 2 fs. It is
compared with ASE's Langevin dynamics of one replica with the plain MACECalculator. A few tens of ASE steps are timed;
32 consecutive runs are assumed to take 32 times as long. Both run alternately for some steps. MACECalculator cannot
read the file of mace-demo, so mace-demo is compared with ASE and the package's own calculator.

Also measured: ns/day and atoms·steps/s, peak memory of the device, the fraction of time in which the device works, a
run of ``sample_windows`` with its samples, the batch with CUDA graphs (target 8), cuEquivariance through MACE's own
conversion (`--cueq`), and an evaluation on a device with too little memory for the batch. All models run in float32.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin as AseLangevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from mace.calculators import MACECalculator
from measure import Report, interleave, reason, seconds
from workloads import FULL, QUICK, Shape, atoms, perovskite, potential, random_mace, replicas

from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.errors import PotentialError
from alchemflows.sampling.langevin import Langevin
from alchemflows.sampling.windows import sample_windows
from alchemflows.schemas.dynamics import MIN_SAMPLES, DynamicsSettings
from alchemflows.schemas.potential import PotentialSpec

BOUND = 15.0
#: MD steps per second of all replicas (four times those of 2026-11-26 on an H100), and share of the device at work.
GRAPH_RATE, GRAPH_SHARE = 4 * 1349.0, 0.7
TEMPERATURE_K = 400.0
TIMESTEP_FS = 2.0
FRICTION_PER_PS = 5.0
FS_PER_NS = 1e6
SECONDS_PER_DAY = 86400
#: Memory limit: the memory of the model plus this fraction of the additional memory of the batch.
STARVED = 0.6


@dataclass(frozen=True)
class Settings:
    """Amount of measurements. The size is the number of five-atom cells along each axis."""

    shape: Shape
    size: int
    n_replicas: int
    steps: int
    rounds: int
    warmup: int
    sample_interval: int


FULL_RUN = Settings(FULL, 2, 32, 10, 10, 3, 20)
QUICK_RUN = Settings(QUICK, 1, 3, 2, 2, 1, 4)


@dataclass(frozen=True)
class Case:
    """A model, and the ASE calculator with which its ladder is compared."""

    label: str
    name: str
    peer: str
    calculator: Callable[[AlchemicalPath], Calculator]


class Bench:
    """Settings, report and device of the benchmark."""

    def __init__(self, settings: Settings, report: Report, device: str, folder: Path) -> None:
        self.settings = settings
        self.report = report
        self.device = device
        self.folder = folder
        self.path = perovskite(settings.size)

    @property
    def cuda(self) -> bool:
        """Whether the device is a GPU, whose memory can be measured."""
        return torch.device(self.device).type == "cuda"

    @property
    def lambdas(self) -> list[float]:
        """λ of each replica of the ladder."""
        return np.linspace(0, 1, self.settings.n_replicas).tolist()


def ladder(bench: Bench, case: Case) -> None:
    """Measure one case: the batch, the ASE calculator, and further properties of the batch."""
    s, path = bench.settings, bench.path
    n_atoms = path.system.n_sites
    model = potential(case.name, path, bench.device)
    batch = dynamics(bench, model)
    single = ase_dynamics(atoms(path), case.calculator(path))

    def advance() -> None:
        for _ in range(s.steps):
            batch.step()

    times = interleave(
        {
            "batch": lambda: seconds(advance, bench.device) / s.steps,
            "ASE": lambda: seconds(lambda: single.run(s.steps), bench.device) / s.steps,
        },
        s.rounds,
        s.warmup,
    )
    what = f"{s.n_replicas} × {n_atoms} atoms, {case.label}"
    bench.report.times(f"step of the batch, {what}", times["batch"])
    bench.report.times(f"step of one run, {case.peer}, {n_atoms} atoms", times["ASE"])
    bench.report.target(
        6,
        f"ladder in one batch ÷ one after the other ({case.peer}), MD steps per second, {what}",
        s.n_replicas * times["ASE"] / times["batch"],
        BOUND,
        sense="at least",
        note=f"one ASE run timed, {s.n_replicas} of them taken to need {s.n_replicas} times as long",
    )
    rate = s.n_replicas / times["batch"]
    bench.report.measure(f"MD steps of all replicas, {what}", rate, "steps/s")
    bench.report.measure(f"MD of all replicas, {what}", rate * TIMESTEP_FS / FS_PER_NS * SECONDS_PER_DAY, "ns/day")
    bench.report.measure(f"atoms · steps, {what}", rate * n_atoms, "1/s")

    if bench.cuda:
        torch.cuda.reset_peak_memory_stats(bench.device)
        advance()
        peak = torch.cuda.max_memory_allocated(bench.device) / 2**30
        bench.report.measure(f"peak memory of the batch, {what}", peak, "GiB")
        share = 100 * device_seconds(advance) / (s.steps * float(np.median(times["batch"])))
        bench.report.measure(f"time of the device at work, {what}", share, "%")
        graphs(bench, case, what, rate)
    production(bench, model, what)


def graphs(bench: Bench, case: Case, what: str, rate: np.ndarray) -> None:
    """Measure the batch with evaluations that are repeated as CUDA graphs, relative to its rate without them."""
    s = bench.settings
    batch = dynamics(bench, potential(case.name, bench.path, bench.device, cuda_graphs=True))

    def advance() -> None:
        for _ in range(s.steps):
            batch.step()

    times = interleave({"": lambda: seconds(advance, bench.device) / s.steps}, s.rounds, s.warmup)[""]
    with_graphs = s.n_replicas / times
    title = f"MD steps of all replicas with CUDA graphs, {what}"
    bench.report.target(8, title, with_graphs, GRAPH_RATE, sense="at least", unit="steps/s")
    gain = with_graphs / float(np.median(rate))
    bench.report.target(8, f"MD steps per second, with CUDA graphs ÷ without, {what}", gain, None)
    share = device_seconds(advance) / (s.steps * float(np.median(times)))
    title = f"time of the device at work with CUDA graphs, {what}"
    bench.report.target(8, title, np.array([share]), GRAPH_SHARE, sense="at least", unit="share")


def dynamics(bench: Bench, model: AlchemicalPotential) -> Langevin:
    """Return the ladder's dynamics, all replicas in one batch."""
    path, n = bench.path, bench.settings.n_replicas
    positions, cells = replicas(path, n)
    weights = path.weights(bench.lambdas)
    return Langevin(
        model,
        positions,
        cells,
        weights,
        path.system.masses(weights),
        temperature_K=TEMPERATURE_K,
        timestep_fs=TIMESTEP_FS,
        friction_per_ps=FRICTION_PER_PS,
        seeds=range(n),
    )


def ase_dynamics(crystal: Atoms, calculator: Calculator) -> AseLangevin:
    """Return ASE's dynamics of one replica under the same conditions."""
    crystal.calc = calculator
    rng = np.random.default_rng(1)
    MaxwellBoltzmannDistribution(crystal, temperature_K=TEMPERATURE_K, rng=rng)
    friction = FRICTION_PER_PS / (1000 * units.fs)
    return AseLangevin(crystal, TIMESTEP_FS * units.fs, temperature_K=TEMPERATURE_K, friction=friction, rng=rng)


def production(bench: Bench, model: AlchemicalPotential, what: str) -> None:
    """Measure a ladder with samples: u_nk at one window per replica."""
    s = bench.settings
    settings = DynamicsSettings(
        temperature_K=TEMPERATURE_K,
        timestep_fs=TIMESTEP_FS,
        friction_per_ps=FRICTION_PER_PS,
        n_equilibration_steps=0,
        n_production_steps=MIN_SAMPLES * s.sample_interval,
        sample_interval_steps=s.sample_interval,
    )
    indices = range(s.n_replicas)

    def sample() -> float:
        return seconds(lambda: sample_windows(model, bench.path, bench.lambdas, indices, settings), bench.device)

    times = interleave({"": sample}, max(2, s.rounds // 3), 1)[""]
    title = f"MD steps of all replicas in sample_windows, a sample every {s.sample_interval}, {what}"
    bench.report.measure(title, s.n_replicas * MIN_SAMPLES * s.sample_interval / times, "steps/s")


def device_seconds(work: Callable[[], None]) -> float:
    """Return the working time of the GPU (kernels and copies, overlaps counted once) from torch's profiler.

    The profiler slows down the host but not the kernels: compare with a wall time measured without it.
    """
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        work()
        torch.cuda.synchronize()
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
    )
    return union_length(spans) * 1e-6


def union_length(spans: list[tuple[float, float]]) -> float:
    """Return the length of the union of intervals that are sorted by their starts."""
    total, reached = 0.0, -np.inf
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return float(total)


class Warnings(logging.Handler):
    """Log handler that keeps the package's warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.messages.append(record.getMessage())


def starve(bench: Bench, case: Case) -> None:
    """Limit the memory of the device below that of the batch, and measure an evaluation."""
    path, n = bench.path, bench.settings.n_replicas
    positions, cells = replicas(path, n)
    weights = path.weights(bench.lambdas)

    def energies() -> torch.Tensor:
        """Return the energies from a potential that is freed afterwards."""
        return potential(case.name, path, bench.device).evaluate(positions, cells, weights).energy.cpu()

    energies()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(bench.device)
    before = torch.cuda.memory_reserved(bench.device)
    expected = energies()
    needed = torch.cuda.max_memory_reserved(bench.device) - before
    torch.cuda.empty_cache()
    limit = before + STARVED * needed
    total = torch.cuda.get_device_properties(bench.device).total_memory

    index = torch.device(bench.device).index  # None means the current device

    seen = Warnings()
    logger = logging.getLogger("alchemflows")
    logger.addHandler(seen)
    torch.cuda.set_per_process_memory_fraction(limit / total, index)
    title = f"replicas evaluated with {100 * STARVED:.0f} % of the memory that the batch of {n} takes, {case.label}"
    try:
        found = energies()
    except (RuntimeError, PotentialError) as error:  # TorchScript raises a plain RuntimeError when it is out of memory
        share, note = 0.0, str(error).splitlines()[-1]
    else:
        share = 1.0 if seen.messages else 0.0
        said = "; ".join(f'"{message}"' for message in seen.messages) or "nothing"
        apart = float((found - expected).abs().max())
        note = f"energies within {apart:.1e} eV of those of the whole batch; logged {said}"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, index)
        logger.removeHandler(seen)
    memory = f"{(before + needed) / 2**30:.2f} GiB needed, {limit / 2**30:.2f} GiB allowed; "
    bench.report.target(6, title, np.array([share]), 1.0, sense="at least", unit="share", note=memory + note)


def cases(bench: Bench, cueq: bool) -> list[Case]:
    """Return the cases that can be measured on this machine, and note why others cannot."""
    label, device = bench.settings.shape.label, bench.device
    file = random_mace(bench.folder / "random.model", bench.settings.shape)

    def mace(_: AlchemicalPath, **options: Any) -> Calculator:
        return MACECalculator(model_paths=str(file), device=device, default_dtype="float32", **options)

    found = [Case(label, str(file), "MACECalculator", mace)]
    demo = PotentialSpec(name="mace-demo", device=device)
    try:
        potential(demo.name, bench.path, device)
    except PotentialError as error:
        bench.report.missing(6, "ladder in one batch, mace-demo", BOUND, reason(error), sense="at least")
    else:
        own = "AlchemicalCalculator"
        found.append(Case("mace-demo", demo.name, own, lambda p: AlchemicalCalculator(p.system, p.weights(0.5), demo)))
    if cueq:
        if find_spec("cuequivariance_torch") is None:
            bench.report.note(
                "cuEquivariance is not installed (pip install cuequivariance-torch); it was not measured."
            )
        else:
            converted = cuequivariance_model(file, device)
            bench.report.note(deviation(bench, file, converted))
            peer = "MACECalculator with cuEquivariance"
            found.append(
                Case(f"{label} with cuEquivariance", str(converted), peer, lambda p: mace(p, enable_cueq=True))
            )
    return found


def cuequivariance_model(file: Path, device: str) -> Path:
    """Write the model that MACE has converted to cuEquivariance's kernels."""
    from mace.cli.convert_e3nn_cueq import run

    converted = file.with_name("cueq.model")
    kind = torch.device(device).type
    torch.save(run(torch.load(file, map_location=device, weights_only=False), device=kind), converted)
    return converted


def deviation(bench: Bench, *files: Path) -> str:
    """Describe the differences in energies and forces between two files of one model."""
    path = bench.path
    positions, cells = replicas(path, 1)
    first, second = (
        potential(file, path, bench.device).evaluate(positions, cells, path.weights([0.5])) for file in files
    )
    assert first.forces is not None
    assert second.forces is not None
    energy = float((first.energy - second.energy).abs().max())
    forces = float((first.forces - second.forces).abs().max() / first.forces.abs().max())
    return (
        f"cuEquivariance: energy within {energy:.1e} eV, forces within {forces:.1e} of the largest, of those without."
    )


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="Measure a ladder in one batch on a GPU: target 6.")
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:1, ..., or cpu with --quick")
    parser.add_argument("--threads", type=int, default=2, help="number of torch threads on the CPU (default: 2)")
    parser.add_argument("--cueq", action="store_true", help="also measure cuEquivariance, if it is installed")
    parser.add_argument("--quick", action="store_true", help="use a small model, cell and ladder, to try the script")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    chosen = parser.parse_args()
    if torch.device(chosen.device).type == "cuda" and not torch.cuda.is_available():
        print("torch finds no CUDA device; try the script with --device cpu --quick", file=sys.stderr)
        return 2
    warnings.filterwarnings("ignore")
    torch.set_num_threads(chosen.threads)
    settings = QUICK_RUN if chosen.quick else FULL_RUN
    report = Report(
        "A ladder in one batch",
        "benchmarks/gpu.py",
        {
            "quick": chosen.quick,
            "threads": chosen.threads,
            "rounds": settings.rounds,
            "warmup": settings.warmup,
            "steps_per_round": settings.steps,
        },
        chosen.device,
    )
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(settings, report, chosen.device, Path(folder))
        measurable = cases(bench, chosen.cueq)
        for case in measurable:
            ladder(bench, case)
        if bench.cuda:
            starve(bench, measurable[0])
        else:
            report.note(
                "Peak memory, the working time of the device and the memory limit can be measured only on a GPU."
            )
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
