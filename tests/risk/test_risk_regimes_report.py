"""The chapter on regimes: bands over the price, stacked probabilities, what each regime has been like."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from regimes_kit import QUICK, a_market

from tradewind.evaluation.report.sections import regimes as chapter
from tradewind.evaluation.report.sections.regimes import COLUMNS, STACKED, regimes
from tradewind.risk.regimes import LABELS, Regimes, detect


@pytest.fixture(scope="module")
def found() -> Regimes:
    return detect(a_market(seed=0, sessions=700)[1], QUICK)


@pytest.fixture(scope="module")
def page(found: Regimes) -> str:
    return regimes(found.times, found.price, found)


def bands(page: str) -> list[tuple[str, float, float]]:
    """Return regime, left and right of each band of the upper plot, in thousandths of its width."""
    found = re.findall(r'd="M([\d.]+) [\d.]+H([\d.]+)V[^"]*Z" class="area band regime-(\w+)"', page)
    return [(label, float(left), float(right)) for left, right, label in found]


def test_the_chapter_is_well_formed(page):
    class Counter(HTMLParser):
        depth = 0

        def handle_starttag(self, tag, attrs):
            self.depth += tag not in ("path", "br")

        def handle_endtag(self, tag):
            self.depth -= tag not in ("path", "br")

    counter = Counter()
    counter.feed(page)
    assert counter.depth == 0
    assert 'id="regimes"' in page
    assert "http" not in page


def test_each_spell_is_a_band_from_when_it_was_known_to_when_the_next_was(page, found):
    drawn, spells = bands(page), found.spells()
    assert [label for label, _, _ in drawn] == [s.label for s in spells]
    whole = float((found.times[-1] - found.times[0]) / np.timedelta64(1, "ms"))
    for (_, left, right), spell in zip(drawn, spells, strict=True):
        begins = (found.times[spell.start] - found.times[0]) / np.timedelta64(1, "ms") / whole * 1000
        assert left == pytest.approx(begins, abs=0.06)
        if spell.stop < len(found):
            assert right > left
    assert all(a[2] == pytest.approx(b[1], abs=0.06) for a, b in pairwise(drawn))


def test_bands_stay_inside_the_prices_that_are_drawn(found):
    part = slice(300, 400)
    drawn = bands(regimes(found.times[part], found.price[part], found))
    assert drawn
    assert min(left for _, left, _ in drawn) >= 0
    assert max(right for _, _, right in drawn) <= 1000


def test_every_regime_has_its_row_and_its_colour(page):
    for label in LABELS:
        assert page.count(f"key regime-{label}") == 2
        assert f'class="area regime-{label}"' in page
    assert set(STACKED) == set(LABELS)


def test_many_sessions_are_averaged_and_still_add_up_to_one():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(4), size=3000)
    at, mean = chapter._averaged(np.arange(3000.0), shares)
    assert len(at) == COLUMNS
    np.testing.assert_allclose(mean.sum(axis=1), 1.0)
    np.testing.assert_allclose(mean[0], shares[:6].mean(axis=0))


def test_the_table_holds_what_the_summary_says(page, found):
    told = found.to_dict()
    for label in LABELS:
        duration = told["average_duration_sessions"][label]
        assert (f"{duration:.1f}" if duration is not None else "this regime was never confirmed") in page
    assert f"{told['switches']} changes" in page


def test_a_history_without_a_model_says_why():
    short = detect(a_market(seed=0, sessions=50)[1])
    assert "no model: 50 sessions, the first fit needs 252 before it" in regimes(short.times, short.price, short)


def test_a_single_price_is_no_picture(found):
    price = np.where(np.arange(700) == 3, 100.0, np.nan)
    assert "fewer than two prices are known" in regimes(found.times, price, found)
