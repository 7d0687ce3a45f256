"""Is it luck? The tests in one place; each idea has its own file beside this one."""

from tradewind.stats.bootstrap import (
    Interval,
    automatic_block_length,
    bootstrap_interval,
    stationary_indices,
)
from tradewind.stats.diebold_mariano import DieboldMariano, diebold_mariano
from tradewind.stats.hac import automatic_lags, hac_standard_error, hac_t, long_run_variance
from tradewind.stats.sharpe_inference import (
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_detectable_sharpe,
    minimum_track_record,
    minimum_track_record_of,
    probabilistic_sharpe,
    probabilistic_sharpe_of,
    sharpe_interval,
    sharpe_standard_error,
)

__all__ = [
    "DieboldMariano",
    "Interval",
    "automatic_block_length",
    "automatic_lags",
    "bootstrap_interval",
    "deflated_sharpe",
    "diebold_mariano",
    "expected_maximum_sharpe",
    "hac_standard_error",
    "hac_t",
    "long_run_variance",
    "minimum_detectable_sharpe",
    "minimum_track_record",
    "minimum_track_record_of",
    "probabilistic_sharpe",
    "probabilistic_sharpe_of",
    "sharpe_interval",
    "sharpe_standard_error",
    "stationary_indices",
]
