"""Write small random checkpoints of sevenn and results of its own calculator: ``python tests/data/make_sevennet.py``.

Needs sevenn 0.13.0 with e3nn 0.5 or later, in an environment without mace-torch, which pins e3nn 0.4.4; this package
is not used. The files here were written with sevenn 0.13.0, e3nn 0.6.0 and torch 2.13.0. sevenn computes in float32;
here its model is made to run in float64. `modal` has two modalities, both parities and a self-connection for each
element; `single` has one modality, and other functions wherever there is a choice.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import sevenn
import sevenn._const as const
import sevenn.util
import torch
from ase import Atoms
from sevenn.calculator import SevenNetCalculator
from sevenn.model_build import build_E3_equivariant_model

TARGET = Path(__file__).parent / "sevennet"
ELEMENTS = {17: 0, 55: 1, 53: 2, 82: 3, 50: 4}
COMMON = {
    "version": sevenn.__version__,
    "cutoff": 4.5,
    "channel": 4,
    "num_convolution_layer": 3,
    "weight_nn_hidden_neurons": [8, 8],
    "conv_denominator": [1.5, 2.0, 2.5],
    "_type_map": ELEMENTS,
    "_number_of_species": len(ELEMENTS),
}
SHIFTS = [-1.0, -2.0, -3.0, -4.0, -5.0]
CASES: dict[str, dict[str, Any]] = {
    "modal": {
        "lmax": 2,
        "is_parity": True,
        "self_connection_type": ["nequip", "linear", "nequip"],
        "use_modality": True,
        "_modal_map": {"R2SCAN": 0, "PBE": 1},
        "_number_of_modalities": 2,
        "use_modal_node_embedding": True,
        "use_modal_self_inter_intro": True,
        "use_modal_self_inter_outro": True,
        "use_modal_output_block": True,
        "use_modal_wise_shift": True,
        "use_modal_wise_scale": False,
        "shift": [SHIFTS, [2 * shift for shift in SHIFTS]],
        "scale": [1.0, 1.1, 1.2, 1.3, 1.4],
    },
    "single": {
        "lmax": 3,
        "lmax_node": 2,
        "is_parity": False,
        "self_connection_type": "linear",
        "cutoff_function": {"cutoff_function_name": "XPLOR", "cutoff_on": 3.0},
        "radial_basis": {"radial_basis_name": "bessel", "bessel_basis_num": 5, "trainable_coeff": False},
        "act_radial": "ssp",
        "use_bias_in_linear": True,
        "readout_as_fcn": True,
        "readout_fcn_hidden_neurons": [7, 5],
        "readout_fcn_activation": "tanh",
        "shift": -2.5,
        "scale": 1.5,
    },
}
#: Elements at the vertices: of two atoms (Pb or Sn), and of three (I or Cl).
VERTICES = [(82, 53), (50, 53), (82, 17), (50, 17)]


def structure(pair: int, anion: int) -> Atoms:
    """Return a squeezed, rattled, triclinic perovskite of 10 atoms."""
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    places = 3.9 * np.concatenate([sites, sites + np.array([1, 0, 0])])
    rng = np.random.default_rng(5)
    strain = np.eye(3) + rng.normal(0, 0.03, (3, 3))
    places = places @ strain + rng.normal(0, 0.12, (10, 3))
    numbers = np.array([55, pair, anion, 53, 53, 55, pair, 53, anion, anion])
    return Atoms(numbers, positions=places, cell=3.9 * np.diag([2, 1, 1]) @ strain, pbc=True)


def in_double(path: Path, modality: str | None) -> SevenNetCalculator:
    """Return the calculator, made to compute in float64."""

    def doubled(_module: Any, _inputs: Any, data: dict[str, Any]) -> None:
        for key, value in list(data.items()):
            if torch.is_tensor(value) and value.is_floating_point():
                data[key] = value.double()

    calculator = SevenNetCalculator(str(path), device="cpu", modal=modality)
    calculator.model.double()
    for module in calculator.model.children():
        module.register_forward_hook(doubled)
    basis = calculator.model.edge_embedding.basis_function
    basis.coeffs = torch.nn.Parameter(basis.coeffs.double())
    return calculator


def main() -> None:
    """Write the checkpoints and ``references.json``."""
    TARGET.mkdir(exist_ok=True)
    original = sevenn.util.dtype_correct
    sevenn.util.dtype_correct = lambda value: original(value, torch.float64)
    references = []
    for number, (name, changes) in enumerate(CASES.items()):
        torch.manual_seed(number)
        config = {**const.DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG, **COMMON, **changes}
        model = build_E3_equivariant_model({**config})
        with torch.no_grad():
            for key, value in model.named_parameters():
                if key.endswith("bias"):
                    value.normal_()
        path = TARGET / f"{name}.pth"
        torch.save({"model_state_dict": model.state_dict(), "config": config}, path)
        for modality in config.get("_modal_map", {None: 0}):
            calculator = in_double(path, modality)
            for pair, anion in VERTICES:
                atoms = structure(pair, anion)
                atoms.calc = calculator
                references.append(
                    {
                        "checkpoint": name,
                        "head": modality,
                        "numbers": atoms.numbers.tolist(),
                        "positions": atoms.positions.tolist(),
                        "cell": atoms.cell.array.tolist(),
                        "energy_eV": float(atoms.get_potential_energy()),
                        "forces_eV_per_A": atoms.get_forces().tolist(),
                        "stress_eV_per_A3": atoms.get_stress(voigt=False).tolist(),
                    }
                )
    (TARGET / "references.json").write_text(json.dumps(references, indent=1))


if __name__ == "__main__":
    main()
