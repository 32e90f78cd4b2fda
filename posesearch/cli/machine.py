"""The `doctor` command."""

from __future__ import annotations

from posesearch.cli.context import Ctx
from posesearch.cli.output import Answer
from posesearch.errors import EnvironmentFault


def doctor(*, ctx: Ctx) -> Answer:
    """Checks versions, device, threads, write access, spaces and a tiny forward; every fault with its remedy."""
    from posesearch.flows.doctor import doctor as flow

    checks = flow(device=ctx.device)
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.status:<4}  {check.name:<{width}}  {check.detail}")
        if check.remedy:
            lines.append(f"      {'':<{width}}  -> {check.remedy}")
    failed = [check.name for check in checks if check.status == "fail"]
    warned = sum(check.status == "warn" for check in checks)
    summary = f"{len(checks)} checks: {len(failed)} failed, {warned} warnings."
    return Answer(
        document={"ok": not failed, "checks": [check.to_plain() for check in checks]},
        text=(*lines, summary),
        next_command="posesearch demo" if not failed else None,
        exit_code=EnvironmentFault.exit_code if failed else 0,
        fault=f"Failed: {', '.join(failed)}. Each has its remedy under 'checks'." if failed else "",
    )
