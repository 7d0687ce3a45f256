"""One file per family of features; each defines ``FAMILY``."""
