"""Flows that reproduce figures of Nam, Peng & Gómez-Bombarelli, Nat. Commun. 16, 4350 (2025)."""
