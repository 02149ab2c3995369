"""The one table of keys: parsing, `edgemon init`'s file and docs/configuration.md are made from it.

To add a key: a row here (of models in model_keys.py, of rules in rule_keys.py), a field in settings.py and, when it
must agree with another key, a line in checks.py. The field's name is the key's with its unit: a duration gets `_s`, a
size `_bytes`.
"""

from __future__ import annotations

from edgemon.config import reach
from edgemon.config.keys import Key, Section
from edgemon.config.model_keys import DRIFT, MODELS
from edgemon.config.rule_keys import ACTIONS, RULES
from edgemon.config.settings import (
    AgentSettings,
    AnomalySettings,
    BatchSettings,
    IngestSettings,
    LogSettings,
    MetricsSettings,
    MqttSettings,
    RemoteSettings,
    S3Settings,
    ShipSettings,
    SpoolSettings,
    SystemSettings,
)
from edgemon.config.tables import (
    ANOMALY_METHODS,
    SeriesKind,
    Table,
)
from edgemon.config.values import (
    PLAIN,
    Boolean,
    Choice,
    Duration,
    Integer,
    Integers,
    Listen,
    Mode,
    Path,
    Patterns,
    Real,
    Size,
    Text,
    Times,
    Words,
)

COLLECTORS = (
    "cpu",
    "memory",
    "disk",
    "network",
    "temperature",
    "throttle",
    "gpu",
    "power",
    "process",
)


_NAME = r"[A-Za-z0-9._-]{1,64}"
_NAME_ALLOWED = "1 to 64 of the characters A-Z a-z 0-9 . _ -"
_TOPIC = r"[^\0-\x1f\x7f+#/$][^\0-\x1f\x7f+#]{0,98}[^\0-\x1f\x7f+#/]|[^\0-\x1f\x7f+#/$]"

# A table: rows stand as they read best.
# fmt: off
_ANOMALIES = (
    Key("enabled", Boolean(), True, "Whether series are watched for anomalies."),
    Key("method", Choice(*ANOMALY_METHODS), "ewma",
        'What of a series is held against its own past: "ewma", an average that forgets; '
        '"moving_average", that of six steps; "robust_z", the step itself.'),
    Key("threshold", Real(1, 1000), 12.0,
        "Distance from the median of the past, in units of its robust spread, that is an anomaly."),
    Key("interval", Duration("1s", "1h"), "5m",
        "One step: the mean of a series in it is judged. A longer `system.interval` counts."),
    Key("window", Duration("10s", "31d"), "1d",
        "The past that it is judged by, 20 to 2016 steps; nothing is said before half of it is there."),
    Key("min_duration", Duration("1s", "1d"), "15m",
        "How long a series must be out of bounds, and again within them. What lasts more than twice "
        "as long and a fortieth of `window` is the new normal."),
    Key("max_per_day", Integer(1, 1000), 3,
        "Anomalies of one series that are told in a day; more are counted."),
    Key("include", Patterns(256, "series"), ["*"], "Series that are watched."),
    Key("exclude", Patterns(256, "series"), [], "Series that are not, whatever `include` says."),
    Key("series", SeriesKind(), {},
        "What is different for some series; the first pattern that matches holds. min_effect is in "
        "the unit of the series: a smaller distance from the median is never an anomaly."),
)

