"""Predictions from files into a profile builder: CSV, JSON lines, NumPy arrays.

Streams are named as the agent names them: an output that is a number or text is "output"; a vector
of confidences is "confidence" (its largest entry, a number), "entropy" (in nats) and "class" (that
entry's index, text); "latency"; a feature is "f:<name>". Each reader takes lines or an open binary file, never a path:
`source` is only there to name it in errors. Memory does not grow with the file.
"""

from __future__ import annotations

import ast
import csv
import json
import math
import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator

from edgemon.drift.build import KindError, ProfileBuilder
from edgemon.drift.confidence import summarize
from edgemon.errors import EdgemonError
from edgemon.metrics import Counters
from edgemon.performance.join import JoinTable, Pair
from edgemon.typed import Any, BinaryIO, NamedTuple

# Columns that are never features unless they are named as such.
IGNORED = ("ts", "id", "label", "model", "version")
OUTPUTS = ("output", "prediction", "score")
LABEL = "label"
# Predictions of a file of JSON lines that wait for their label, and labels that wait for theirs.
_JOIN_KEEP, _JOIN_BYTES = 100_000, 64 << 20
_MISSING = frozenset(("", "na", "n/a", "nan", "null", "none"))
_CHUNK_BYTES = 1 << 20


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
                return f"f:{column}" if listed else "latency" * (column == "latency")
            if column == "latency":
                return "latency"
            return "" if column in IGNORED else f"f:{column}"

        return [stream(column) for column in columns]

    def label_of(self, columns: list[str]) -> str:
        """The column that holds the truth, "" where there is none."""
        if self.label or LABEL not in columns or LABEL in (*self.features, *self.ignore):
            return self.label
        return LABEL


class CsvTable:
    """Comma, semicolon or tab separated values with a header row, judged when it is made.

    streams: for each column its stream, "" for one that is left out.  source: names it in errors.
    """

    def __init__(self, lines: Iterable[str], roles: Roles, source: str) -> None:
        text = iter(lines)
        header = next(text, None)
        if header is None:
            raise SourceError(
                f"{source}: the file is empty; a header row with column names is needed"
            )
        header = header.removeprefix("\ufeff")
        delimiter = max(",;\t", key=header.count)
        columns = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
        if len(set(columns)) != len(columns) or "" in columns:
            raise SourceError(
                f"{source}:1: column names must be there and differ: {', '.join(columns)}"
            )
        if all(_is_number(name) for name in columns):
            raise SourceError(f"{source}:1: the first row holds numbers; a header row is needed")
        self.columns = columns
        self.streams = roles.streams(columns, source)
        if not any(self.streams):
            raise SourceError(f"{source}:1: no column is left after what is ignored")
        self._source = source
        self._reader = csv.reader(text, delimiter=delimiter)

    @property
    def place(self) -> str:
        """File and line of the row that was read last."""
        return f"{self._source}:{self._reader.line_num + 1}"

    def rows(self) -> Iterator[list[str]]:
        """The rows' cells, without the spaces around them; empty lines are skipped."""
        try:
            for row in self._reader:
                if not row:
                    continue
                if len(row) != len(self.columns):
                    raise SourceError(
                        f"{self.place}: {len(row)} cells, the header has {len(self.columns)}"
                    )
                yield [cell.strip() for cell in row]
        except csv.Error as error:
            raise SourceError(f"{self.place}: {error}") from error


def is_missing(cell: str) -> bool:
    """An empty cell, NA, N/A, NaN, null, none."""
    return cell.lower() in _MISSING


def read_csv(
    lines: Iterable[str], builder: ProfileBuilder, roles: Roles, source: str
) -> Iterator[int]:
    """A CsvTable. Yields the rows read, now and then.

    A column is numeric when its first cell that is not missing is a number; a later text in it is
    an error, unless the column is named in roles.text.
    """
    csv_table = CsvTable(lines, roles, source)
    used = [
        (i, stream, csv_table.columns[i] in roles.text)
        for i, stream in enumerate(csv_table.streams)
        if stream
    ]
    for _, stream, _ in used:
        builder.declare(stream)
    number, put_text = builder.number, builder.text
    judged = _judged_columns(csv_table, roles)
    try:
        for row in csv_table.rows():
            for i, stream, is_text in used:
                cell = row[i]
                if is_missing(cell):
                    continue
                if is_text:
                    put_text(stream, cell)
                    continue
                try:
                    x = float(cell)
                except ValueError:
                    put_text(stream, cell)
                else:
                    number(stream, x)
            if judged is not None:
                _judge_row(builder, row, *judged)
            builder.row_done()
            if builder.rows % 1000 == 0:
                yield builder.rows
    except KindError as error:
        raise SourceError(
            f"{csv_table.place}: {error}; name the column with --text, or --ignore it"
        ) from error
    yield builder.rows


