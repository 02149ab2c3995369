"""Where a profile builder gets its values: what all readers of files share, and the agent's recordings.

Streams are named as the agent names them: an output that is a number or text is "output"; a vector of confidences is
"confidence" (its largest entry, a number), "entropy" (in nats) and "class" (that entry's index, text); "latency"; a
feature is "f:<name>". Each reader (csv_source.py, json_source.py, npy_source.py) takes lines or an open binary file,
never a path: `source` is only there to name it in errors. Memory does not grow with the file.
"""

from __future__ import annotations

from edgemon.drift.build import ProfileBuilder
from edgemon.errors import EdgemonError
from edgemon.std.collections.abc import Callable
from edgemon.typed import Any, NamedTuple

# Columns that are never features unless they are named as such.
IGNORED = ("ts", "id", "label", "model", "version")
OUTPUTS = ("output", "prediction", "score")
LABEL = "label"


class SourceError(EdgemonError):
    """A file does not hold what it should. The message begins with file and line."""

    exit_code = 4


class Roles(NamedTuple):
    """What the columns of a table are. All by name.

    output: the column with the model's output; "" takes the first of OUTPUTS that is there, if any.
    features: exactly these; () takes all others.  ignore: neither.  text: columns
    that are categories although they may look like numbers.  label: the truth; "" takes the column "label" where
    it is not a feature or ignored.  confidence: of the predicted class, the stream of that name.
    """

    output: str = ""
    features: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    label: str = ""
    confidence: str = ""

    def streams(self, columns: list[str], source: str) -> list[str]:
        """For each column its stream, "" for one that is left out."""
        named = (self.output, self.label, self.confidence)
        for name in (*named, *self.features, *self.ignore, *self.text):
            if name and name not in columns:
                raise SourceError(
                    f"{source}:1: there is no column {name!r}; there are {', '.join(columns)}"
                )
        output = self.output or next(
            (n for n in OUTPUTS if n in columns and n not in self.features), ""
        )

        def stream(column: str) -> str:
            if column in self.ignore:
                return ""
            if column == output:
                return "output"
            if column == self.confidence:
                return "confidence"
            if column == self.label:
                return ""
            if self.features:
                listed = column in self.features
                return feature(column) if listed else "latency" * (column == "latency")
            if column == "latency":
                return "latency"
            return "" if column in IGNORED else feature(column)

        def feature(column: str) -> str:  # a column may be called as its stream is
            if column.startswith("f:") and column[2:] in columns:
                raise SourceError(f"{source}:1: {column!r} and {column[2:]!r} are one feature")
            return f"f:{column.removeprefix('f:')}"

        return [stream(column) for column in columns]

    def label_of(self, columns: list[str]) -> str:
        """The column that holds the truth, "" where there is none."""
        if self.label or LABEL not in columns or LABEL in (*self.features, *self.ignore):
            return self.label
        return LABEL


def put(builder: ProfileBuilder, stream: str, value: object, *, as_text: bool = False) -> None:
    """One value of any of the kinds that JSON has; None declares the stream and counts nothing."""
    if value is None:
        builder.declare(stream)
    elif isinstance(value, str) or as_text:
        builder.text(stream, str(value))
    elif isinstance(value, (int, float)):
        builder.number(stream, float(value))
    else:
        raise TypeError(f"stream {stream!r} holds a {type(value).__name__}, not a number or text")


def read_recording(
    request: Callable[[dict[str, object]], dict[str, Any]],
    builder: ProfileBuilder,
    who: dict[str, object],
) -> None:
    """Fetch a finished recording from the agent, page after page, and tell it to let go.

    request: asks the agent's control socket and gives the reply.  who: {"model": …, "version": …}.
    `recorded` gives have, want and streams (name -> kind); `take_recording` gives values of one
    stream from an offset on, and whether there are more; without a stream, the agent forgets them.
    """
    state = request({"cmd": "recorded", **who})
    for stream, kind in state["streams"].items():
        offset, more = 0, True
        while more:
            page = request({"cmd": "take_recording", **who, "stream": stream, "offset": offset})
            for value in page["values"]:
                put(builder, stream, value, as_text=kind == "text")
            offset += len(page["values"])
            more = bool(page["more"] and page["values"])
    builder.row_done(int(state["have"]))
    request({"cmd": "take_recording", **who})
