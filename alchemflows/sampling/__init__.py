"""Sample configurations by batched Langevin dynamics, at fixed λ or with λ changing in time, and by Monte Carlo."""
