"""Tradewind: calibrated market forecasts, honest trades."""

__version__ = "0.1.0"
