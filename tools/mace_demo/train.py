"""Split the data and train the model with mace-torch's own `mace_run_train`; a stopped training goes on where it was.

There are no isolated atoms among the labels: the energies E0 of the elements are a least-squares fit of the training
energies to the compositions (of smallest norm, where the compositions leave a choice).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.io import read, write
from labels import ENERGY, FORCES, STRESS
from systems import SEED, rng_of

#: Shares of the pieces of each system and kind (but the scans, which are all for training).
TEST_SHARE, VALID_SHARE = 0.1, 0.05

OPTIONS: dict[str, str | float | None] = {
    "model": "ScaleShiftMACE",
    "interaction_first": "RealAgnosticResidualInteractionBlock",
    "interaction": "RealAgnosticResidualInteractionBlock",
    "r_max": 5.5,
    "hidden_irreps": "64x0e",
    "MLP_irreps": "16x0e",
    "max_ell": 2,
    "correlation": 3,
    "num_radial_basis": 8,
    "radial_MLP": "[32, 32, 32]",
    "scaling": "rms_forces_scaling",
    "loss": "universal",
    "energy_weight": 10,
    "forces_weight": 100,
    "stress_weight": 500,
    "swa": None,
    "swa_energy_weight": 1000,
    "swa_forces_weight": 100,
    "swa_stress_weight": 2000,
    "batch_size": 8,
    "valid_batch_size": 16,
    "lr": 0.01,
    "swa_lr": 0.001,
    "scheduler": "ExponentialLR",
    "lr_scheduler_gamma": 0.935,
    "eval_interval": 2,
    "ema": None,
    "ema_decay": 0.99,
    "max_num_epochs": 30,
    "start_swa": 20,
    "default_dtype": "float32",
    "seed": SEED,
}


def weights(system: str, kind: str) -> dict[str, float]:
    """Return weights in the loss: the lattice of soft crystals hangs on small energies and stresses."""
    return {
        "config_energy_weight": 2.0 if kind == "scan" else 1.0,
        "config_stress_weight": {"alpha": 5.0, "delta": 8.0, "chloride": 3.0}.get(system, 1.0),
    }


def split(work: Path) -> dict[str, list[Atoms]]:
    """Return frames of the sets train, valid and test, and write them to `work`."""
    families: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in sorted((work / "data").glob("*.xyz")):
        system, kind, _ = path.stem.split("-")
        families[system, kind].append(path)
    sets: dict[str, list[Atoms]] = {"train": [], "valid": [], "test": []}
    for (system, kind), paths in families.items():
        order = rng_of("split", system, kind).permutation(len(paths))
        n_test, n_valid = (0 if kind == "scan" else max(1, round(s * len(paths))) for s in (TEST_SHARE, VALID_SHARE))
        for rank, index in enumerate(order):
            chosen = "test" if rank < n_test else "valid" if rank < n_test + n_valid else "train"
            for atoms in read(paths[index], ":"):
                atoms.info |= {"system": system, "kind": kind, "piece": paths[index].stem} | weights(system, kind)
                sets[chosen].append(atoms)
    for name, frames in sets.items():
        write(work / f"{name}.xyz", frames, format="extxyz")
    return sets


def reference_energies(frames: list[Atoms]) -> dict[int, float]:
    """Return E0 (eV) by atomic number."""
    numbers = sorted({int(z) for atoms in frames for z in atoms.numbers})
    counts = np.array([[np.count_nonzero(atoms.numbers == z) for z in numbers] for atoms in frames], dtype=float)
    size = counts.sum(axis=1)
    energies = np.array([atoms.info[ENERGY] for atoms in frames])
    fit = np.linalg.lstsq(counts / size[:, None], energies / size, rcond=1e-6)[0]
    return {z: round(float(e), 6) for z, e in zip(numbers, fit, strict=True)}


def main(work: Path, threads: int) -> None:
    """Train unless the model is there."""
    folder = work / "training"
    if (folder / "mace-demo_stagetwo.model").exists():
        return
    sets = split(work)
    references = reference_energies(sets["train"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "references.json").write_text(
        json.dumps({chemical_symbols[z]: e for z, e in references.items()}, indent=1) + "\n"
    )
    (folder / "options.json").write_text(json.dumps(OPTIONS, indent=1) + "\n")
    options = OPTIONS | {
        "name": "mace-demo",
        "train_file": str(work / "train.xyz"),
        "valid_file": str(work / "valid.xyz"),
        "E0s": str(references),
        "energy_key": ENERGY,
        "forces_key": FORCES,
        "stress_key": STRESS,
        "compute_stress": "True",
        "error_table": "PerAtomRMSEstressvirials",
        "work_dir": str(folder),
        "model_dir": str(folder),
        "device": "cpu",
        "plot": "False",
        "restart_latest": None,
        "save_cpu": None,
    }
    command = [sys.executable, "-m", "mace.cli.run_train"]
    for name, value in options.items():
        command += [f"--{name}"] if value is None else [f"--{name}={value}"]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the data")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    main(arguments.work, arguments.threads)
