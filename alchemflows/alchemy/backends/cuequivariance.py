"""A MACE model on cuEquivariance's kernels, by MACE's own conversion, if that changes no energy."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, cast

import torch
from mace.modules import ScaleShiftMACE

from alchemflows.alchemy.backends.mace_file import cluster, default_dtype
from alchemflows.errors import PotentialError

#: Largest difference of energies of atoms, relative to the largest energy.
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-4}


def convert(model: ScaleShiftMACE, head: int = 0) -> ScaleShiftMACE:
    """Return a copy of the model that runs on cuEquivariance's kernels.

    Parameters
    ----------
    model
        The model.
    head
        Head whose energies are compared.

    Raises
    ------
    PotentialError
        If cuequivariance-torch is not installed, or the conversion fails or changes energies.
    """
    if find_spec("cuequivariance_torch") is None:
        raise PotentialError('kernels="cuequivariance" needs the package cuequivariance-torch')
    from mace.cli.convert_e3nn_cueq import run

    parameter = next(model.parameters())
    try:
        with default_dtype(parameter.dtype):
            converted = run(model, device=parameter.device.type).to(parameter.device).eval()
        example = {key: value.to(parameter.device) for key, value in cluster(model, head).items()}
        energies, others = (cast(Any, m)(dict(example), compute_force=False)["node_energy"] for m in (model, converted))
    except Exception as error:  # mace's conversion raises what it meets
        raise PotentialError(
            f"mace-torch cannot convert this model to cuEquivariance: {type(error).__name__}: {error}"
        ) from error
    difference = float((energies - others).abs().max() / energies.abs().max())
    if not difference <= TOLERANCES[parameter.dtype]:
        raise PotentialError(f"cuEquivariance's kernels give other energies for this model (by {difference:.1e})")
    for value in converted.parameters():
        value.requires_grad_(False)
    return converted
