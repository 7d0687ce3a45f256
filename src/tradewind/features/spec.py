"""What one feature is, in words and as an expression."""

from __future__ import annotations

from dataclasses import dataclass, field

from tradewind.errors import BugError
from tradewind.features.expression import Expr


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """One entry of the registry.

    Attributes
    ----------
    name, family, unit, description
        ``unit`` is of the values: ``currency``, ``shares``, ``fraction``, ``0..100``, ``standard deviations`` ...
    expression
        How it is computed; None where there is no source for it yet, which ``unavailable`` then explains.
    source
        Paper, book or convention that defines it.
    critical
        A playbook warns loudly where it is missing.
    scale_free
        Changing the unit of prices or of volume changes nothing: fit for a model that pools symbols.
    costly
        Costs many times what others do: in no group but ``all``, asked for by its own or its family's name.
    """

    name: str
    family: str
    unit: str
    description: str
    expression: Expr | None
    source: str = ""
    critical: bool = False
    scale_free: bool = True
    unavailable: str = ""
    costly: bool = False

    @property
    def look_back_bars(self) -> int:
        """Bars of its own that a symbol needs for the first value, the newest included; 0 where unavailable."""
        return self.expression.look_back_bars if self.expression else 0

    @property
    def inputs(self) -> frozenset[str]:
        """Names of the inputs it reads (``sectors`` and ``members`` for cross-sections)."""
        if self.expression is None:
            return frozenset()
        found: set[str] = set()
        for node in self.expression.nodes():
            if node.kind == "input":
                found.add(node.op)
            if node.kind in ("cross", "joint"):
                found.add("sectors" if node.op == "sector_mean" else "members")
        return frozenset(found)


@dataclass(slots=True)
class Family:
    """The features of one file, in order; ``source`` is where those come from that do not say so themselves."""

    name: str
    source: str = ""
    specs: list[FeatureSpec] = field(default_factory=list)

    def add(
        self,
        name: str,
        expression: Expr,
        unit: str,
        description: str,
        source: str = "",
        *,
        critical: bool = False,
        scale_free: bool = True,
        costly: bool = False,
    ) -> Expr:
        """Register a feature; returns its expression so that others can build on it."""
        self._append(
            FeatureSpec(
                name,
                self.name,
                unit,
                description,
                expression,
                source or self.source,
                critical,
                scale_free,
                costly=costly,
            )
        )
        return expression

    def declare(self, name: str, unit: str, description: str, unavailable: str, *, critical: bool = False) -> None:
        """Register a feature that no source delivers yet."""
        self._append(
            FeatureSpec(
                name, self.name, unit, description, None, self.source, critical=critical, unavailable=unavailable
            )
        )

    def _append(self, spec: FeatureSpec) -> None:
        if any(s.name == spec.name for s in self.specs):
            raise BugError(f"feature {spec.name!r} is registered twice in the family {self.name!r}")
        self.specs.append(spec)
