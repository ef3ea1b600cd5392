"""Measures errands on this machine, each figure beside the floor: see docs/benchmarks.md."""
