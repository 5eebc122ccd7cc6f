"""Moves atoms: batched Langevin dynamics at fixed λ."""