def _judged_columns(table: CsvTable, roles: Roles) -> tuple[int, int, int | None, bool] | None:
    """Where output, label and confidence stand, and whether the output is text in any case; None without a truth."""
    label = roles.label_of(table.columns)
    if not label or "output" not in table.streams:
        return None
    at = table.streams.index("output")
    sure = table.columns.index(roles.confidence) if roles.confidence else None
    return at, table.columns.index(label), sure, table.columns[at] in roles.text


def _judge_row(
    builder: ProfileBuilder, row: list[str], at: int, label: int, sure: int | None, text: bool
) -> None:
    if is_missing(row[at]) or is_missing(row[label]):
        return
    confidence = None
    if sure is not None:
        if is_missing(row[sure]):
            return
        try:
            confidence = float(row[sure])
        except ValueError:
            return  # the stream says so
    output = row[at] if text else _value(row[at])
    builder.labelled.pair(output, row[label] if text else _value(row[label]), confidence)


def _value(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def read_json_lines(
    lines: Iterable[str], builder: ProfileBuilder, roles: Roles, source: str, model: str = ""
) -> Iterator[int]:
    """JSON lines as the agent's socket takes them. Yields the rows read, now and then.

    Lines of other models than `model` are left out; without it all must be of one model. So are
    metrics. roles name features (without "f:") and their kinds. The truth of a prediction is its "label", in the same
    line or in a label's own, which is joined by id.
    """
    seen_model = model
    truths = JoinTable(_JOIN_KEEP, _JOIN_BYTES, math.inf, Counters())
    line_number = 0
    try:
        for line_number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                event = json.loads(line)
            except ValueError as error:
                raise SourceError(f"{source}:{line_number}: not JSON: {error}") from error
            if not isinstance(event, dict):
                raise SourceError(
                    f"{source}:{line_number}: an object with model and output is needed"
                )
            name = event.get("model", "")
            if model and name != model:
                continue
            if "output" not in event and "features" not in event:
                if LABEL in event and "id" in event:
                    known = truths.labelled(str(event["id"]), "", _label(event[LABEL]), 0.0)
                    _judge_pair(builder, known)
                continue
            if line_number > 1 and seen_model and name != seen_model:
                raise SourceError(
                    f"{source}:{line_number}: predictions of {name!r}, before of {seen_model!r}; "
                    "say which with --model"
                )
            seen_model = seen_model or name
            _prediction(event, builder, roles)
            if event.get("output") is not None:
                _judge_event(event, builder, truths)
            builder.row_done()
            if builder.rows % 1000 == 0:
                yield builder.rows
    except KindError as error:
        raise SourceError(
            f"{source}:{line_number}: {error}; name it with --text, or --ignore it"
        ) from error
    except (TypeError, ValueError, OverflowError) as error:
        raise SourceError(f"{source}:{line_number}: {error}") from error
    if not builder.rows:
        of = f" of model {model!r}" if model else ""
        raise SourceError(f"{source}: there is no prediction{of} in it")
    yield builder.rows


def _label(value: object) -> float | str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return float(value)
    raise TypeError(f"a label is a number or text, not a {type(value).__name__}")


def _judge_event(event: dict[str, Any], builder: ProfileBuilder, truths: JoinTable) -> None:
    output = event["output"]
    if not isinstance(output, str):
        output = [float(x) for x in output] if isinstance(output, list) else float(output)
    if event.get(LABEL) is not None:
        _judge_pair(builder, Pair("", output, _label(event[LABEL])))
    elif event.get("id") is not None:
        _judge_pair(builder, truths.predicted(str(event["id"]), "", output, 0.0))


def _judge_pair(builder: ProfileBuilder, pair: Pair | None) -> None:
    if pair is not None and pair.output != []:
        builder.labelled.pair(pair.output, pair.label)


def _prediction(event: dict[str, Any], builder: ProfileBuilder, roles: Roles) -> None:
    output = event.get("output")
    if isinstance(output, list) and output:
        brief = summarize([float(entry) for entry in output])
        builder.number("confidence", brief.confidence)
        builder.number("entropy", brief.entropy)
        builder.text("class", str(brief.position))
    else:
        _put(builder, "output", output, as_text="output" in roles.text)
    _put(builder, "latency", event.get("latency"))
    features = event.get("features") or {}
    if isinstance(features, list):
        features = {f"f{i}": value for i, value in enumerate(features)}
    if not isinstance(features, dict):
        raise TypeError("features must be an object or a list")
    for name, value in features.items():
        if name not in roles.ignore and (not roles.features or name in roles.features):
            _put(builder, f"f:{name}", value, as_text=name in roles.text)


def _put(builder: ProfileBuilder, stream: str, value: object, *, as_text: bool = False) -> None:
    if value is None:
        builder.declare(stream)
    elif isinstance(value, str) or as_text:
        builder.text(stream, str(value))
    elif isinstance(value, (int, float)):
        builder.number(stream, float(value))
    else:
        raise TypeError(f"stream {stream!r} holds a {type(value).__name__}, not a number or text")


# NumPy's type codes -> array's, by size; int64 passes through Python ints, all else is exact in
# float64.
_NPY_TYPES = {
    "f8": "d", "f4": "f", "i8": "q", "i4": "i", "i2": "h", "i1": "b",
    "u8": "Q", "u4": "I", "u2": "H", "u1": "B", "b1": "B",
}  # fmt: skip


def read_npy(file: BinaryIO, builder: ProfileBuilder, roles: Roles, source: str) -> Iterator[int]:
    """A NumPy .npy file (versions 1 to 3) with a 1-D or 2-D array of numbers: rows by features.

    Columns are f0, f1, …, and roles speak of them by these names. NaN is missing. Yields the rows
    read. Format: NumPy Enhancement Proposal 1.
    """
    shape, code, swap, fortran = _npy_header(file, source)
    rows, width = shape[0], (shape[1] if len(shape) == 2 else 1)
    columns = [f"f{i}" for i in range(width)]
    streams = roles.streams(columns, source)
    for stream in streams:
        if stream:
            builder.declare(stream)
    if fortran:
        # Column after column: a builder does not mind, rows are only counted.
        for stream in streams:
            for part in _npy_items(file, code, swap, rows, 1, source):
                if stream:
                    _put_all(builder, stream, part)
        builder.row_done(rows)
    else:
        for part in _npy_items(file, code, swap, rows, width, source):
            for i, stream in enumerate(streams):
                if stream:
                    _put_all(builder, stream, part[i::width])
            builder.row_done(len(part) // width)
            yield builder.rows
    yield builder.rows


def _put_all(builder: ProfileBuilder, stream: str, values: array[Any]) -> None:
    number = builder.number
    for value in values:
        number(stream, float(value))


def _npy_header(file: BinaryIO, source: str) -> tuple[tuple[int, ...], str, bool, bool]:
    """(shape, array typecode, whether to swap bytes, whether column after column)."""
    start = file.read(8)
    if len(start) < 8 or start[:6] != b"\x93NUMPY" or start[6] not in (1, 2, 3):
        raise SourceError(f"{source}: not a .npy file of version 1, 2 or 3")
    size = struct.Struct("<H" if start[6] == 1 else "<I")
    try:
        (length,) = size.unpack(file.read(size.size))
        if length > 1 << 20:
            raise ValueError("its length")
        header = ast.literal_eval(file.read(length).decode("utf-8" if start[6] == 3 else "latin-1"))
        descr, shape, fortran = header["descr"], header["shape"], bool(header["fortran_order"])
        order, kind = descr[0], descr[1:]
        sizes_are_right = all(type(side) is int and side >= 0 for side in shape)
    except (struct.error, ValueError, SyntaxError, KeyError, TypeError, IndexError) as error:
        raise SourceError(f"{source}: the header of the .npy file is damaged: {error}") from error
    if kind not in _NPY_TYPES or order not in "<>|=":
        raise SourceError(
            f"{source}: an array of {descr!r}; numbers are needed (float64, int32, …)"
        )
    if not sizes_are_right or len(shape) not in (1, 2) or 0 in shape:
        raise SourceError(f"{source}: an array of shape {shape}; rows by features are needed")
    swap = {"<": "little", ">": "big"}.get(order, sys.byteorder) != sys.byteorder
    return shape, _NPY_TYPES[kind], swap, fortran


def _npy_items(
    file: BinaryIO, code: str, swap: bool, rows: int, width: int, source: str
) -> Iterator[array[Any]]:
    """Whole rows, about a megabyte at a time."""
    item = array(code).itemsize
    at_once = max(1, _CHUNK_BYTES // (item * width))
    while rows:
        take = min(rows, at_once)
        data = file.read(take * width * item)
        if len(data) < take * width * item:
            raise SourceError(f"{source}: the file is cut off: its header promises more")
        part: array[Any] = array(code)
        part.frombytes(data)
        if swap:
            part.byteswap()
        yield part
        rows -= take


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
                _put(builder, stream, value, as_text=kind == "text")
            offset += len(page["values"])
            more = bool(page["more"] and page["values"])
    builder.row_done(int(state["have"]))
    request({"cmd": "take_recording", **who})


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
