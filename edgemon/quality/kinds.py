"""What can be wrong with a model's data: the names of events, of columns and of what `ignore` takes."""

from __future__ import annotations

from edgemon.typed import NamedTuple

# By the numbers of questions in csrc/em_quality.h.
OF_A_VALUE = ("missing", "nan", "infinite", "out_of_range", "wrong_type", "new_category")
OF_A_ROW = ("features_changed", "repeated", "late", "early", "out_of_order")
MISSING, NAN, INFINITE, OUT_OF_RANGE, WRONG_TYPE, NEW_CATEGORY = range(6)
FEATURES_CHANGED, REPEATED, LATE, EARLY, OUT_OF_ORDER = range(5)

KINDS = (*OF_A_VALUE, "stuck", *OF_A_ROW, "silence")

# Alarms of a numeric stream, those of a text are fewer: six questions or five and a run.
ALARMS_OF_A_STREAM = 6
ALARMS_OF_THE_ROWS = len(OF_A_ROW)


class QualityNews(NamedTuple):
    """Something began to be wrong, or is well again.

    what: one of KINDS.  over: it is well again.  data: JSON-serialisable.
    """

    what: str
    stream: str
    message: str
    data: dict[str, object]
    over: bool = False
