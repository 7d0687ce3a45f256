"""No deadline per example: machines differ, and speed is measured in `benchmarks/`."""

from hypothesis import settings

settings.register_profile("audit", deadline=None)
settings.load_profile("audit")
