"""Who is in an index today: one file per index."""
