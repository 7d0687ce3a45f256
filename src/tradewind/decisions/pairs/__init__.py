"""Cointegrated pairs: found with false discoveries controlled, re-tested out of sample, traded by their spread."""
