"""Sentiment of news (row A1): declared, not computed, until a room that reads text exists."""

from __future__ import annotations

from tradewind.features.spec import Family

FAMILY = Family("sentiment", "scores of dated articles by a text model")
_WHY = "no source of scored news is connected"

FAMILY.declare("sentiment_score", "0..100", "Mean score of the news known at the bar", _WHY, critical=True)
FAMILY.declare("sentiment_momentum", "points", "Newer half of the news less the older half", _WHY)
FAMILY.declare("sentiment_volatility", "points", "Standard deviation of the scores", _WHY)
FAMILY.declare("news_volume_24h", "articles", "Articles of the last 24 hours", _WHY)
