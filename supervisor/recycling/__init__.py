"""Steady state: measuring what processes have, and recycling those that have too much."""
