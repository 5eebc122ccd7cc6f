"""Figures of Nam, Peng & Gómez-Bombarelli, Nat. Commun. 16, 4350 (2025), as flows with the paper's settings."""
