"""The `latency` commands: build, check, show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from posesearch.cli.context import Ctx, planned
from posesearch.cli.options import MemoryFormat, Switch
from posesearch.cli.output import Answer, Grid, counted, number, pairs

if TYPE_CHECKING:
    from posesearch.flows.latency import TableResult

RUN_NAMES = {
    "other_run": "held-out, other run*",
    "as_measured": "the same as measured",
    "same_run": "held-out, same run",
    "selected": "selected by a search",
}


def build(
    *,
    space: str | None = None,
    run: str | None = None,
    runtime: str = "eager",
    precision: str = "fp32",
    threads: int = 1,
    batch: int = 1,
    memory_format: MemoryFormat = "contiguous",
    nets: int = 68,
    held_out: int = 40,
    out: str | None = None,
    fresh: Switch = False,
    ctx: Ctx,
) -> Answer:
    """Measures blocks and networks of a space on this device and fits a latency predictor; again, it goes on.

    Args:
        space: Search space: a name (see 'posesearch space list') or a YAML file.
        run: A run whose space is meant; by default the newest, or space 'demo' where there is none.
        runtime: How networks are run: eager, cudagraph, compile, onnxruntime or tensorrt.
        precision: Number format: fp32, fp16 or bf16.
        threads: CPU threads of a timed network.
        batch: Images in one call.
        memory_format: Order of images and weights in memory.
        nets: Networks to fit the predictor on, 10 or more.
        held_out: Networks to test it on, 5 or more.
        out: Name of the table in latency/; by default SPACE-RUNTIME-PRECISION and what is not the default of the rest.
        fresh: Measure everything again.
        ctx: Global options.
    """
    from posesearch.flows import latency as flow

    result = flow.build(
        space=space,
        run=run,
        runtime=runtime,
        precision=precision,
        threads=threads,
        batch=batch,
        memory_format=memory_format,
        nets=nets,
        held_out=held_out,
        out=out,
        fresh=fresh,
        seed=ctx.seed,
        device=ctx.device,
        dry_run=ctx.dry_run,
        progress=ctx.progress,
    )
    document = result.to_plain()
    if ctx.dry_run:
        return planned("latency build", {"table": document["table"], **document["plan"]})
    return Answer(
        document=document,
        text=table_text(result),
        files=(document["table"],),
        next_command=(
            f"posesearch search --latency-ms {result.usual_ms:.2g} --runtime {runtime}"
            f"{f' --table {out}' if out else ''}"
        ),
    )


def show(file: str | None = None, /) -> Answer:
    """Shows how good a latency table's predictions are, and for which device it holds.

    Args:
        file: A table's path, or its name in latency/; the newest by default.
    """
    from posesearch.flows import latency as flow

    result = flow.show(file=file)
    return Answer(document=result.to_plain(), text=table_text(result))


def check(
    *,
    runtime: str = "eager",
    precision: str = "fp32",
    threads: int = 1,
    ctx: Ctx,
) -> Answer:
    """Says whether this machine is quiet enough to measure latency, and for which precision of claim.

    Args:
        runtime: How the network is run: eager, cudagraph, compile, onnxruntime or tensorrt.
        precision: Number format: fp32, fp16 or bf16.
        threads: CPU threads of the timed network.
        ctx: Global options.
    """
    from posesearch.flows import quiet as flow

    result = flow.check(
        runtime=runtime,
        precision=precision,
        threads=threads,
        device=ctx.device,
        dry_run=ctx.dry_run,
        progress=ctx.progress,
    )
    document = result.to_plain()
    if ctx.dry_run:
        return planned("latency check", document["conditions"])
    found = pairs(
        (
            ("median here", f"{document['here_ms'][0]:.3f} ms, then {_each(document['here_ms'][1:])}"),
            ("fresh processes", _each(document["fresh_ms"])),
            ("drift", f"{document['drift']:+.1%}"),
            ("between processes", _share(document["spread"])),
            ("interval", f"± {_share(document['half_width'])}"),
            ("load", f"{document['load']:.1f} on {document['cores']} cores"),
        )
    )
    return Answer(document=document, text=(*found, document["verdict"]))


def table_text(result: TableResult) -> tuple[str | Grid, ...]:
    """Returns a table's facts, scores and verdict for people."""
    document = result.to_plain()
    bound, noise, line = document["bound"], document["runs"], document["calibration"]
    facts = pairs(
        (
            ("table", f"{document['table']} (id {document['id']})"),
            ("space", f"{document['space']['name']} (id {document['space']['id']})"),
            ("device", _device(document["fingerprint"])),
            (
                "measured",
                f"{counted(document['blocks'], 'block')}, {counted(document['nets'], 'network')} to fit on, "
                f"{document['held_out']} held out, {document['selected']} selected by searches",
            ),
            (
                "fit",
                f"{line['constant_ms']:.3f} ms + {line['slope']:.3f} x sum of blocks"
                f"{', their prices corrected by the networks' if line['prices'] else ''}"
                f"{', with a ridge correction' if line['residual'] else ''}",
            ),
            (
                "bound",
                f"{bound['low']:+.1%} to {bound['high']:+.1%} of a prediction, each end holds for "
                f"{bound['coverage']:.0%} of networks like the held-out ones",
            ),
            (
                "noise floor",
                f"{_share(document['noise'])} between two runs (the second {noise['scale']:.3f}x the first, taken out); "
                f"they rank networks alike to Kendall {number(noise['kendall'])}",
            ),
        )
    )
    return (*facts, _scores(document), _baselines(document), document["verdict_text"])


