"""Trained models by name: found by id or alias, one in each seat its champion.

Artefacts lie in the home's ``models`` folder; the records know their ids, the hashes of their cards and what aliases
have meant so far. A playbook's traded model sits in the seat that is named as its lineage; where an ensemble is traded,
each member has a seat of its own, ``LINEAGE/MEMBER``. A timeframe of several is a family of its own,
``LINEAGE@TIMEFRAME``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.clock import Clock
from tradewind.errors import DataError, InputError, RetryError, did_you_mean
from tradewind.models import artefact as artefacts
from tradewind.models.artefact import Artefact
from tradewind.models.settings import ENSEMBLE

if TYPE_CHECKING:
    from tradewind.evaluation.plan import Plan
    from tradewind.market.store.records import AliasChange, ModelDecision, ModelRecord, Records

CHAMPION, CHALLENGER = "champion", "challenger"
ALIASES = (CHAMPION, CHALLENGER)

BY_HAND = "by hand"
"""Who is noted to have decided where nobody says more."""


def seat_of(lineage: str, member: str) -> str:
    """Return the seat of a member of an ensemble."""
    return f"{lineage}/{member}"


def seats_of(plan: Plan) -> dict[str, str]:
    """Return the seats of a plan and the model that is trained for each: the traded one, or an ensemble's members."""
    lineage = plan.lineage
    if plan.models.use != ENSEMBLE:
        return {lineage: plan.models.use}
    return {seat_of(lineage, member): member for member in plan.ensemble.members}


def lineage_of(seat: str) -> str:
    """Return the lineage that a seat belongs to."""
    return seat.partition("/")[0]


def member_of(seat: str) -> str | None:
    """Return whose seat it is among the members of an ensemble; None for that of a traded model."""
    return seat.partition("/")[2] or None


def name_of(seat: str) -> str:
    """Return what a seat is called inside of its playbook: ``MEMBER``, ``MEMBER@TIMEFRAME``, or as it is named."""
    lineage, _, member = seat.partition("/")
    _, at, timeframe = lineage.partition("@")
    return f"{member}{at}{timeframe}" if member else seat


