"""Correlation graph: where a symbol stands among those it moves with (playbook row C11)."""

from __future__ import annotations

from tradewind.features.expression import RETURN, Expr, correlation_graph
from tradewind.features.spec import Family

FAMILY = Family("correlation_graph", "graph of members joined where returns of 30 bars correlate above 0.3")
BARS, LEAST, THRESHOLD = 30, 20, 0.3


def _add(name: str, what: str, unit: str, description: str, source: str) -> Expr:
    place = correlation_graph(RETURN, what, bars=BARS, least=LEAST, threshold=THRESHOLD)
    return FAMILY.add(name, place, unit, description, source, costly=True)


_add("graph_degree_30", "degree", "0..1", "Share of the members that it is joined with", "Freeman 1978")
_add(
    "graph_eigenvector_30",
    "eigenvector",
    "1 in the root mean square",
    "Eigenvector centrality: joined with members that are central themselves",
    "Bonacich 1972",
)
_add(
    "graph_clustering_30",
    "clustering",
    "0..1",
    "Share of the pairs it is joined with that are joined too",
    "Watts & Strogatz 1998",
)
_add("graph_pagerank_30", "pagerank", "1 on average", "PageRank with damping 0.85", "Page et al. 1999")
