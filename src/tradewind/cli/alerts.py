"""`tradewind alerts list` and `tradewind alerts test`: what was worth telling, and whether it would reach anybody."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tradewind.cli.common import JsonOption, SetOption, emit, failures, home_folder, instant, note

app = typer.Typer(help="Alerts: what there was, and whether they reach you.", no_args_is_help=True)

LevelOption = Annotated[str, typer.Option("--level", metavar="LEVEL", help="info, warning or critical.")]


@app.callback()
def _group() -> None:
    """Alerts: what there was, and whether they reach you."""


@app.command("list", epilog="Example: tradewind alerts list --level warning --kind 'reconcile*'")
def list_(
    level: Annotated[str, typer.Option("--level", metavar="LEVEL", help="Least level shown.")] = "info",
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="Only this kind; * stands for anything.")] = "",
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="Only from then on.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")] = 50,
    json: JsonOption = False,
) -> None:
    """Print the alerts of this home, newest first."""
    with failures(json):
        rows = _stored(limit=limit, level=_level(level), kind=kind, since=instant(since, first=True))
        if json:
            emit({"alerts": rows})
            return
        for row in rows:
            typer.echo(f"{row['at'][:19]}  {row['level']:<8}  {row['kind']:<20}  {row['what']}")
        if not rows:
            note("no alerts")


@app.command(epilog="Example: tradewind alerts test my.toml --level critical")
def test(
    playbook: Annotated[
        str,
        typer.Argument(
            help="The playbook with [alerts]; without it, what TRADEWIND__ALERTS__… in the environment says."
        ),
    ] = "sample",
    level: LevelOption = "warning",
    to: Annotated[list[str] | None, typer.Option("--to", metavar="NAME", help="Only there; may be repeated.")] = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Send one message to every destination and say what came of it; exit 1 where one failed."""
    with failures(json):
        from tradewind.live.destinations import send_test

        wanted = _level(level)
        section, found = _destinations(playbook, set_, to or [])
        rows = send_test(found, wanted, signature=playbook, timeout_seconds=section.timeout_seconds)
        if json:
            emit({"level": level, "sent": rows})
        else:
            for row in rows:
                _say(row, level)
        if not all(row["ok"] for row in rows):
            raise typer.Exit(1)


def _say(row: dict[str, Any], level: str) -> None:
    typer.echo(f"{'ok ' if row['ok'] else 'BAD'}  {row['name']:<16} {row['address']:<32} {row['detail']}")
    if not row["gets_level"]:
        note(f"     {row['name']} gets no {level} alerts otherwise: its level is higher")


def _level(text: str) -> Any:
    from tradewind.errors import did_you_mean
    from tradewind.live.destinations import LEVELS

    if text not in LEVELS:
        raise did_you_mean("level of an alert", text, LEVELS)
    return text


def _stored(**wanted: Any) -> list[dict[str, Any]]:
    """Return the alerts in the records; none where there are no records, which this verb does not make."""
    from tradewind.live.alerting import newest_alerts
    from tradewind.market.store.home import records_url
    from tradewind.market.store.records import Records

    url = records_url(home_folder())
    if url.startswith("sqlite") and not (home_folder() / "records.sqlite").exists():
        return []
    records = Records(url)
    try:
        return [alert.to_dict() for alert in newest_alerts(records, **wanted)]
    finally:
        records.close()


def _destinations(playbook: str, set_: list[str] | None, to: list[str]) -> tuple[Any, Any]:
    import os

    from tradewind.cli.common import parse_overrides
    from tradewind.errors import InputError, did_you_mean
    from tradewind.live.destinations import destinations
    from tradewind.live.settings_alerts import AlertsSection
    from tradewind.playbook import load

    read = load(playbook, overrides=parse_overrides(set_), environ=os.environ)
    section = read.section("alerts", AlertsSection)
    if not section.to:
        raise InputError(
            f"{playbook} has no [alerts.to.NAME]: nobody is told",
            hint='for example [alerts.to.phone] with url_env = "TRADEWIND_ALERT_PHONE" and level = "critical"',
        )
    for name in to:
        if name not in section.to:
            raise did_you_mean("destination of alerts", name, section.to)
    chosen = {name: one for name, one in section.to.items() if not to or name in to}
    return section, destinations(section.model_copy(update={"to": chosen}))
