"""Which run of a sweep its validation chooses: the held-out rows measure it, and choose nothing."""

from collections.abc import Mapping, Sequence

from distillkit.artifacts.sweep_records import SweepState
from distillkit.console.wording import brief, listed
from distillkit.reporting.leaderboard import Run


def front(values: Sequence[Sequence[float]], rises: Sequence[bool]) -> list[int]:
    """The places of those that no other is at least as good as in all, and better in some."""
    signed = [[v if up else -v for v, up in zip(row, rises, strict=True)] for row in values]

    def beats(one: Sequence[float], other: Sequence[float]) -> bool:
        return all(a >= b for a, b in zip(one, other, strict=True)) and one != other

    return [i for i, row in enumerate(signed) if not any(beats(other, row) for other in signed)]


def chosen(runs: Sequence[Run], sweep: SweepState | None) -> list[Run]:
    """The run that is best by validation, or those on the front of a study's objectives.

    None where nobody knows: records of earlier versions have no validation score.
    """
    objective = sweep.objective if sweep else {}
    values = _values(sweep) if sweep and objective else {}
    tuned = [run for run in runs if len(values.get(run.folder.name, ())) == len(objective)]
    if objective and tuned:
        every = [values[run.folder.name] for run in tuned]
        places = front(every, [*objective.values()])
        return [tuned[i] for i in (places if len(objective) > 1 else places[:1])]
    if len(runs) < 2 or not all("validation" in run.results for run in runs):
        return []
    return [max(runs, key=lambda run: float(run.results["validation"]))]


def _values(sweep: SweepState) -> Mapping[str, Sequence[float]]:
    return {path.name: job.values for path, job in sweep.jobs.items()}


def sentence(runs: Sequence[Run], sweep: SweepState | None, keys: Sequence[str]) -> str:
    """What `chosen` comes to, in words; `keys` are those that differ between the runs."""
    best = chosen(runs, sweep)
    if not best:
        return ""
    objective = [*sweep.objective] if sweep else []
    named = [f"run {run.folder.name}{_settings(run, keys)}" for run in best]
    if len(objective) > 1:
        return (
            f"The study tuned {listed(objective)}; none beats {listed(named)}. "
            "The held-out rows measured them and chose nothing."
        )
    if objective:
        return (
            f"The study tuned {objective[0]} and chose {named[0]}. The held-out rows measured it "
            "and chose nothing."
        )
    text = f"By validation, which alone may choose, the best is {named[0]}"
    if best[0] is runs[0]:
        return f"{text}."
    return f"{text}; who takes the first of this table instead chose by the held-out rows."


def _settings(run: Run, keys: Sequence[str]) -> str:
    text = ", ".join(f"{key}={brief(run.overrides.get(key, ''), 40)}" for key in keys)
    return f" ({text})" if text else ""
