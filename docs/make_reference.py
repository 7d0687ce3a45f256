"""Write docs/playbooks.md from the sections themselves, and the README's table of models from what was measured.

`python docs/make_reference.py`; a test keeps both current.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tradewind.evaluation.plan import SECTIONS
from tradewind.live.settings_alerts import AlertsSection, DestinationSection, HealthLimits
from tradewind.market.sources.files import FilesOptions
from tradewind.market.sources.synthetic import SyntheticOptions
from tradewind.market.sources.yahoo import YahooOptions

#: Sections of the rooms below the plan, which validate them where they are used.
LIVE = {"alerts": AlertsSection, "alerts.to.NAME": DestinationSection, "alerts.health": HealthLimits}

OPTIONS = {"files": FilesOptions, "synthetic": SyntheticOptions, "yahoo": YahooOptions}

HEAD = """# Playbooks

A playbook is a TOML file. Four ship: `sample` (real quotes, offline), `nasdaq-tft`,
`dual-model` and `ai-semis`. `tradewind init my.toml` copies
one; `tradewind config show my.toml` prints every resolved value with its origin. Later wins: default, file,
`[source.NAME]`, environment (`TRADEWIND__SECTION__KEY`), flag (`--set section.key=value`). Unknown keys are errors with
the nearest known name.

`[source.NAME]` says how a source narrows the playbook: its `options` table is the source's own, any other table
overrides the section of that name. It is in force when `data.source` (or `--source`) is NAME.
`[timeframes.NAME.SECTION]` makes several systems of one playbook, which share an account: [timeframes](timeframes.md).

This page is made from the code by `python docs/make_reference.py`.
"""


def reference() -> str:
    """Return the page."""
    parts = [_section(f"[{name}]", model) for name, model in {**SECTIONS, **LIVE}.items()]
    parts += [_section(f"[source.{name}.options]", model) for name, model in OPTIONS.items()]
    return "\n".join([HEAD, *parts])


def _section(title: str, model: Any) -> str:
    what = (model.__doc__ or "").strip().splitlines()[0]
    rows = [f"## `{title}`", "", what, "", "| key | default | allowed | meaning |", "|---|---|---|---|"]
    for key, schema in model.model_json_schema()["properties"].items():
        meaning = schema.get("description", "").replace("|", "\\|")
        rows.append(f"| `{key}` | {_default(model, key)} | {_allowed(schema)} | {meaning} |")
    return "\n".join([*rows, ""])


def _default(model: Any, key: str) -> str:
    if model.model_fields[key].is_required():
        return "none: say it"
    value = model.model_fields[key].get_default(call_default_factory=True)
    if isinstance(value, HealthLimits):
        return "`[alerts.health]`"
    return "–" if value in (None, (), {}, "") else f"`{value}`".replace("|", "\\|")


def _allowed(schema: dict[str, Any]) -> str:
    parts = [schema, *schema.get("anyOf", [])]
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign} {part[word]:g}" for part in parts for word, sign in signs.items() if word in part]
    said += [", ".join(map(str, part["enum"])) for part in parts if "enum" in part]
    return ", ".join(dict.fromkeys(said)) or str(schema.get("type", ""))


ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- models: made by docs/make_reference.py -->", "<!-- end of models -->"

#: Model: what it is, after whom, and which measured ratio says how fast it is.
MODELS = {
    "naive_normal": ("no drift, recent volatility: the baseline, here with calibration", "RiskMetrics 1996", None),
    "scale_blend": ("pooled log-volatility with a prior, trees for the rest: the default", "own", None),
    "lightgbm_quantile": ("gradient boosted quantiles of all features", "Ke et al. 2017", None),
    "lstm": ("long short-term memory, classes with barriers", "Hochreiter & Schmidhuber 1997", "lstm_neuralforecast"),
    "gru": ("gated recurrent units, Huber", "Cho et al. 2014", "gru_neuralforecast"),
    "transformer": (
        "self-attention encoder, classes with barriers",
        "Vaswani et al. 2017",
        "transformer_neuralforecast",
    ),
    "tft": ("Temporal Fusion Transformer: close, high, low", "Lim et al. 2021", "train_pytorch_forecasting"),
    "mamba_stock": ("selective state spaces over bars", "Gu & Dao 2023; Shi 2024", "mamba_stock_mambapy"),
    "ts_mamba": ("the same over patches, both ways", "Ma et al. 2024", "ts_mamba_mambapy"),
    "samba": ("graph-Mamba over the stocks of a date", "after Mehrabian et al. 2024", None),
    "kan": ("Kolmogorov-Arnold splines, which are drawn", "Liu et al. 2024", "kan_neuralforecast"),
    "gpt_patches": ("small GPT-2 on patches, randomly initialised", "Radford et al. 2019", "gpt_patches_transformers"),
    "ensemble_equal": ("equal weights of the networks and scale_blend", "Bates & Granger 1969", None),
    "ensemble_ewma_softmax": ("softmax of recent losses, with a floor", "Herbster & Warmuth 1998", None),
    "ensemble_bayes": ("Bayesian model averaging", "Hoeting et al. 1999", None),
    "ensemble_thompson": ("Thompson sampling", "Thompson 1933", None),
    "ensemble_stacking": ("linear stacking of quantiles", "Wolpert 1992", None),
}


def models_table() -> str:
    """Return the table of models with what was measured of them."""
    skill = _figures("skill")
    ratios = {name: value for kept in ("tft", "mamba", "networks") for name, value in _kept(kept)["ratios"].items()}
    rows = [
        "| model | is | after | against its peer | loss saved over 1 / 5 / 20 days, % [95 %] |",
        "|---|---|---|---|---|",
    ]
    for name, (what, paper, ratio) in MODELS.items():
        rows.append(f"| `{name}` | {what} | {paper} | {_speed(ratio, ratios)} | {_saved(skill.get(name))} |")
    return "\n".join(rows)


def _saved(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return "not measured"
    cells = []
    for h in ("1", "5", "20"):
        low, high = figures[h]["pinball_skill_ci"]
        cells.append(f"{figures[h]['pinball_skill']:.1f} [{low:.1f}, {high:.1f}]")
    return " / ".join(cells).replace("-", "−")


def _speed(ratio: str | None, ratios: dict[str, float]) -> str:
    if ratio is None or ratio not in ratios:
        return "–"
    digits = 2 if ratios[ratio] < 2 else 1  # 0.97 is a loss
    peer = next(peer for ending, peer in PEERS.items() if ratio.endswith(ending))
    return f"{ratios[ratio]:.{digits}f}× {peer}"


PEERS = {
    "pytorch_forecasting": "pytorch-forecasting",
    "neuralforecast": "neuralforecast",
    "mambapy": "mambapy",
    "transformers": "transformers",
}


def _kept(name: str) -> dict[str, Any]:
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {"ratios": {}, "figures": {}}


def _figures(name: str) -> dict[str, Any]:
    return dict(_kept(name)["figures"])


def readme(text: str) -> str:
    """Return the README with its table of models made anew."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{models_table()}\n{END}{after}"


if __name__ == "__main__":
    Path(__file__).with_name("playbooks.md").write_text(reference(), "utf-8")
    page = ROOT / "README.md"
    page.write_text(readme(page.read_text("utf-8")), "utf-8")
