"""The same corridor on a clock: ingest, loop, schedule, drift, champion and challenger, alerts."""
