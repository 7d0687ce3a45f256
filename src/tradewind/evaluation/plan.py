"""A playbook with every section validated by its room: what the corridor is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import Field

from tradewind.calibration.settings import CalibrationSection
from tradewind.decisions.pairs.settings import PairsSection
from tradewind.decisions.settings import CoordinatorSection, DecisionSection
from tradewind.evaluation.challenge_settings import ChallengeSection
from tradewind.evaluation.schedule_settings import ScheduleSection
from tradewind.evaluation.settings import EvaluationSection, TargetsSection, TuneSection
from tradewind.execution.brokers.settings import BrokerSection
from tradewind.execution.settings import AccountSection, ExecutionSection
from tradewind.features.settings import FeaturesSection
from tradewind.labels.settings import LabelsSection
from tradewind.market.settings import DataSection, UniverseSection
from tradewind.models.settings import EnsembleSection, ModelsSection
from tradewind.playbook import PARTS, Playbook
from tradewind.portfolio.borrow import BorrowSection
from tradewind.portfolio.long_short import LongShortSection
from tradewind.portfolio.optimiser.settings import OptimiserSection
from tradewind.portfolio.settings import LimitsSection, SizingSection
from tradewind.risk.regimes.settings import RegimesSection
from tradewind.risk.settings import RiskSection
from tradewind.risk.stress_settings import StressSection
from tradewind.settings import Section


class HeadSection(Section):
    """What the playbook is."""

    format: int = Field(1, ge=1, description="version of the playbook format")
    description: str = Field("", description="one line for people")
    lineage: str = Field(
        "", pattern="^[^/:]*$", description="family whose trials are counted together; default: the file's name"
    )
    warnings: tuple[str, ...] = Field((), description="shown beside every recommendation")


#: Section name to the room's model, in the order of the corridor.
SECTIONS: dict[str, type[Section]] = {
    "playbook": HeadSection,
    "universe": UniverseSection,
    "data": DataSection,
    "features": FeaturesSection,
    "labels": LabelsSection,
    "models": ModelsSection,
    "ensemble": EnsembleSection,
    "calibration": CalibrationSection,
    "regimes": RegimesSection,
    "risk": RiskSection,
    "stress": StressSection,
    "decision": DecisionSection,
    "coordinator": CoordinatorSection,
    "pairs": PairsSection,
    "sizing": SizingSection,
    "optimiser": OptimiserSection,
    "long_short": LongShortSection,
    "limits": LimitsSection,
    "borrow": BorrowSection,
    "execution": ExecutionSection,
    "account": AccountSection,
    "broker": BrokerSection,
    "evaluation": EvaluationSection,
    "targets": TargetsSection,
    "tune": TuneSection,
    "challenge": ChallengeSection,
    "schedule": ScheduleSection,
}

#: Sections of the rooms below, which validate them where they are used. None changes a result.
BELOW = ("alerts", "drift", "ingest", "live", "server")

#: Sections that a timeframe may narrow; what is left belongs to the account that all share.
IN_A_TIMEFRAME = {
    name: SECTIONS[name]
    for name in (
        "data",
        "features",
        "labels",
        "models",
        "ensemble",
        "calibration",
        "decision",
        "sizing",
        "optimiser",
        "long_short",
        "evaluation",
    )
}


@dataclass(frozen=True)
class Plan:
    """All sections of a resolved playbook.

    ``timeframes`` are the plans of its ``[timeframes.NAME]`` tables, which share one account; none in most playbooks.
    ``timeframe`` is the name of such a plan, "" of a playbook's own.
    """

    playbook: Playbook
    head: HeadSection
    universe: UniverseSection
    data: DataSection
    features: FeaturesSection
    labels: LabelsSection
    models: ModelsSection
    ensemble: EnsembleSection
    calibration: CalibrationSection
    regimes: RegimesSection
    risk: RiskSection
    stress: StressSection
    decision: DecisionSection
    coordinator: CoordinatorSection
    pairs: PairsSection
    sizing: SizingSection
    optimiser: OptimiserSection
    long_short: LongShortSection
    limits: LimitsSection
    borrow: BorrowSection
    execution: ExecutionSection
    account: AccountSection
    broker: BrokerSection
    evaluation: EvaluationSection
    targets: TargetsSection
    tune: TuneSection
    challenge: ChallengeSection
    schedule: ScheduleSection
    timeframes: Mapping[str, Plan] = field(default_factory=dict)
    timeframe: str = ""

    @classmethod
    def of(cls, playbook: Playbook) -> Plan:
        """Validate every section; raise ``PlaybookError`` with the first room's complaints."""
        playbook.refuse_unknown_sections([*SECTIONS, *BELOW])
        parts: dict[str, Any] = {name: playbook.section(name, model) for name, model in SECTIONS.items()}
        if "borrow" in playbook.values:  # it says what borrowing costs; execution does where there is none
            lent = {"borrow_bps_per_year": parts["borrow"].default_bps}
            parts["execution"] = parts["execution"].model_copy(update=lent)
        named = playbook.values.get(PARTS, {})
        if named:
            playbook.refuse_unknown_in_parts(PARTS, named, IN_A_TIMEFRAME, SECTIONS)
        timeframes = {name: cls.of(playbook.part(PARTS, name)) for name in named}
        for name, part in timeframes.items():
            share = parts["coordinator"].capital.get(name, 1.0 / len(timeframes))
            timeframes[name] = replace(part, limits=part.limits.of_share(share), timeframe=name)
        return cls(playbook=playbook, head=parts.pop("playbook"), timeframes=timeframes, **parts)

    @property
    def lineage(self) -> str:
        """Return the family that its models belong to: each timeframe has one of its own."""
        return self.column(self.playbook.lineage)

    def column(self, name: str) -> str:
        """Return what a symbol or a model is called beside those of other timeframes: ``NAME@TIMEFRAME``."""
        return f"{name}@{self.timeframe}" if self.timeframe else name

    @property
    def holds_a_book(self) -> bool:
        """Return whether weights are chosen together, and not position by position from signals."""
        return self.optimiser.use or self.long_short.book != "none"

    def sections(self) -> dict[str, Section]:
        """Return the validated sections by their name in the file."""
        return {name: getattr(self, "head" if name == "playbook" else name) for name in SECTIONS}
