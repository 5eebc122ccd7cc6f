"""Split the data and train the model with mace-torch's own `mace_run_train`; a stopped training can be continued.

The first training uses structures from SevenNet-0 (`structures.py`). Each later training starts from the parameters of
the previous one and also uses structures that its model visited (`visited.py`).

The labels contain no isolated atoms. The energies E0 of the elements are therefore a least-squares fit of the training
energies to the compositions (the solution of smallest norm if it is not unique).
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
from ase.data import atomic_numbers, chemical_symbols
from ase.io import read, write
from labels import ENERGY, FORCES, STRESS
from systems import SEED, rng_of

#: Fractions of the pieces of each system and kind (except scans, which are used only for training).
TEST_SHARE, VALID_SHARE = 0.1, 0.05
Options = dict[str, str | float | None]
#: Options of every training.
COMMON: Options = {
    "scaling": "rms_forces_scaling",
    "loss": "universal",
    "batch_size": 8,
    "valid_batch_size": 16,
    "scheduler": "ExponentialLR",
    "eval_interval": 2,
    "ema": None,
    "ema_decay": 0.99,
    "default_dtype": "float32",
    "seed": SEED,
}
FIRST: Options = COMMON | {
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
    "energy_weight": 10,
    "forces_weight": 100,
    "stress_weight": 500,
    "swa": None,
    "swa_energy_weight": 1000,
    "swa_forces_weight": 100,
    "swa_stress_weight": 2000,
    "lr": 0.01,
    "swa_lr": 0.001,
    "lr_scheduler_gamma": 0.935,
    "max_num_epochs": 30,
    "start_swa": 20,
}
#: Options of later trainings: they start from the previous model, with the loss of its second stage and small steps.
SECOND: Options = COMMON | {
    "multiheads_finetuning": "False",
    "energy_weight": 1000,
    "forces_weight": 100,
    "stress_weight": 2000,
    "lr": 0.001,
    "lr_scheduler_gamma": 0.8,
    "max_num_epochs": 12,
}
#: Options of `mace_run_train` for each training. The last is short; a larger force weight balances the steep walls.
TRAININGS = (
    FIRST,
    SECOND,
    SECOND | {"forces_weight": 200, "lr": 0.0005, "lr_scheduler_gamma": 0.7, "max_num_epochs": 6},
)


def weights(system: str, kind: str) -> dict[str, float]:
    """Return the loss coefficients of a structure, larger for soft crystals with small energies and stresses."""
    return {
        "config_energy_weight": 2.0 if kind == "scan" else 1.0,
        "config_stress_weight": {"alpha": 5.0, "delta": 8.0, "chloride": 3.0}.get(system, 1.0),
    }


def split(work: Path) -> dict[str, list[Atoms]]:
    """Return the frames of the sets train, valid and test, and write them to `work`."""
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
            # A batch that was unstable from the start may have no frame.
            for atoms in read(paths[index], ":") if paths[index].stat().st_size else []:
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


def model_of(work: Path, training: int = len(TRAININGS)) -> Path:
    """Return the path of the model of a training; by default the last."""
    return work / f"training-{training}" / ("mace-demo_stagetwo.model" if training == 1 else "mace-demo.model")


def references_of(work: Path) -> dict[str, float]:
    """Return the E0s (eV) of all trainings by element."""
    return json.loads((model_of(work, 1).parent / "references.json").read_text())


def main(work: Path, training: int, threads: int) -> None:
    """Run the training with this number, unless its model exists."""
    model = model_of(work, training)
    if model.exists():
        return
    sets = split(work)
    model.parent.mkdir(parents=True, exist_ok=True)
    if training == 1:
        references = {chemical_symbols[z]: e for z, e in reference_energies(sets["train"]).items()}
        (model.parent / "references.json").write_text(json.dumps(references, indent=1) + "\n")
    options = TRAININGS[training - 1] | {
        "name": "mace-demo",
        "train_file": str(work / "train.xyz"),
        "valid_file": str(work / "valid.xyz"),
        "E0s": str({atomic_numbers[symbol]: energy for symbol, energy in references_of(work).items()}),
        "energy_key": ENERGY,
        "forces_key": FORCES,
        "stress_key": STRESS,
        "compute_stress": "True",
        "error_table": "PerAtomRMSEstressvirials",
        "work_dir": str(model.parent),
        "model_dir": str(model.parent),
        "device": "cpu",
        "plot": "False",
        "restart_latest": None,
        "save_cpu": None,
    }
    if training > 1:
        options["foundation_model"] = str(model_of(work, training - 1))
    command = [sys.executable, "-m", "mace.cli.run_train"]
    for name, value in options.items():
        command += [f"--{name}"] if value is None else [f"--{name}={value}"]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the data")
    parser.add_argument("--training", type=int, default=1, help="number of the training, from 1")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    main(arguments.work, arguments.training, arguments.threads)