def _scores(document: Mapping[str, Any]) -> Grid:
    columns = ("networks", "MAPE", "bias", "p95", "max", "within 5 %", "within 10 %", "Spearman", "Kendall")
    rows = []
    for key, scores in document["scores"].items():
        if scores is None:
            rows.append((f"{RUN_NAMES[key]}: none yet", *("-" for _ in columns)))
            continue
        rows.append(
            (
                RUN_NAMES[key],
                str(scores["nets"]),
                _share(scores["mape"]),
                f"{scores['bias']:+.2%}",
                _share(scores["p95"]),
                _share(scores["max"]),
                f"{scores['hits_5']:.0%}",
                f"{scores['hits_10']:.0%}",
                number(scores["spearman"]),
                number(scores["kendall"]),
            )
        )
    return Grid(
        title="errors on networks the predictor was not fitted on",
        columns=("tested on", *columns),
        right=columns,
        rows=tuple(rows),
        caption=(
            f"*on the first run's scale: a network that is in neither took {document['runs']['sentinel_factor']:.3f}x as "
            "long in the other run.",
        ),
    )


def _baselines(document: Mapping[str, Any]) -> Grid:
    names = {
        "constant": "a constant",
        "depth": "a line in the number of blocks",
        "macs": "a line in the MACs",
    }
    floor = document["noise"]
    after_scale = document["baselines_after_scale"]
    rows = [("this table", document["mape"], document["mape_after_scale"]), ("noise floor", None, floor)]
    rows += [(names[key], error, after_scale[key]) for key, error in document["baselines"].items()]
    columns = ("MAPE", "MAPE after scale", "after scale / noise")
    return Grid(
        title="beside predictors that know little (held-out, other run)",
        columns=("predictor", *columns),
        right=columns,
        rows=tuple(
            (
                name,
                "-" if raw is None else _share(raw),
                _share(scaled),
                f"{scaled / floor:.1f}" if floor else "-",
            )
            for name, raw, scaled in rows
        ),
        caption=(
            "after scale: one common factor between predicted and measured is taken out, of every row.",
        ),
    )


def _device(plain: Mapping[str, Any]) -> str:
    conditions = plain["conditions"]
    threads = f", {counted(conditions['threads'], 'thread')}" if conditions["device"] == "cpu" else ""
    return f"{plain['device']}, {conditions['runtime']}, {conditions['precision']}{threads}, torch {plain['torch']}"


def _each(values_ms: list[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values_ms) + " ms"


def _share(value: float) -> str:
    return f"{value:.2%}"
