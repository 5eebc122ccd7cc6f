"""Convert a MACE potential to the kernels of cuEquivariance, with the conversion of mace-torch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import cast

from mace.modules import ScaleShiftMACE

from alchemflows.alchemy.backends.precision import default_dtype
from alchemflows.errors import PotentialError


def convert(model: ScaleShiftMACE) -> ScaleShiftMACE:
    """Return a copy of the potential that runs on cuEquivariance's kernels.

    Raises
    ------
    PotentialError
        If cuequivariance-torch is not installed, or the conversion fails.
    """
    if find_spec("cuequivariance_torch") is None:
        raise PotentialError('kernels="cuequivariance" requires the package cuequivariance-torch; install it')
    from mace.cli.convert_e3nn_cueq import run

    parameter = next(model.parameters())
    try:
        with default_dtype(parameter.dtype):
            converted = run(model, device=parameter.device.type).to(parameter.device).eval()
    except Exception as error:  # the conversion may raise any error
        raise PotentialError(
            f"mace-torch cannot convert this potential to cuEquivariance: {type(error).__name__}: {error}"
        ) from error
    for value in converted.parameters():
        value.requires_grad_(False)
    return cast(ScaleShiftMACE, converted)
