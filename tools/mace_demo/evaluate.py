"""Measure the model: errors on held-out structures, lattice parameters, energies of Pb → Sn, the cost of a step."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.io import read
from export import MODEL
from labels import ENERGY, FORCES, STRESS, relax
from pymatgen.io.ase import AseAtomsAdaptor
from systems import SYSTEMS, lattice_parameters, prototype

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.groups import uniform_group
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.schemas.potential import PotentialSpec


def student(atoms: Atoms, model: Path, dtype: str = "float64") -> AlchemicalCalculator:
    """Return the model as an ASE calculator for a plain structure."""
    spec = PotentialSpec(name=str(model), dtype=dtype, device="cpu")
    return AlchemicalCalculator(AlchemicalSystem(AseAtomsAdaptor.get_structure(atoms)), [], spec)


def errors(frames: list[Atoms], model: Path) -> dict[str, dict[str, float]]:
    """Return the errors of each system and of all: energies and stresses per structure, forces per component."""
    kinds = ("energy_meV_per_atom", "forces_meV_per_A", "stress_meV_per_A3")
    found: dict[str, list[list[np.ndarray]]] = {}
    for atoms in frames:
        calculator = student(atoms, model)
        copy = atoms.copy()
        copy.calc = calculator
        difference = [
            np.array([copy.get_potential_energy() - atoms.info[ENERGY]]) / len(atoms) * 1e3,
            (copy.get_forces() - atoms.arrays[FORCES]).ravel() * 1e3,
            (copy.get_stress() - atoms.info[STRESS]).ravel() * 1e3,
        ]
        for name in (atoms.info["system"], "all"):
            found.setdefault(name, []).append(difference)
    table: dict[str, dict[str, float]] = {}
    for name, differences in found.items():
        row: dict[str, float] = {"structures": len(differences)}
        for kind, values in zip(kinds, zip(*differences, strict=True), strict=True):
            flat = np.concatenate(values)
            row[f"rmse_{kind}"] = float(np.sqrt((flat**2).mean()))
            row[f"mae_{kind}"] = float(np.abs(flat).mean())
        table[name] = row
    return table


def lattices(work: Path, model: Path) -> dict[str, dict[str, Any]]:
    """Return lattice parameters (Å, conventional axes) and energies of the pure compounds with both potentials."""
    table = {}
    for teacher in read(work / "relaxed.xyz", ":"):
        system, element = teacher.info["name"].split("-")
        start = prototype(system, element)
        relaxed = relax(start, student(start, model))
        ours, theirs = (lattice_parameters(system, atoms) for atoms in (relaxed, teacher))
        table[teacher.info["name"]] = {
            "formula": teacher.get_chemical_formula("metal"),
            "model_A": ours,
            "sevennet_A": theirs,
            "largest_deviation_percent": float(100 * np.abs(np.divide(ours, theirs) - 1).max()),
            "model_eV_per_atom": float(relaxed.get_potential_energy() / len(relaxed)),
            "sevennet_eV_per_atom": teacher.info[ENERGY] / len(teacher),
        }
    return table


def step_time_ms(work: Path, model: Path) -> float:
    """Return the median time of energy, forces, stress and ∂E/∂w for 40 atoms of CsPbI3 with alchemical Pb."""
    atoms = next(a for a in read(work / "relaxed.xyz", ":") if a.info["name"] == "alpha-Pb") * (2, 2, 2)
    structure = AseAtomsAdaptor.get_structure(atoms)
    group = uniform_group(np.flatnonzero(atoms.symbols == "Pb"), ["Pb", "Sn"])
    backend = load_potential(PotentialSpec(name=str(model), device="cpu"))
    potential = AlchemicalPotential(AlchemicalSystem(structure, (group,)), backend)
    rng, times = np.random.default_rng(0), []
    for _ in range(40):
        positions = atoms.positions + rng.normal(0, 0.02, atoms.positions.shape)
        start = time.perf_counter()
        potential.evaluate(positions[None], atoms.cell.array[None], [[0.5, 0.5]])
        times.append(time.perf_counter() - start)
    return float(np.median(times[10:]) * 1e3)


def main(work: Path, model: Path) -> dict[str, Any]:
    """Write `evaluation.json`."""
    counts: dict[str, dict[str, int]] = {}
    for name in ("train", "valid", "test"):
        for atoms in read(work / f"{name}.xyz", ":"):
            row = counts.setdefault(atoms.info["system"], {"train": 0, "valid": 0, "test": 0, "atoms": 0})
            row[name] += 1
            row["atoms"] += len(atoms)
    compounds = lattices(work, model)
    differences = {}
    for system in ("alpha", "delta"):
        assert SYSTEMS[system].elements == ("Pb", "Sn")
        lead, tin = compounds[f"{system}-Pb"], compounds[f"{system}-Sn"]
        differences[system] = {
            who: 1e3 * (tin[f"{who}_eV_per_atom"] - lead[f"{who}_eV_per_atom"]) for who in ("model", "sevennet")
        }
    result = {
        "counts": counts,
        "errors": errors(read(work / "test.xyz", ":"), model),
        "lattices": compounds,
        "lead_to_tin_meV_per_atom": differences,
        "step_ms": step_time_ms(work, model),
        "threads": torch.get_num_threads(),
    }
    (work / "evaluation.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of the data")
    parser.add_argument("--model", type=Path, default=MODEL)
    arguments = parser.parse_args()
    print(json.dumps(main(arguments.work, arguments.model), indent=1))