SECTIONS: tuple[Section, ...] = (
    Section(
        "agent",
        AgentSettings,
        "Who this device is, and where edgemon keeps its things.",
        (
            Key("device", Text(_NAME, f'"auto" or {_NAME_ALLOWED}'), "auto",
                'Name of this device in all that it sends. "auto" is its host name and six '
                "digits that are its own.", restart=True, common=True),
            Key("fleet", Text(_NAME, _NAME_ALLOWED), "default",
                "Name of the group of devices that it belongs to.", restart=True, common=True),
            Key("state_dir", Path(optional=False), "/var/lib/edgemon",
                "Folder for what must survive a restart.", restart=True, common=True),
            Key("run_dir", Path(optional=False), "/run/edgemon", "Folder for sockets.",
                restart=True, common=True),
            Key("drain_timeout", Duration("0s", "5m"), "5s",
                "How long a stopping agent may take to write what it holds."),
            Key("checkpoint_interval", Duration("1s", "1d"), "5m",
                "How often the state of the drift detectors and of the open windows is written to "
                "the disk. What came since is lost to them when the agent is killed."),
        ),
    ),
    Section(
        "ingest",
        IngestSettings,
        "The Unix socket that applications write predictions to, and what one client may do.",
        (
            Key("socket", Path(), "", "Path of the socket, at most 107 bytes long.",
                implied="`ingest.sock` in `agent.run_dir`", restart=True),
            Key("mode", Mode(), "0660", "Permissions of the socket.", restart=True, common=True),
            Key("group", Text(PLAIN, "the name of a group of this machine, or empty"), "",
                "Group that owns the socket; its members may connect.",
                implied="the agent's own group", restart=True),
            Key("dgram", Path(), "",
                "Path of a datagram socket beside it, for applications that must never wait; empty is none.",
                restart=True),
            Key("coalesce", Duration("0s", "1s"), "20ms",
                "After a small write its client is left alone for so long, or less where it writes fast, so that "
                "many small writes cost one wake-up; an answer waits no longer than this."),
            Key("allow_uids", Integers(0, 4_294_967_294, 64), [],
                "User ids that may connect; empty allows all that the permissions let in."),
            Key("max_clients", Integer(1, 1024), 64, "Connections at one time."),
            Key("max_frame_bytes", Size("256B", "16MiB"), "64KiB", "Size of one event."),
            Key("max_string_bytes", Size("16B", "1MiB"), "4KiB",
                "Length of one text in an event."),
            Key("max_features", Integer(1, 4096), 256, "Features of one model."),
            Key("max_nesting", Integer(1, 64), 64,
                "Lists and maps inside one another in an event, itself the first."),
            Key("max_models", Integer(1, 4096), 64,
                "Models, versions counted apart, at one time."),
            Key("max_streams", Integer(1, 65536), 512,
                "Outputs and features of all models together; each costs a few kilobytes.",
                restart=True),
            Key("max_rate", Real(0, 10_000_000), 0.0,
                "Events a second that one client may send; 0 is no limit."),
            Key("max_future", Duration("0s", "3650d"), "1h",
                "A timestamp further ahead of the clock is dropped from its event, and counted."),
        ),
    ),
    Section(
        "system",
        SystemSettings,
        "Samples of the device itself.",
        (
            Key("enabled", Boolean(), True, "Whether the device is sampled.", common=True),
            Key("interval", Duration("1s", "1h"), "10s", "Time between two samples.", common=True),
            Key("collectors", Words(*COLLECTORS), ["all"],
                "What is sampled. What a device does not have is left out."),
            Key("disk_path", Path("folder", optional=False), "/",
                "The file system of this folder is the one whose space is watched."),
            Key("root", Path("folder", optional=False), "/",
                "Folder below which /proc and /sys are those of the device, such as /host in a "
                "container."),
            Key("anomalies",
                Table("a table with any of the keys below", _ANOMALIES, AnomalySettings), {},
                "Which samples are out of the ordinary, and said in an event.",
                implied="as below"),
        ),
    ),
    MODELS,
    DRIFT,
    Section(
        "batch",
        BatchSettings,
        "How rows are packed: a batch is closed at the first of three limits.",
        (
            Key("max_rows", Integer(1, 100_000), 1000, "Rows in one batch."),
            Key("max_bytes", Size("4KiB", "16MiB"), "112KiB",
                "Size of one batch before it is compressed. Brokers have limits: AWS IoT Core "
                "takes 128 KB."),
            Key("max_age", Duration("100ms", "1h"), "60s",
                "Age of its first row. Longer saves bytes on a metered link.", common=True),
            Key("level", Integer(1, 19), 9, "zstd's level.", restart=True),
            Key("layout", Choice("columns", "plain", later=("json",)), "columns",
                '"columns" packs tight; "plain" can be read with a msgpack library alone, and '
                "is 40 to 50 % larger.", restart=True),
            Key("precision", Choice("f64", "f32"), "f64",
                '"f64" keeps numbers as they are; "f32" rounds them to seven digits.', restart=True),
        ),
    ),
    Section(
        "spool",
        SpoolSettings,
        "The store on disk between the agent and the shipper. What is in it survives a power cut.",
        (
            Key("dir", Path(), "", "Its folder.", implied="`spool` in `agent.state_dir`",
                restart=True),
            Key("segment_size", Size("16KiB", "64MiB"), "1MiB",
                "Size of one file; at least twice `batch.max_bytes`.", restart=True),
            Key("max_size", Size("64KiB", "1TiB"), "64MiB",
                "Size of all of it; at least four segments. Above it the oldest rows of the "
                "lowest priority go, and are counted.", restart=True, common=True),
            Key("sync", Choice("interval", "always"), "interval",
                'When a batch is forced to the disk: not twice within a `sync_interval`, or '
                '"always" at once, which wears flash.', restart=True),
            Key("sync_interval", Duration("10ms", "1m"), "1s", "What a power cut may take.",
                restart=True),
            Key("quarantine_size", Size("64KiB", "1GiB"), "4MiB",
                "Room for damaged bytes that are kept for a person to look at.", restart=True),
            Key("when_full", Choice("drop_oldest", "drop_newest", "block"), "drop_oldest",
                'What happens at `max_size`: the oldest rows of the lowest priority go, the newest '
                'are not taken, or "block" makes applications wait.', restart=True),
            Key("max_age", Duration("0s", "365d"), "0s",
                "Rows that wait longer go, a file at a time, and are counted; 0 is no limit.",
                restart=True),
            Key("reserve_free", Size("0B", "1TiB"), "0B",
                "Bytes of the file system that the spool leaves to others, at the cost of its own "
                "rows.", restart=True),
        ),
    ),
    Section(
        "ship",
        ShipSettings,
        "Where batches go, and how failures are retried: for ever, with growing pauses.",
        (
            Key("sink", Choice("mqtt", "s3", "file", "plugin", "none"), "mqtt",
                '"mqtt" publishes to a broker, "s3" puts objects into a bucket, "file" writes into '
                'a folder, "plugin" is the plugin of kind "sink", "none" keeps all in the spool.',
                common=True),
            Key("folder", Path(), "", 'Where sink "file" writes.',
                implied="`outbox` in `agent.state_dir`"),
            Key("folder_max_bytes", Size("1MiB", "1TiB"), "1GiB",
                "Size of that folder above which nothing more is written to it."),
            Key("max_inflight", Integer(1, 1000), 8,
                "Batches that wait for the broker's acknowledgement at one time."),
            Key("initial_interval", Duration("10ms", "1h"), "1s",
                "Pause after the first failure."),
            Key("max_interval", Duration("10ms", "1d"), "5m", "The longest pause."),
            Key("multiplier", Real(1, 10), 2.0, "By how much each pause is longer than the last."),
            Key("drain_timeout", Duration("0s", "5m"), "5s",
                "How long a stopping shipper waits for acknowledgements."),
            Key("confirm", Choice("broker", "receiver"), "broker",
                'What frees a batch on the device: the broker\'s acknowledgement, or that of '
                '"edgemon receive --confirm", which also survives a broker that forgets.'),
            Key("confirm_timeout", Duration("100ms", "1d"), "2m",
                "What no receiver confirms in this time is published again, then after twice as "
                "long."),
            Key("rate_limit", Size("0B", "1GiB"), "0B",
                "Bytes a second; events need not wait for it. 0 is no limit."),
            Key("monthly_limit", Size("0B", "1TiB"), "0B",
                "Bytes a calendar month (UTC), the last tenth for events only. 0 is no limit."),
            Key("mode", Choice("continuous", "burst"), "continuous",
                '"burst": connect at `every` and `at` only, ship what is there, and end.',
                restart=True),
            Key("every", Duration("0s", "31d"), "0s", "Pause between bursts; 0 is none of these."),
            Key("at", Times(48), [], 'Times of the day for bursts, such as ["02:00"], local time.'),
            Key("on_alarm", Boolean(), True, "Whether an alarm starts a burst at once."),
        ),
    ),
    Section(
        "mqtt",
        MqttSettings,
        'The broker, for sink "mqtt".',
        (
            Key("host",
                Text(r"[A-Za-z0-9._:%-]{1,253}", "a host name or an address, without a scheme or port"),
                "localhost", "Host name or address of the broker.", common=True),
            Key("port", Integer(1, 65535), 1883, "Port of the broker.",
                implied="1883, with `tls` 8883"),
            Key("version", Choice("5", "3.1.1"), "5", "Version of MQTT."),
            Key("tls", Boolean(), False, "Whether the connection is encrypted.", common=True),
            Key("ca_file", Path("file"), "", "Certificates that vouch for the broker.",
                implied="those of the system"),
            Key("cert_file", Path("file"), "", "Certificate of this device."),
            Key("key_file", Path("file"), "", "Key of this device's certificate."),
            Key("username", Text(PLAIN, "at most 200 printable characters"), "", "User name."),
            Key("password_file", Path("file"), "",
                "File whose first line is the password; passwords do not stand in this file."),
            Key("client_id", Text(PLAIN, "at most 200 printable characters"), "",
                "Name of this client at the broker; two with one name throw each other out.",
                implied="`edgemon-` and the device's name"),
            Key("keepalive", Duration("5s", "18h", whole=True), "60s",
                "A silent connection is probed so often."),
            Key("topic_prefix",
                Text(_TOPIC, "1 to 100 characters without + and #, not beginning or ending with /"),
                "edgemon/v1", "Beginning of every topic; fleet, device and kind follow."),
            Key("connect_timeout", Duration("100ms", "5m"), "10s",
                "How long connecting may take."),
        ),
    ),
    Section(
        "s3",
        S3Settings,
        'The bucket, for sink "s3". Credentials never stand here: they come from the environment, '
        "from ~/.aws or from the machine, as for every AWS tool.",
        (
            Key("bucket",
                Text(r"|[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "3 to 63 of the characters a-z 0-9 . -, or empty"),
                "", "Name of the bucket."),
            Key("prefix",
                Text(r"|[^\0-\x1f\x7f/][^\0-\x1f\x7f]{0,199}", "at most 200 printable characters without a / in front"),
                "", "What every key begins with."),
            Key("region", Text(r"|[a-z0-9-]{1,32}", "a region such as eu-central-1, or empty"),
                "", "Its region.", implied="that of the environment or of ~/.aws"),
            Key("endpoint",
                Text(r"|https?://[A-Za-z0-9._:\[\]-]{1,253}/?", "https:// or http:// and a host, or empty"),
                "", "Address of a store that is not AWS."),
            Key("object_size", Size("64KiB", "64MiB"), "8MiB",
                "Size at which an object is closed. Above 8 MiB it goes up in parts."),
            Key("max_age", Duration("100ms", "1d"), "15m",
                "Age of its first batch at which an object is closed. Each object is one request "
                "that the store charges for."),
            Key("event_max_age", Duration("100ms", "1d"), "10s", "The same for objects of events."),
        ),
    ),
    Section(
        "metrics",
        MetricsSettings,
        "The agent's own figures for Prometheus and its kind, as OpenMetrics at /metrics.",
        (
            Key("listen", Listen(), "",
                'Where they can be read: a port of this machine alone such as "127.0.0.1:9464", or the '
                "absolute path of a Unix socket; empty is nowhere.", restart=True),
            Key("mode", Mode(), "0660", "Permissions of that Unix socket.", restart=True),
        ),
    ),
    RULES,
    ACTIONS,
    Section(
        "log",
        LogSettings,
        "Messages of edgemon's own, on standard error.",
        (
            Key("level", Choice("debug", "info", "warning", "error"), "info",
                "The least important message that is written."),
            Key("format", Choice("text", "json"), "text", "How a line looks."),
        ),
    ),
    Section(
        "remote",
        RemoteSettings,
        'The remote hand: a signed, retained message on the topic "desired" changes what is allowed here.',
        (
            Key("enabled", Boolean(), False,
                'Whether it is listened for; needs `ship.sink = "mqtt"`.', restart=True),
            Key("key_file", Path(), "",
                "File with the keys that sign, one a line, any of which will do; not readable by everybody."),
            Key("allow", reach.Reach(256), list(reach.DEFAULT),
                'Keys that may be changed from afar; a table is all in it, a part "*" is any. What could '
                "not be put right from afar cannot be allowed."),
            Key("confirm", Duration("1s", "1h"), "2m",
                "How long a new configuration is on trial. If then the agent is not healthy, the former one "
                "comes back."),
        ),
    ),
)
# fmt: on

BY_NAME = {section.name: section for section in SECTIONS}