@dataclass(frozen=True)
class ModelRegistry:
    """The trained models of a home."""

    home: Path
    records: Records
    clock: Clock

    @property
    def folder(self) -> Path:
        """Where artefacts lie."""
        return self.home / "models"

    def digest_of(self, model: str) -> str | None:
        """Return what the records say that the hash of a model's card is; None where they do not know it."""
        return next((one.digest for one in self.records.models() if one.id == model), None)

    def add(self, artefact: Artefact) -> None:
        """Enter an artefact in the records; one that was made again takes the place of the one before."""
        from tradewind.market.store.records import ModelRecord

        card = artefact.card
        manifest = card["manifest"]
        detail = {"playbook": manifest["playbook"]["name"], "source": manifest["source"], "pickled": artefact.pickled}
        self.records.record_model(
            ModelRecord(
                id=artefact.id,
                lineage=manifest["lineage"],
                model=card["model"],
                version=card["version"],
                made=datetime.fromisoformat(manifest["made"]),
                trained_until=datetime.fromisoformat(manifest["trained_until"]),
                digest=artefact.digest,
                metrics=card["metrics"],
                detail=detail,
            )
        )

    def entered(self, seat: str, model: str) -> dict[str, str]:
        """Make a playbook's own model champion where its seat is empty, else challenger.

        One that has learnt just what the champion has (the same version, of newer bars or code) challenges nobody.
        Returns the aliases that came to mean it.
        """
        versions = {one.id: one.version for one in self.records.models(lineage_of(seat))}

        def decide(changes: Sequence[AliasChange]) -> list[AliasChange]:
            now = current(changes)
            champion = now.get(CHAMPION)
            if model in now.values() or (champion is not None and versions[champion] == versions[model]):
                return []
            alias = CHAMPION if now.get(CHAMPION) is None else CHALLENGER
            return [self._change(seat, alias, model, "train")]

        return {c.alias: model for c in self.records.change_aliases(seat, decide)}

    def promote(
        self,
        reference: str,
        seat: str | None = None,
        *,
        decision: ModelDecision | None = None,
        reason: str = "",
        by: str = BY_HAND,
    ) -> dict[str, Any]:
        """Make a model champion of its seat; a challenger that is promoted is no challenger any more.

        Its files are compared with their hashes first. ``decision`` is stored with the change, and says over whom it
        was decided; without one it is noted who did it by hand and why. Raises as :meth:`artefact`; ``InputError``
        where it is no model of that seat, or its champion already; ``RetryError`` where another champion sat down since
        the decision.
        """
        record = self.find(reference, seat)
        seat = self._seat_for(record, reference, seat)
        self._read(record)

        def decide(changes: Sequence[AliasChange]) -> list[AliasChange]:
            now = current(changes)
            if now.get(CHAMPION) == record.id:
                raise InputError(f"{record.id} is the champion of {seat} already")
            if decision is not None and now.get(CHAMPION) != decision.champion:
                raise RetryError(
                    f"{seat} has another champion since {decision.champion} was judged: {now.get(CHAMPION)}",
                    hint="judge again: `tradewind retrain PLAYBOOK`",
                )
            made = [self._change(seat, CHAMPION, record.id, "promote")]
            if now.get(CHALLENGER) == record.id:
                made.append(self._change(seat, CHALLENGER, None, "promote"))
            return made

        def noted(changes: Sequence[AliasChange]) -> ModelDecision:
            return self._noted(seat, "promoted", current(changes).get(CHAMPION), record.id, reason, by)

        self.records.change_aliases(seat, decide, decision or noted)
        return self.state_of(seat)

    def rollback(
        self, seat: str | None = None, *, decision: ModelDecision | None = None, reason: str = "", by: str = BY_HAND
    ) -> dict[str, Any]:
        """Bring back the champion before the present one; the present one becomes the challenger.

        ``decision`` is stored with the change; without one it is noted who did it by hand and why.
        """
        seat = self._only_seat(seat)

        def decide(changes: Sequence[AliasChange]) -> list[AliasChange]:
            champions = stack(changes)
            if len(champions) < 2:
                raise InputError(
                    f"{seat} has no champion before the present one",
                    hint="`tradewind models list` shows what can be promoted",
                )
            self._read(self._of(champions[-2]))
            return [
                self._change(seat, CHAMPION, champions[-2], "rollback"),
                self._change(seat, CHALLENGER, champions[-1], "rollback"),
            ]

        def noted(changes: Sequence[AliasChange]) -> ModelDecision:
            before, present = stack(changes)[-2:]
            return self._noted(seat, "rolled_back", present, before, reason, by)

        self.records.change_aliases(seat, decide, decision or noted)
        return self.state_of(seat)

    def state_of(self, seat: str) -> dict[str, Any]:
        """Return what the aliases of a seat mean now, and the champions before, newest last."""
        changes = self.records.alias_changes(seat)
        now = current(changes)
        return {"lineage": seat, **{a: now.get(a) for a in ALIASES}, "champions_before": stack(changes)[:-1]}

    def champion_at(self, seat: str, when: datetime) -> str | None:
        """Return who was champion of a seat at a moment; None where nobody was yet."""
        return current([c for c in self.records.alias_changes(seat) if c.at <= when]).get(CHAMPION)

    def listed(self, lineage: str | None = None) -> list[dict[str, Any]]:
        """Return one row a model, newest first, with its aliases, in which seats, and whether its files are there.

        Of one family where given, or of one seat.
        """
        member = None if lineage is None else member_of(lineage)
        known = self.records.models(None if lineage is None else lineage_of(lineage))
        meant = {one.lineage: self._meant(one.lineage) for one in known}
        return [self._row(one, meant[one.lineage]) for one in known if member in (None, one.model)]

    def find(self, reference: str, lineage: str | None = None) -> ModelRecord:
        """Return a model by its id, the beginning of one, or an alias.

        ``champion`` of a family that has one seat, ``LINEAGE:champion``, or ``LINEAGE/MEMBER:champion``; ``lineage``
        may name a seat too.
        """
        family, colon, alias = reference.rpartition(":")
        if alias in ALIASES:
            return self._of_alias(alias, family if colon else lineage)
        self._require_known(lineage)
        member = None if lineage is None else member_of(lineage)
        known = self.records.models(None if lineage is None else lineage_of(lineage))
        known = [one for one in known if member in (None, one.model)]
        found = [one for one in known if one.id == reference] or [o for o in known if o.id.startswith(reference)]
        if len(found) > 1:
            raise InputError(
                f"{reference!r} is the beginning of {len(found)} ids", hint=", ".join(one.id for one in found[:5])
            )
        if not found:
            raise did_you_mean("model", reference, [*(one.id for one in known), *ALIASES])
        return found[0]

    def artefact(self, reference: str, lineage: str | None = None) -> Artefact:
        """Return a model's artefact; ``DataError`` where its files are not what the records say."""
        return self._read(self.find(reference, lineage))

    def _read(self, record: ModelRecord) -> Artefact:
        return artefacts.read(self.folder / record.id, digest=record.digest)

    def _of(self, model: str) -> ModelRecord:
        return next(one for one in self.records.models() if one.id == model)

    def _of_alias(self, alias: str, name: str | None) -> ModelRecord:
        seat = self._only_seat(name)
        found = current(self.records.alias_changes(seat)).get(alias)
        if found is None:
            raise InputError(f"{seat} has no {alias}", hint="`tradewind models list` shows what there is")
        return self._of(found)

    def _require_known(self, name: str | None = None) -> list[str]:
        """Return the playbooks of which there are models; ``InputError`` where there is none, or not this one."""
        models = self.records.models()
        lineages = sorted({one.lineage for one in models})
        if not lineages:
            raise InputError("there is no trained model here yet", hint="`tradewind train PLAYBOOK` makes some")
        if name is not None and lineage_of(name) not in lineages:
            raise did_you_mean("playbook with trained models", name, lineages)
        members = {one.model for one in models if name is not None and one.lineage == lineage_of(name)}
        if name is not None and member_of(name) not in (None, *members):
            raise did_you_mean("seat", name, [seat_of(lineage_of(name), member) for member in sorted(members)])
        return lineages

    def _only_seat(self, name: str | None) -> str:
        """Return the seat that a name means: itself, or the only one of its family (or of the only family)."""
        lineages = self._require_known(name)
        if name is None and len(lineages) > 1:
            raise InputError(
                f"there are models of {len(lineages)} playbooks: {', '.join(lineages)}",
                hint=f"say which: --playbook {lineages[0]}, or {lineages[0]}:{CHAMPION}",
            )
        lineage = name or lineages[0]
        seats = self.records.seats(lineage)
        if lineage in seats or not seats:
            return lineage
        if len(seats) > 1:
            raise InputError(
                f"{lineage} has {len(seats)} seats: {', '.join(seats)}",
                hint=f"say which: --playbook {seats[0]}, or {seats[0]}:{CHAMPION}",
            )
        return seats[0]

    def _seat_for(self, record: ModelRecord, reference: str, name: str | None) -> str:
        """Return the seat that a model is to be champion of: the one that was named, else its own."""
        family, colon, alias = reference.rpartition(":")
        if alias in ALIASES:
            return self._only_seat(family if colon else name)
        if name is not None and member_of(name):
            return name
        own = seat_of(record.lineage, record.model)
        seats = self.records.seats(record.lineage)
        return own if own in seats and not self._sat_in(record.lineage, record.id) else record.lineage

    def _sat_in(self, seat: str, model: str) -> bool:
        return any(change.model == model for change in self.records.alias_changes(seat))

    def _meant(self, lineage: str) -> dict[str, dict[str, str | None]]:
        """Return what aliases mean in each seat of a family."""
        return {seat: current(self.records.alias_changes(seat)) for seat in self.records.seats(lineage)}

    def _change(self, seat: str, alias: str, model: str | None, why: str) -> AliasChange:
        from tradewind.market.store.records import AliasChange

        return AliasChange(seat, alias, model, self.clock.now(), why)

    def _noted(
        self, seat: str, what: str, champion: str | None, challenger: str, reason: str, by: str
    ) -> ModelDecision:
        from tradewind.market.store.records import ModelDecision

        reasons = [reason] if reason else ["no reason was given"]
        return ModelDecision(seat, self.clock.now(), what, champion, challenger, reasons, {}, by)

    def _row(self, record: ModelRecord, meant: Mapping[str, Mapping[str, str | None]]) -> dict[str, Any]:
        seats = {a: [seat for seat, now in meant.items() if now.get(a) == record.id] for a in ALIASES}
        return {
            "id": record.id,
            "model": record.model,
            "playbook": record.lineage,
            "source": record.detail.get("source"),
            "aliases": [alias for alias in ALIASES if seats[alias]],
            "seats": {alias: own for alias, own in seats.items() if own},
            "version": record.version,
            "made": record.made.isoformat(),
            "trained_until": record.trained_until.isoformat(),
            "metrics": record.metrics,
            "pickled": bool(record.detail.get("pickled")),
            "stored": (self.folder / record.id / artefacts.CARD).is_file(),
            "exports": sorted(export["format"] for export in exports_of(self.folder / record.id)),
        }


def current(changes: Sequence[AliasChange]) -> dict[str, str | None]:
    """Return what each alias means after these changes."""
    return {change.alias: change.model for change in changes}


def stack(changes: Sequence[AliasChange]) -> list[str]:
    """Return the champions so far that were not rolled back, the present one last."""
    champions: list[str] = []
    for change in changes:
        if change.alias != CHAMPION or change.model is None:
            continue
        if change.why == "rollback":
            champions.pop()
        else:
            champions.append(change.model)
    return champions


def exports_of(folder: Path) -> list[dict[str, Any]]:
    """Return what is known of a model's exported files, by format; ``DataError`` where that cannot be read."""
    return [_export(path) for path in sorted((folder / artefacts.EXPORTS).glob("*/export.json"))]


def _export(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text("utf-8"))
        return {**report, "format": str(report["format"])}
    except (OSError, ValueError, LookupError, TypeError) as failure:
        raise DataError(
            f"{path} cannot be read: {failure}",
            hint=f"delete {path.parent} and export again: `tradewind models export {path.parents[2].name}`",
        ) from failure
