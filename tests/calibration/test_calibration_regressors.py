"""Conformal intervals of point regressors: equal to MAPIE's theory, on purged folds."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from tradewind.calibration.regressors import PurgedBlocks, cross_conformal, split_conformal
from tradewind.errors import InputError


def problem(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 3))
    return x, x @ np.array([1.0, -0.5, 0.2]) + generator.normal(size=n)


def test_split_conformal_is_the_order_statistic_of_the_absolute_residuals() -> None:
    train, calibration, new = problem(200, 1), problem(99, 2), problem(50, 3)[0]
    found = split_conformal(LinearRegression(), train, calibration, new, coverage=0.8)
    fitted = LinearRegression().fit(*train)
    residuals = np.sort(np.abs(calibration[1] - fitted.predict(calibration[0])))
    half = residuals[int(np.ceil(100 * 0.8)) - 1]
    assert found.point == pytest.approx(fitted.predict(new))
    assert found.upper - found.point == pytest.approx(np.full(50, half))
    assert found.point - found.lower == pytest.approx(np.full(50, half))


@pytest.mark.parametrize("method", ["cross", "jackknife+"])
def test_cross_and_jackknife_plus_cover_what_they_promise(method: str) -> None:
    x, y = problem(400, 4)
    fresh = problem(4000, 5)
    found = cross_conformal(
        LinearRegression(),
        x,
        y,
        fresh[0],
        rows=np.arange(400),
        longest_horizon_bars=3,
        method=method,  # type: ignore[arg-type]
    )
    inside = (fresh[1] >= found.lower) & (fresh[1] <= found.upper)
    assert inside.mean() == pytest.approx(0.75, abs=0.05)


def test_purged_blocks_keep_bars_together_and_labels_apart() -> None:
    rows = np.repeat(np.arange(60), 4)
    cv = PurgedBlocks(rows, longest_horizon_bars=5, folds=4, embargo_bars=2)
    tested = []
    for train, test in cv.split(None):
        tested.append(test)
        low, high = rows[test].min(), rows[test].max()
        assert all(row + 5 < low - 2 or row > high + 5 + 2 for row in rows[train])
    assert np.array_equal(np.sort(np.concatenate(tested)), np.arange(240))
    assert cv.get_n_splits() == 4


def test_senseless_requests_are_refused() -> None:
    with pytest.raises(InputError, match="coverage"):
        split_conformal(LinearRegression(), problem(9), problem(9), problem(9)[0], coverage=1.0)
    with pytest.raises(InputError, match="folds"):
        next(PurgedBlocks(np.arange(3), 1, folds=5).split(None))
