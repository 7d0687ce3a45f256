"""Ensembles of models: how much each member's word counts, learnt online from forecasts that have come due."""
