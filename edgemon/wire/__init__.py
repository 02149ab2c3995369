"""The batch format, version 1. This text is the only specification of its bytes.

A batch is rows of one kind from one device. It is one zstd frame; in it is one msgpack map; in that, the rows are
typed columns. With `zstd -dc` and a msgpack library a batch can be read anywhere; tests/wire/decode.js needs nothing
but the former.

## The frame

One ordinary zstd frame (RFC 8878): no dictionary, no skippable frame before it, nothing behind it, content size
declared (at most 64 MiB), content checksum present. A reader refuses anything else as damaged. The encoder ends zstd
blocks between byte planes of different distributions so that each block has its own entropy table; a reader sees
nothing of it.

## The body

A msgpack map. Its keys, in the order in which they are written (a reader does not rely on the order):

    em      int         format version, 1. Raised only when an older reader would misread. A higher one: refuse, keep.
    req     [str..]     features that a reader must know, else it refuses the batch and keeps it. Absent = none.
    k       str         kind: "pred" | "agg" | "sys" | "event"
    dev     str         device
    fleet   str         fleet
    stream  bin 16      id of the spool that numbered the batch
    seq     uint        from 1 per (dev, stream, k), going on across boots. (dev, stream, k, seq) names the batch
                        everywhere: the same name is the same rows, a hole is a loss.
    boot    bin 16      id of the boot whose monotonic clock m0 and t are of
    t0, m0  int         wall clock (ns since 1970) and monotonic clock (ns) at one instant
    clk     num | nil   estimated error of the wall clock at t0 in ms; nil = it was not synchronised
    n       uint        rows, at most 2^20
    drop    uint        rows of this kind that were lost on the device since the batch before
    r       {str: str}  resource: agent version, configuration hash, …
    c       [column..]  see below; items of all columns together are at most 2^22
    d       [bin..]     what the columns point at

Unknown keys are ignored. A missing key (other than req), or a value of another type, is damage.

## A column

    [name, type, enc, params, bins, nulls]

    name    str         unique together with type. Columns of one name and different types are alternatives: at most one
                        of them is set in a row.
    type    str         of a value: "i8" int64 · "f8" float64 · "f4" float32 · "str" UTF-8 · "bin" bytes ·
                        "v8:m" "v4:m" "vi:m" vectors of m f8, f4, i8 (m >= 0, decimal)
    enc     str         encoding, below
    params  [..]        its parameters
    bins    [uint..]    indices into d. An encoding takes its bins from this list from left to right, and one that
                        contains another encoding passes the list on to it in the place said below.
    nulls   uint        index into d of a bitmap of ceil(n / 8) bytes: bit (row mod 8), lowest first, of byte
                        (row div 8) is 1 where the row has no value. Absent or nil = every row has one. Columns share
                        equal bitmaps.

A column of an unknown type or encoding is skipped and its name reported; the others stay readable. Elements behind
nulls are ignored.

A column's *stream* is its values that are not null, in row order: N of them. A vector column's stream is
component-major: the N first elements, then the N second elements, and so on: N m items. Encodings describe streams;
"n" below is the length of the stream at hand.

## Integers in planes

Most encodings store int64 as `planes` with parameters P = [order, width, shift, step, base, first..]: `first` has
`order` elements (order is 0, 1 or 2, and at most n), and one bin holds (n - order) width bytes. All arithmetic is
modulo 2^64, in two's complement.

    1. Byte j of residual k is at offset j (n - order) + k: all lowest bytes, then all second bytes, … width is 0..8;
       missing bytes are zero.
    2. difference[k] = base + (residual[k] >> shift) step.  The shift is unsigned, 0..63; step is 1..2^64-1.
    3. order 0: the differences are the values. order 1: value[0] = first[0], value[k+1] = value[k] + difference[k].
       order 2: step 3 for order 1 with first[1] gives the differences of order 1; again with first[0], the values.

The constant stride of a clock that never jitters thus costs no byte (width 0).

## Encodings of numbers

Items are i8, or f8, or f4. An f4 is widened to f8; the encodings of floats then apply to both alike.

    "c"  [value]            every item is value. [] when n is 0.
    "r"  []                 raw. One bin: n little-endian items of 8 bytes (f4: of 4).
    "i"  P                  only i8: the values in planes.
    "g"  [item, map, P]     only floats: their bits as integers, in planes. item 8: bits of the float64; item 4: bits of
                            the float32 which is widened (an f8 column may use it).
                            map 0: the integer is the bits as a signed integer of item bytes, with all bits but the sign
                            inverted where it is negative (so the order of integers is the order of floats).
                            map 1: the bits rotated left by one (the sign comes lowest); for item 8 the highest bit of
                            the result is inverted, and it is a signed integer; for item 4 it is unsigned.
    "d"  [divisor, item, P, Q?, patches?]
                            only floats: fractions. The integers a of P (in planes) give a / divisor, divided as float64
                            (a is exact there: |a| <= 2^53; divisor is a positive integer, 10^k or 2^k); item 4: then
                            rounded to float32. Q: nil or absent, or parameters of integers u in planes (the next
                            bin): the float becomes the one u units in the last place away: with map 0 of "g" and the
                            same item, its integer plus u. patches: absent, or a number p > 0, and two more bins:
                            p uint32 positions and p float64, both little-endian, which replace the values at those
                            positions.
    "u"  [size, enc, params, P]
                            a dictionary. First the table, `size` items in the encoding enc with params (not "u") and
                            its bins; then, in planes, the index of each item into the table. In an f4 column the table
                            is of f8.
    "q"  [item, P, Q, enc, params]
                            only vectors of m >= 2 floats, which nearly sum to one. In planes, N positions (P), then N
                            units (Q), then, with enc and params and its bins, the remaining N (m - 1) items,
                            component-major. In each row: s = the remaining elements added up in their order in float64
                            from 0; left = 1 - s, or 0 where that is NaN; item 4: rounded to float32. The element
                            that is missing is the float that Q's u units away from left (as in "d"); it is inserted at
                            the position, the others keep their order.

## Encodings of text

Items are str or bin.

    "c"  [value]            as above.
    "s"  P                  lengths in bytes, in planes; then one bin with all bytes, one string behind the other.
    "u"  [size, enc, params, P]
                            as above.
    "n"  [prefix, digits, P]
                            only str: prefix, then the integer of P in decimal, padded with zeros to `digits` digits
                            (0 = not padded).
    "x"  [template]         only str: every U+0000 of the template stands for one lower-case hexadecimal digit; the rest
                            is as it is. One bin, of planes of n bytes: plane p has, for each row, digit 2p in the upper
                            half and digit 2p + 1 in the lower half of a byte (0 where there is none).

Both numbers and text:

    "a"  [value..]          plain: n values of msgpack, nil where a row has none, vectors as arrays. No bins, no nulls.
                            `layout = "plain"` writes nothing but this.

Which encoding a column gets is the encoder's business and may differ from batch to batch; a reader knows all of them.

## Rows

Absent cells are nil. `t` is µs since m0 on the monotonic clock of `boot`, so that a receiver can re-anchor a whole boot
once its wall clock is known: wall ns = t0 + (1000 t). Flags are 0 or 1.

pred — one prediction a row; a row with `label` and no `output` is the truth about an earlier one, joined by `id`

    t i8 reception · model str · version str · id str? · ts i8? µs since 1970 on the application's clock ·
    output f8|str|v8:m? · latency f8? s · w f8 weight: 1 / probability with which the row was sampled; 0: it was not,
    and stands here for what `why` says · why str? "alarm": one of those right before an alarm of its model, or from
    it on, that are shipped whole · label f8|str? · "f:<feature>" f8|str?, one column a feature

agg — one window of one stream

    t i8 end of the window · dur i8 µs · model str · version str ·
    stream str: "" the model itself, "output", "confidence", "entropy", "class", "latency", "f:<feature>", "truth", or
    "error": the names of errors that the application reported ·
    errors i8? of "": predictions that failed so, not in n ·
    n i8 finite values · missing, nan, pinf, ninf, wrong_type i8? counts, absent = 0 ·
    out_of_range, new_category i8? values that the profile, a rule or what was learnt does not allow, absent = 0 ·
    longest_run i8? equal numbers in a row, from 50 on · of the model itself: features_changed, repeated, late, early,
    out_of_order i8? predictions that lack features, repeat the one before, or whose time cannot be, absent = 0 ·
    mean, m2, min, max f8? (m2 = sum of squared distances from the mean) · sketch bin? of quantiles, mergeable ·
    profile str? 16 hexadecimal digits of the reference's hash, "" or absent = none ·
    hist vi:20? counts in the bins of the profile · d f8? Kolmogorov-Smirnov distance at the end · ks_n, ks_h,
    ks_threshold i8? (of a full window, absent until it is one) · drifted i8? · cats str? JSON {category: count}, of
    text ·
    transitions str? JSON {classes, counts}: how often the class of the column followed that of the row; the last
    class, null, is all others · confidence_hist vi:20? counts of the largest confidence in 20 equal bins of 0 to 1 ·
    invalid i8? vectors that do not sum to 1 ·
    est_n i8? of "": predictions whose accuracy is estimated · est_correct f8? how many of them are right, expected ·
    est_var f8? variance of that number · est_sd f8? of the share that is right, the calibration's own standard error ·
    of "truth", whose n are predictions that met their truth in the window: correct i8? · confusion str? JSON {classes,
    counts}, counts of [true, predicted, n] by index, the last class is all others · brier_n i8?, brier_sum f8? · ece_n,
    ece_correct vi:20?, ece_confidence v8:20? sums in 20 equal bins of the confidence · error_sum, abs_error_sum,
    sq_error_sum f8? of a quantity's prediction - truth ·
    cut str? why the window is shorter than it should be: "restart", the agent was killed and this is its last
    checkpoint, or with n 0 and dur 0 its beginning where it had none; "clock", the wall clock was stepped. Absent = it
    is not · uncounted i8? µs, with "restart": predictions from t on, for so long at most, are in no window

sys — one sample: t, and one f8 column a series ("cpu_percent", "memory_available_bytes", …; of processes with a name
behind a point: "process_memory_bytes.camera"); or, of what an application reports, long form: t · name str · value f8 ·
step i8? · ts i8? µs since 1970 on its own clock

event — t · type str · severity str "info"|"warning"|"alarm" · model, version, stream str? · message str ·
data str? JSON

    Type "gap" says that batches were given up: data {stream (hex), kind, from_seq, to_seq, reason, rows}.

## Precision

Every float64 comes back equal, -0.0 and infinities included, and NaN as NaN (its payload is not kept). With
`precision = "f32"` the f8 of "pred" and "sys" are rounded and sent as f4.
"""

from edgemon.typed import TYPE_CHECKING
from edgemon.wire.encoder import Encoder, encode
from edgemon.wire.rows import (
    BodyBound,
    bound_row_bytes,
    columns_from_rows,
    count_rows,
    rows_from_columns,
)
from edgemon.wire.scheme import FORMAT_VERSION, MAX_BODY_BYTES

if TYPE_CHECKING:
    from edgemon.wire.decoder import decode, decode_report

__all__ = [
    "FORMAT_VERSION",
    "MAX_BODY_BYTES",
    "BodyBound",
    "Encoder",
    "bound_row_bytes",
    "columns_from_rows",
    "count_rows",
    "decode",
    "decode_report",
    "encode",
    "rows_from_columns",
]


def __getattr__(name: str) -> object:
    """The reader is loaded by who reads, which an agent does not."""
    if name in ("decode", "decode_report"):
        from edgemon.wire import decoder

        return getattr(decoder, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
