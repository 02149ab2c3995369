"""The keys of [models] and [drift]."""

from __future__ import annotations

from edgemon.config.keys import Key, Section
from edgemon.config.settings import (
    DriftSettings,
    ModelSettings,
    QualitySettings,
    RedactSettings,
    TruthSettings,
)
from edgemon.config.tables import CaptureKind, FalseAlarmsKind, RangesKind, ReferenceKind, Table
from edgemon.config.values import (
    Boolean,
    Choice,
    Duration,
    Integer,
    Path,
    Patterns,
    Real,
    Size,
    Words,
)
from edgemon.quality.kinds import KINDS

# A table: rows stand as they read best.
# fmt: off
DRIFT = Section(
    "drift",
    DriftSettings,
    "The test of live values against a model's profile.",
    (
        Key("enabled", Boolean(), True, "Whether drift is tested.", common=True),
        Key("window", Integer(20, 100_000), 1000, "Latest values that are tested.",
            common=True),
        Key("false_alarms", FalseAlarmsKind(),
            {"at_most": 0.01, "per_predictions": 1_000_000},
            "Chance of any false alarm of a model within that many predictions, or within a "
            'span of time such as "30d" at the rate at which they come.', common=True),
        Key("min_effect", Real(0, 1), 0.05,
            "Distance D between the distributions below which no alarm is raised."),
        Key("clear_ratio", Real(0, 1, above=True), 0.8,
            "An alarm is over when the distance has been below this share of its threshold "
            "for a whole window."),
    ),
)

_REDACT = (
    Key("allow", Patterns(256), [],
        'Features that may stand in raw rows, such as ["amount", "sensor_*"]; empty allows all.'),
    Key("deny", Patterns(256), [], "Features that may not, whatever `allow` says."),
    Key("hash_ids", Boolean(), False,
        "Whether ids of predictions and labels leave as hashes, with a key that is made on the "
        "device and stays there. Labels still find their predictions."),
    Key("output", Boolean(), True, "Whether the output stands in raw rows."),
)

_TRUTH = (
    Key("join", Choice("auto", "always", "never"), "auto",
        'When predictions with an id wait for their truth: "auto" from the first label of the model on, "always" from '
        "the start."),
    Key("keep", Integer(1, 1_000_000), 10_000, "Predictions that wait, and labels that came before theirs."),
    Key("ttl", Duration("1s", "31d"), "1h", "How long each waits."),
    Key("size", Size("4KiB", "1GiB"), "4MiB", "Memory for the former, and again for the latter."),
    Key("task", Choice("auto", "classification", "regression"), "auto",
        "What the model does. Seen from the profile, or from the values: numbers that are no score from 0 to 1 with a "
        "label 0 or 1 are quantities."),
    Key("threshold", Real(0, 1), 0.5, 'A score from here on predicts class "1".'),
    Key("first", Integer(100, 1_000_000), 1000,
        "Labelled predictions that make the reference of errors where the profile has none; and calls that make that "
        "of errors which the application reports."),
)

_QUALITY = (
    Key("enabled", Boolean(), True,
        "Whether faults of the data are told: missing, NaN, infinite, out of range, of another type, stuck, "
        "repeated, late, silent."),
    Key("learn", Integer(100, 1_000_000), 1000,
        "First predictions from which is learnt what is normal, where no profile says it."),
    Key("range", RangesKind(), {},
        "Smallest and largest value of features, in place of what the profile has seen."),
    Key("tolerance", Real(0, 0.5, above=True), 0.001, "Share of values that may lie outside `range`."),
    Key("stuck_after", Integer(0, 1_000_000_000), 0,
        "A sensor that sends one number so many times in a row is stuck.",
        implied="as many as its ties in the profile and in its first values make implausible, at least 100"),
    Key("may_stand_still", Patterns(256), [], "Features that are never called stuck."),
    Key("max_late", Duration("0s", "3650d"), "5m",
        "A prediction's own time that lies further behind the clock is late; 0 is no limit."),
    Key("max_early", Duration("0s", "3650d"), "1m",
        "One that lies further ahead of the clock is early; 0 is no limit."),
    Key("max_disorder", Duration("0s", "3650d"), "1s",
        "One that lies further behind that of the prediction before is out of order; 0 is no limit."),
    Key("max_silence", Duration("0s", "365d"), "0s", "Longest pause between two predictions.",
        implied="ten times the longest one seen, of a model that was regular for long"),
    Key("ignore", Words(*KINDS), [], "What is counted and not told."),
)

MODELS = Section(
    "models",
    ModelSettings,
    'One table a model, named as the application names it; [models."*"] is for all others, and '
    "for what a model's own table leaves out.",
    (
        Key("profile", Path("file"), "",
            "Reference that drift is tested against, made by `edgemon profile build`; empty "
            "is no test."),
        Key("reference", ReferenceKind(), "none",
            "In place of a profile: make it on the device, from the first N predictions of "
            "each version; drift is tested from then on."),
        Key("drift", Table("a table with any keys of [drift]", DRIFT.keys, DriftSettings), {},
            "What is different for this model from [drift].", implied="all as in `[drift]`"),
        Key("capture", CaptureKind(), {"sample": 0.01},
            "Which raw rows are kept beside the aggregates: a share of them, or so many of each "
            "`window`, any with the same chance.", common=True),
        Key("recorder", Integer(0, 100_000), 0,
            "The flight recorder: so many predictions before an alarm, and as many from it on, "
            "are shipped whole, whatever `capture` says. 0 is none."),
        Key("capture_size", Size("4KiB", "16MiB"), "1MiB",
            "Memory for the rows of one version that wait in a reservoir for the window's end, and "
            "again for those in the recorder. Beyond it fewer are held, and counted."),
        Key("redact", Table("a table with any of allow, deny, hash_ids and output", _REDACT,
                            RedactSettings),
            {}, 'What raw rows leave out, such as { deny = ["name", "ip_*"], hash_ids = true }.',
            implied="nothing is left out"),
        Key("truth", Table("a table with any of join, keep, ttl, size, task, threshold and first", _TRUTH,
                           TruthSettings),
            {}, "How truths that come later find their predictions, such as { ttl = \"1d\" }.",
            implied="as below"),
        Key("quality", Table("a table with any of the keys of [models.NAME.quality]", _QUALITY,
                             QualitySettings),
            {}, "Faults of the model's data (docs/quality.md): rules, and what is counted and not told, such as "
            '{ max_silence = "30s", range = { amount = [0, 10000] }, ignore = ["late"] }.',
            implied="what its profile and its first predictions let expect"),
        Key("window", Duration("1s", "1d"), "60s", "Length of one window of aggregates.",
            common=True),
        Key("max_versions", Integer(1, 64), 2,
            "Versions of the model that are kept at one time."),
        Key("version_ttl", Duration("1s", "30d"), "1h",
            "A version that has been silent for so long is let go."),
    ),
)
# fmt: on
