"""Benchmarks: every claim of speed or skill, as a ratio against a named peer in the same run."""
