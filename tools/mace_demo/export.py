"""Write the trained model as one safetensors file, and a few held-out labels for the package's tests."""

from __future__ import annotations

import argparse
import json
from itertools import groupby
from pathlib import Path

import torch
from ase.io import read
from labels import ENERGY, FORCES, STRESS
from systems import lattice_parameters, rng_of
from train import model_of

from alchemflows.alchemy.backends.mace_file import save_mace

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = REPOSITORY / "alchemflows" / "data" / "mace-demo.safetensors"
CASES = REPOSITORY / "tests" / "alchemy" / "mace_demo.json"
ABOUT = (
    "Made for learning and tests, not for publications: a small MACE distilled from SevenNet-0. See docs/mace-demo.md."
)
CASES_PER_SYSTEM = 3


def main(work: Path, model_file: Path = MODEL, cases_file: Path = CASES) -> None:
    """Write both files."""
    # A pickle, but from the training that this machine has just run.
    model = torch.load(model_of(work), map_location="cpu", weights_only=False)
    save_mace(model.float(), model_file, name="mace-demo", description=ABOUT)
    cases = []
    held_out = sorted(read(work / "test.xyz", ":"), key=lambda atoms: atoms.info["system"])
    for system, group in groupby(held_out, key=lambda atoms: atoms.info["system"]):
        frames = list(group)
        for index in sorted(rng_of("cases", system).choice(len(frames), CASES_PER_SYSTEM, replace=False)):
            atoms = frames[index]
            cases.append(
                {
                    "system": system,
                    "piece": atoms.info["piece"],
                    "symbols": atoms.get_chemical_symbols(),
                    "cell_A": atoms.cell.array.round(6).tolist(),
                    "positions_A": atoms.positions.round(6).tolist(),
                    "energy_eV": round(atoms.info[ENERGY], 5),
                    "forces_eV_per_A": atoms.arrays[FORCES].round(5).tolist(),
                    "stress_eV_per_A3": atoms.info[STRESS].round(6).tolist(),
                }
            )
    lines = ",\n".join(json.dumps(case) for case in cases)
    lattices = {
        name: [round(float(v), 4) for v in lattice_parameters(name.split("-")[0], atoms)]
        for atoms in read(work / "relaxed.xyz", ":")
        if (name := atoms.info["name"])
    }
    cases_file.write_text(f'{{"lattice_parameters_A": {json.dumps(lattices)},\n"structures": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of the data and the training")
    parser.add_argument("--model", type=Path, default=MODEL, help="file for the model")
    parser.add_argument("--cases", type=Path, default=CASES, help="file for the held-out labels")
    arguments = parser.parse_args()
    main(arguments.work, arguments.model, arguments.cases)
