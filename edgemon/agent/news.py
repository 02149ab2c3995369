"""What a model makes known, as the events that leave."""

from __future__ import annotations

from edgemon.agent.models import Model, News
from edgemon.quality.kinds import QualityNews
from edgemon.records import Event
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.agent.silences import Told
    from edgemon.performance.model import News as PerformanceNews

# Of drift; what is not here is for information.
_SEVERITY = {"started": "alarm", "autocorrelated": "warning", "blind": "warning"}
# Of faults of the data: these are alarms, the others warnings.
_GRAVE = frozenset({"missing", "nan", "infinite", "out_of_range", "wrong_type", "stuck", "silence"})


def of_streams(model: Model, news: News) -> Event | None:
    """Drift, and faults of the data. None where the configuration ignores that fault."""
    data = {"prediction": model.predictions} | news.data
    if isinstance(back := news.data.get("values_since_change"), int) and back:
        data["since_prediction"] = max(1, model.predictions - back + 1)
    if not isinstance(news, QualityNews):
        kind, severity = f"drift.{news.what}", _SEVERITY.get(news.what, "info")
    elif news.what in model.settings.quality.ignore:
        return None
    elif news.over:
        kind, severity = "quality.recovered", "info"
    else:
        kind, severity = f"quality.{news.what}", "alarm" if news.what in _GRAVE else "warning"
    return Event(kind, severity, news.message, model.model, model.version, news.stream, data)


def of_performance(model: Model, news: PerformanceNews) -> Event:
    data = {"prediction": model.predictions} | news.data
    return Event(news.type, news.severity, news.message, model.model, model.version, data=data)


def of_silence(told: Told) -> Event:
    name, version, news = told
    return Event(f"quality.{news.what}", "alarm", news.message, name, version, data=news.data)


def started(model: Model) -> Event:
    data: dict[str, object] = {"profile": model.profile.hash if model.profile is not None else ""}
    return _life(model, "model.started", "began", data)


def retired(model: Model, why: str) -> Event:
    return _life(model, "model.retired", f"was let go: {why}", {})


def _life(model: Model, what: str, words: str, data: dict[str, object]) -> Event:
    message = f"model {model.model} version {model.version or '-'} {words}"
    return Event(what, "info", message, model.model, model.version, data=data)
