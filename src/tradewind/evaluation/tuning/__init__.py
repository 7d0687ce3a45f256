"""The search over a playbook's declared ranges: what may be tried, on which bars, and what came of it."""
