"""Forecasters that were trained elsewhere on other series: their weights, what they read, what they answer."""
