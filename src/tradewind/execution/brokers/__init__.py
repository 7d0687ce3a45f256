"""Who carries orders out: the paper account by default, real brokers as extras, all behind one protocol."""
