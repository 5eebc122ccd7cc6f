"""Measure the memory that the correction of all ladders of a campaign to another potential needs.

    python benchmarks/corrected_frames.py [--quick] [--threads N] [--json FILE]

Ladders of CsPbI3 → CsSnI3 with 40 atoms are stored in a private MongoDB: 11 windows of 2000 samples and 100 frames of
each end. They are copies of one short ladder with mace-demo, whose samples and frames are repeated. The jobs of
`alchemflows reanalyse` then correct them in a process of its own, one after the other, whose largest resident memory is
measured. Targets are mace-demo in float64, and a calculator that costs no time.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from jobflow import run_locally
from measure import Report
from pymatgen.core import Lattice, Structure

from alchemflows.flows.reanalysis import ReanalysisMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.frames import Frames
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.samples import PackedArrays, PackedSeries, WindowSeries
from alchemflows.settings import Settings
from alchemflows.storage.database import Database, start_private
from alchemflows.storage.mongod import PrivateMongod

LADDER = ThermodynamicIntegrationMaker()
N_SAMPLES = LADDER.n_production_steps // LADDER.sample_interval_steps
BOUND_GB = 1.0


class Wells(Calculator):
    """U = ½ k Σ u², with the displacements u from the positions of the first configuration."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, stiffness_eV_per_A2: float = 0.01) -> None:
        super().__init__()
        self.stiffness = stiffness_eV_per_A2
        self.sites: np.ndarray | None = None

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        """Compute the energy and the forces."""
        super().calculate(atoms, properties, system_changes)
        if self.sites is None or len(self.sites) != len(self.atoms):
            self.sites = self.atoms.positions.copy()
        displacements = self.atoms.positions - self.sites
        energy = 0.5 * self.stiffness * float((displacements**2).sum())
        self.results = {"energy": energy, "forces": -self.stiffness * displacements}


TARGETS: dict[str, PotentialSpec | CalculatorSpec] = {
    "a calculator": CalculatorSpec(path="corrected_frames:Wells"),
    "mace-demo": PotentialSpec(name="mace-demo", dtype="float64", device="cpu"),
}


def store_ladders(database: Database, n_ladders: int, n_samples: int, size: int) -> list[str]:
    """Store copies of one short ladder, and return the identifiers of their free energies."""
    cell = Structure(
        Lattice.cubic(6.4),
        ["Cs", "Pb", "I", "I", "I"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    )
    lengths = {"n_equilibration_steps": 10, "n_production_steps": 80, "windows_per_job": LADDER.n_windows}
    maker = replace(LADDER, potential="mace-demo", temperature=300.0, relax_maker=None, n_frames=8, **lengths)
    flow = maker.make(cell * (size, size, size), {"Pb": "Sn"})
    store = database.job_store
    with tempfile.TemporaryDirectory() as folder:
        run_locally(flow, store=store, root_dir=folder, ensure_success=True, log=False)
    windows, analysis = flow.jobs[-2].uuid, flow.jobs[-1].uuid
    rows = {uuid: store.query_one({"uuid": uuid}, load=True) for uuid in (windows, analysis)}
    for window in rows[windows]["output"]["windows"]:
        series = PackedSeries.model_validate(_plain(window["series"])).unpack()
        window["series"] = PackedSeries.pack(repeated(series, n_samples)).model_dump()
        window["n_samples"] = n_samples
        if window["frames"] is not None:
            frames = Frames.unpacked(PackedArrays.model_validate(_plain(window["frames"])))
            window["frames"] = of_size(frames, LADDER.n_frames).packed().model_dump()
    found = []
    for _ in range(n_ladders):
        names = {windows: str(uuid4()), analysis: str(uuid4())}
        for uuid in (windows, analysis):
            row = json.loads(json.dumps(_copied(rows[uuid]), default=str).replace(windows, names[windows]))
            row["uuid"] = names[uuid]
            store.update([row], save={"data": ["series", "frames"]} if uuid == windows else None)
        found.append(names[analysis])
    return found


def _plain(packed: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in packed.items() if not name.startswith("@")}


def _copied(row: dict[str, Any]) -> dict[str, Any]:
    return {name: copy.deepcopy(value) for name, value in row.items() if name != "_id"}


def repeated(series: WindowSeries, n: int) -> WindowSeries:
    """Return a series of n samples, the given ones repeated in the order of time."""
    rows = np.resize(np.arange(len(series)), n)
    step = float(series.time_fs[0])
    return replace(
        WindowSeries(**{name: values[rows] for name, values in vars(series).items()}), time_fs=step * (1 + np.arange(n))
    )


def of_size(frames: Frames, n: int) -> Frames:
    """Return n frames, the given ones repeated in the order of time."""
    rows = np.resize(np.arange(len(frames)), n)
    spacing = float(frames.time_fs[0])
    values = {name: getattr(frames, name)[rows] for name in ("fractional", "cells_A", "energy_eV")}
    return replace(frames, **values, time_fs=spacing * (1 + np.arange(n)))


def correct(home: Path, target: str, ladders: list[str]) -> dict[str, float]:
    """Correct ladders with the flow of a reanalysis, and return memory (GB) and time (s)."""
    logging.disable(logging.WARNING)
    database = start_private(Settings(home=home))
    before, started = _memory_GB(), time.perf_counter()
    flow = ReanalysisMaker(target=TARGETS[target]).make(ladders)
    with tempfile.TemporaryDirectory() as folder:
        run_locally(flow, store=database.job_store, root_dir=folder, ensure_success=True, log=False)
    output = database.job_store.get_output(flow.output.uuid, load=False)
    done = [row for row in output["ladders"] if row["total"] is not None]
    if len(done) < len(ladders):
        raise RuntimeError(f"{len(ladders) - len(done)} ladders were not corrected")
    return {"before_GB": before, "largest_GB": _memory_GB(), "time_s": time.perf_counter() - started}


def _memory_GB() -> float:
    """Return the largest resident memory of this process so far (GB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two ladders of a small cell: to test the script")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads (default: 1)")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    parser.add_argument("--correct", nargs=2, metavar=("HOME", "TARGET"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(chosen.threads)
    if chosen.correct:
        home, target = chosen.correct
        print(json.dumps(correct(Path(home), target, json.load(sys.stdin))))
        return
    report = Report(
        "Correction of a campaign",
        "benchmarks/corrected_frames.py",
        {"quick": chosen.quick, "threads": chosen.threads},
    )
    n_ladders, n_samples, size = (2, 40, 1) if chosen.quick else (50, N_SAMPLES, 2)
    n_frames = 2 * LADDER.n_frames * n_ladders
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        database = start_private(Settings(home=home))
        try:
            ladders = store_ladders(database, n_ladders, n_samples, size)
            for number, target in enumerate(TARGETS, 1):
                command = [sys.executable, __file__, "--threads", str(chosen.threads), "--correct", str(home), target]
                done = subprocess.run(command, input=json.dumps(ladders), capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(done.stderr.strip().splitlines()[-1])
                found = json.loads(done.stdout.splitlines()[-1])
                title = f"{n_frames} frames of {n_ladders} ladders, {5 * size**3} atoms, target {target}"
                report.target(number, f"largest memory (GB), {title}", np.array([found["largest_GB"]]), BOUND_GB)
                report.measure(f"memory before the flow is made, {title}", found["before_GB"], "GB")
                report.measure(f"time, {title}", found["time_s"], "s")
        finally:
            PrivateMongod(home).stop()
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
