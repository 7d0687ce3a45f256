"""A playbook with every section validated by its room: what the corridor is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from tradewind.calibration.settings import CalibrationSection
from tradewind.decisions.settings import DecisionSection
from tradewind.evaluation.settings import EvaluationSection, TargetsSection, TuneSection
from tradewind.execution.settings import AccountSection, ExecutionSection
from tradewind.features.settings import FeaturesSection
from tradewind.labels.settings import LabelsSection
from tradewind.market.settings import DataSection, UniverseSection
from tradewind.models.settings import EnsembleSection, ModelsSection
from tradewind.playbook import Playbook
from tradewind.portfolio.settings import LimitsSection, SizingSection
from tradewind.settings import Section


class HeadSection(Section):
    """What the playbook is."""

    format: int = Field(1, ge=1, description="version of the playbook format")
    description: str = Field("", description="one line for people")
    lineage: str = Field("", description="family whose trials are counted together; default: the file's name")
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
    "decision": DecisionSection,
    "sizing": SizingSection,
    "limits": LimitsSection,
    "execution": ExecutionSection,
    "account": AccountSection,
    "evaluation": EvaluationSection,
    "targets": TargetsSection,
    "tune": TuneSection,
}


@dataclass(frozen=True)
class Plan:
    """All sections of a resolved playbook."""

    playbook: Playbook
    head: HeadSection
    universe: UniverseSection
    data: DataSection
    features: FeaturesSection
    labels: LabelsSection
    models: ModelsSection
    ensemble: EnsembleSection
    calibration: CalibrationSection
    decision: DecisionSection
    sizing: SizingSection
    limits: LimitsSection
    execution: ExecutionSection
    account: AccountSection
    evaluation: EvaluationSection
    targets: TargetsSection
    tune: TuneSection

    @classmethod
    def of(cls, playbook: Playbook) -> Plan:
        """Validate every section; raise ``PlaybookError`` with the first room's complaints."""
        playbook.refuse_unknown_sections(SECTIONS)
        parts: dict[str, Any] = {name: playbook.section(name, model) for name, model in SECTIONS.items()}
        return cls(playbook=playbook, head=parts.pop("playbook"), **parts)

    def sections(self) -> dict[str, Section]:
        """Return the validated sections by their name in the file."""
        return {name: getattr(self, "head" if name == "playbook" else name) for name in SECTIONS}
