"""What an earlier search left in `result.json`: whether it still is the answer, and what to say where it is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from posesearch.errors import DataError
from posesearch.progress import Progress
from posesearch.search.outcome import RESULT, SearchOutcome, read_outcome
from posesearch.search.study import table_part
from posesearch.spaces.arch import Architecture


def stored_outcome(
    folder: Path, name: str, sampler: str, progress: Progress, table: str = ""
) -> SearchOutcome | None:
    """Returns the result of the study `name`, if one was written; says when one of another kind is replaced.

    That is one of another encoding or latency table.

    Args:
        folder: The search folder.
        name: From `study.study_name`; it ends with the encoding.
        sampler: The resolved sampler asked for.
        progress: Where to say it.
        table: Identity of the latency table, or an empty string.
    """
    if not (folder / RESULT).is_file():
        return None
    try:
        outcome = read_outcome(folder)
    except DataError:
        progress.message(f"search: {folder / RESULT} is damaged; it is made again from the study.")
        return None
    if outcome.asks == 0:  # an impossible budget: nothing was proposed, so no settings were used
        return None
    if outcome.study == name:
        return outcome
    if _question(outcome.study, outcome.table) != _question(name, table):
        return None
    if outcome.table != table:
        progress.message(
            f"search: the stored result was searched {_source(outcome.table)}, this search goes {_source(table)} and "
            "keeps a study of its own. It begins anew, with the accuracies already known, and replaces the result."
        )
    else:
        progress.message(
            f"search: the stored result was searched with {_words(outcome.sampler, outcome.seed)}; sampler {sampler} "
            "keeps a study of its own. It begins anew, with the accuracies already known, and replaces the result."
        )
    return None


def is_answer(
    stored: SearchOutcome, *, asks: int, references: Mapping[str, Architecture], confirm_effort: str | None
) -> bool:
    """Says whether a stored result of the same study still holds.

    Args:
        stored: The result.
        asks: Answered asks in the study now.
        references: The references asked for.
        confirm_effort: How long the front shall be measured again; None when it need not be.
    """
    known = {reference.name: reference.member.candidate.arch for reference in stored.references}
    confirmed = confirm_effort is None or (stored.confirmed and stored.confirm_effort == confirm_effort)
    return stored.status == "ok" and stored.asks == asks and known == dict(references) and confirmed


def same_settings(stored: SearchOutcome, sampler: str, seed: int) -> bool:
    """Says whether the stored result was searched with this sampler and seed."""
    return (stored.sampler, stored.seed) == (sampler, seed)


def settings_text(stored: SearchOutcome, sampler: str, seed: int, left: int) -> str:
    """Returns what to say when sampler or seed differ from those of the stored result.

    Args:
        stored: The result.
        sampler: The resolved sampler asked for.
        seed: The seed asked for.
        left: Evaluations still to be made.
    """
    told = f"search: the stored result was searched with {_words(stored.sampler, stored.seed)}"
    asked = _words(sampler, seed)
    if left > 0:
        return f"{told}; the {left} evaluations left are proposed with {asked}."
    return (
        f"{told}, and all evaluations asked for are made: nothing is left to propose with {asked}. "
        "Ask for more evaluations (--trials), or search in another run."
    )


def history(
    stored: SearchOutcome | None, sampler: str, seed: int, asks: int
) -> tuple[str, int, tuple[str, ...]]:
    """Returns sampler, seed and `earlier` of a result that continues `stored`.

    Args:
        stored: The result of the same study, if any.
        sampler: The resolved sampler asked for.
        seed: The seed asked for.
        asks: Answered asks in the study now; as many as stored means that the settings asked for did nothing.
    """
    if stored is None:
        return sampler, seed, ()
    if stored.asks == asks:
        return stored.sampler, stored.seed, stored.earlier
    if same_settings(stored, sampler, seed):
        return sampler, seed, stored.earlier
    return sampler, seed, (*stored.earlier, f"{_words(stored.sampler, stored.seed)} for {stored.asks} asks")


def _question(study: str, table: str) -> str:
    """Returns a study's name without its encoding and latency table."""
    return study.rpartition("_")[0].removesuffix(table_part(table))


def _source(table: str) -> str:
    return f"by latency table {table}" if table else "by measuring every candidate"


def _words(sampler: str, seed: int) -> str:
    return f"sampler {sampler}, seed {seed}"
