"""Trained models by name: found by id or alias, one of each playbook's family its champion.

Artefacts lie in the home's ``models`` folder; the records know their ids, the hashes of their cards and what aliases
have meant so far.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.clock import Clock
from tradewind.errors import DataError, InputError, did_you_mean
from tradewind.models import artefact as artefacts
from tradewind.models.artefact import Artefact

if TYPE_CHECKING:
    from tradewind.market.store.records import AliasChange, ModelRecord, Records

CHAMPION, CHALLENGER = "champion", "challenger"
ALIASES = (CHAMPION, CHALLENGER)


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

    def entered(self, lineage: str, model: str) -> dict[str, str]:
        """Make a playbook's own model champion where there is none, else challenger.

        One that has learnt just what the champion has (the same version, of newer bars or code) challenges nobody.
        Returns the aliases that came to mean it.
        """
        versions = {one.id: one.version for one in self.records.models(lineage)}

        def decide(changes: Sequence[AliasChange]) -> list[AliasChange]:
            now = current(changes)
            champion = now.get(CHAMPION)
            if model in now.values() or (champion is not None and versions[champion] == versions[model]):
                return []
            alias = CHAMPION if now.get(CHAMPION) is None else CHALLENGER
            return [self._change(lineage, alias, model, "train")]

        return {c.alias: model for c in self.records.change_aliases(lineage, decide)}

    def promote(self, reference: str, lineage: str | None = None) -> dict[str, Any]:
        """Make a model champion of its lineage; a challenger that is promoted is no challenger any more.

        Its files are compared with their hashes first. Raises as :meth:`artefact`.
        """
        record = self.find(reference, lineage)
        self._read(record)

        def decide(changes: Sequence[AliasChange]) -> list[AliasChange]:
            now = current(changes)
            if now.get(CHAMPION) == record.id:
                raise InputError(f"{record.id} is the champion of {record.lineage} already")
            made = [self._change(record.lineage, CHAMPION, record.id, "promote")]
            if now.get(CHALLENGER) == record.id:
                made.append(self._change(record.lineage, CHALLENGER, None, "promote"))
            return made

        self.records.change_aliases(record.lineage, decide)
        return self.state_of(record.lineage)

    def rollback(self, lineage: str | None = None) -> dict[str, Any]:
        """Bring back the champion before the present one; the present one becomes the challenger."""
        lineage = lineage or self._only_lineage()
        self._require_known(lineage)

        def decide(changes: Sequence[AliasChange]) -> list[AliasChange]:
            champions = stack(changes)
            if len(champions) < 2:
                raise InputError(
                    f"{lineage} has no champion before the present one",
                    hint="`tradewind models list` shows what can be promoted",
                )
            self._read(self._of(champions[-2]))
            return [
                self._change(lineage, CHAMPION, champions[-2], "rollback"),
                self._change(lineage, CHALLENGER, champions[-1], "rollback"),
            ]

        self.records.change_aliases(lineage, decide)
        return self.state_of(lineage)

    def state_of(self, lineage: str) -> dict[str, Any]:
        """Return what the aliases of a lineage mean now, and the champions before, newest last."""
        changes = self.records.alias_changes(lineage)
        now = current(changes)
        return {"lineage": lineage, **{a: now.get(a) for a in ALIASES}, "champions_before": stack(changes)[:-1]}

    def listed(self, lineage: str | None = None) -> list[dict[str, Any]]:
        """Return one row a model, newest first, with its aliases and whether its files are there."""
        known = self.records.models(lineage)
        meant = {one.lineage: current(self.records.alias_changes(one.lineage)) for one in known}
        return [self._row(one, meant[one.lineage]) for one in known]

    def find(self, reference: str, lineage: str | None = None) -> ModelRecord:
        """Return a model by its id, the beginning of one, or an alias (``champion``, or ``LINEAGE:champion``)."""
        family, colon, alias = reference.rpartition(":")
        if alias in ALIASES:
            return self._of_alias(alias, (family if colon else lineage) or self._only_lineage())
        self._require_known(lineage)
        known = self.records.models(lineage)
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

    def _of_alias(self, alias: str, lineage: str) -> ModelRecord:
        self._require_known(lineage)
        found = current(self.records.alias_changes(lineage)).get(alias)
        if found is None:
            raise InputError(f"{lineage} has no {alias}", hint="`tradewind models list` shows what there is")
        return self._of(found)

    def _require_known(self, lineage: str | None = None) -> list[str]:
        """Return the playbooks of which there are models; ``InputError`` where there is none, or not this one."""
        lineages = sorted({one.lineage for one in self.records.models()})
        if not lineages:
            raise InputError("there is no trained model here yet", hint="`tradewind train PLAYBOOK` makes some")
        if lineage is not None and lineage not in lineages:
            raise did_you_mean("playbook with trained models", lineage, lineages)
        return lineages

    def _only_lineage(self) -> str:
        lineages = self._require_known()
        if len(lineages) > 1:
            raise InputError(
                f"there are models of {len(lineages)} playbooks: {', '.join(lineages)}",
                hint=f"say which: --playbook {lineages[0]}, or {lineages[0]}:{CHAMPION}",
            )
        return lineages[0]

    def _change(self, lineage: str, alias: str, model: str | None, why: str) -> AliasChange:
        from tradewind.market.store.records import AliasChange

        return AliasChange(lineage, alias, model, self.clock.now(), why)

    def _row(self, record: ModelRecord, meant: Mapping[str, str | None]) -> dict[str, Any]:
        return {
            "id": record.id,
            "model": record.model,
            "playbook": record.lineage,
            "source": record.detail.get("source"),
            "aliases": [alias for alias in ALIASES if meant.get(alias) == record.id],
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
