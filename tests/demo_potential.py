"""Loads the potential of most commands, for the server from which their processes are forked.

Building it takes 0.6 s, as long as all else that a short command does. The processes evaluate it themselves.
"""

from __future__ import annotations

import torch

from alchemflows.alchemy.backends import load_potential
from alchemflows.schemas.potential import PotentialSpec

torch.set_num_threads(1)  # a process that has begun threads must not be forked
load_potential(PotentialSpec(name="mace-demo", device="cpu"))
