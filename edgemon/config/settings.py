"""What the rest of edgemon reads: typed settings with units in their names.

A field is its TOML key, with the unit that the value has after parsing (`_s` seconds, `_bytes`).
Values are in range, paths absolute and defaults resolved: nobody checks or derives them again.
Meanings, bounds and defaults stand in schema.py alone.
"""

from __future__ import annotations

from edgemon.typed import NamedTuple


class AgentSettings(NamedTuple):
    device: str
    fleet: str
    state_dir: str
    run_dir: str
    drain_timeout_s: float
    checkpoint_interval_s: float


class IngestSettings(NamedTuple):
    socket: str
    mode: int
    group: str
    dgram: str
    coalesce_s: float
    allow_uids: list[int]
    max_clients: int
    max_frame_bytes: int
    max_string_bytes: int
    max_features: int
    max_nesting: int
    max_models: int
    max_streams: int
    max_rate: float
    max_future_s: float


class SeriesRule(NamedTuple):
    """What is different for the series that `pattern` matches; None: nothing."""

    pattern: str
    method: str | None = None
    threshold: float | None = None
    min_duration_s: float | None = None
    min_effect: float | None = None


class AnomalySettings(NamedTuple):
    enabled: bool
    method: str
    threshold: float
    interval_s: float
    window_s: float
    min_duration_s: float
    max_per_day: int
    include: list[str]
    exclude: list[str]
    series: list[SeriesRule]


class SystemSettings(NamedTuple):
    enabled: bool
    interval_s: float
    collectors: list[str]
    disk_path: str
    root: str
    anomalies: AnomalySettings


class Capture(NamedTuple):
    """Which raw rows are kept. policy: "none" | "all" | "sample" | "reservoir".  probability: of one row, for the
    first three.  reservoir: rows a window, for the last.
    """

    policy: str
    probability: float
    reservoir: int = 0


class RedactSettings(NamedTuple):
    """What raw rows leave out. allow, deny: names of features, with * and ?; an empty allow is all of them.
    hash_ids: ids leave as keyed hashes.  output: whether it stays.
    """

    allow: list[str]
    deny: list[str]
    hash_ids: bool
    output: bool


class FirstPredictions(NamedTuple):
    """The reference is made on the device, from the `first` predictions; 0: it is not."""

    first: int


class FalseAlarms(NamedTuple):
    """P(any false alarm of a model within a span) <= `at_most`.

    The span: `per_predictions` predictions, or where that is 0, `per_s` seconds at the rate at which
    predictions come.
    """

    at_most: float
    per_predictions: int
    per_s: float = 0.0


class DriftSettings(NamedTuple):
    enabled: bool
    window: int
    false_alarms: FalseAlarms
    min_effect: float
    clear_ratio: float


class TruthSettings(NamedTuple):
    """How truths find their predictions. join: "auto" | "always" | "never".  keep, size_bytes, ttl_s: of the table.
    task: "auto" | "classification" | "regression".  threshold: of a score.  first: labelled predictions, and answers of
    the model, that make a reference where there is none.
    """

    join: str
    keep: int
    ttl_s: float
    size_bytes: int
    task: str
    threshold: float
    first: int


class QualitySettings(NamedTuple):
    """The quality of a model's data. range: feature -> (low, high).  ignore: of quality.kinds.KINDS.

    A duration of 0: no limit, of max_silence_s: what the model's own pace says; stuck_after 0: what its values say.
    """

    enabled: bool
    learn: int
    range: dict[str, tuple[float, float]]
    tolerance: float
    stuck_after: int
    may_stand_still: list[str]
    max_late_s: float
    max_early_s: float
    max_disorder_s: float
    max_silence_s: float
    ignore: list[str]


class ModelSettings(NamedTuple):
    """profile: absolute path, "" for none; never together with reference.  drift: what holds for
    this model, the keys that its table leaves out taken from [drift].
    """

    profile: str
    reference: FirstPredictions
    drift: DriftSettings
    capture: Capture
    recorder: int
    capture_size_bytes: int
    redact: RedactSettings
    truth: TruthSettings
    quality: QualitySettings
    window_s: float
    max_versions: int
    version_ttl_s: float


class BatchSettings(NamedTuple):
    max_rows: int
    max_bytes: int
    max_age_s: float
    level: int
    layout: str
    precision: str


class SpoolSettings(NamedTuple):
    dir: str
    segment_size_bytes: int
    max_size_bytes: int
    sync: str
    sync_interval_s: float
    quarantine_size_bytes: int
    when_full: str
    max_age_s: float
    reserve_free_bytes: int


class ShipSettings(NamedTuple):
    sink: str
    folder: str
    folder_max_bytes: int
    max_inflight: int
    initial_interval_s: float
    max_interval_s: float
    multiplier: float
    drain_timeout_s: float
    confirm: str
    confirm_timeout_s: float
    rate_limit_bytes: int
    monthly_limit_bytes: int
    mode: str
    every_s: float
    at: list[str]
    on_alarm: bool


class MqttSettings(NamedTuple):
    host: str
    port: int
    version: str
    tls: bool
    ca_file: str
    cert_file: str
    key_file: str
    username: str
    password_file: str
    client_id: str
    keepalive_s: float
    topic_prefix: str
    connect_timeout_s: float


class S3Settings(NamedTuple):
    bucket: str
    prefix: str
    region: str
    endpoint: str
    object_size_bytes: int
    max_age_s: float
    event_max_age_s: float


class MetricsSettings(NamedTuple):
    """listen: "" for nowhere, "127.0.0.1:9464" or "[::1]:9464", or a socket's absolute path."""

    listen: str
    mode: int


class PluginSettings(NamedTuple):
    """One plugin. command or entry_point is empty.  options: what JSON can say.  memory_bytes, cpu_time_s: 0 for no
    limit.
    """

    name: str
    kind: str
    command: list[str]
    entry_point: str
    options: dict[str, object]
    interval_s: float
    timeout_s: float
    start_timeout_s: float
    memory_bytes: int
    cpu_time_s: float
    open_files: int
    nice: int
    credentials: bool


class RuleSettings(NamedTuple):
    """when, clear: conditions in the language of edgemon/rules/expression.py, without a fault; clear is "" for "when it
    does not hold any more".  do: what follows, "event", "log", or a kind and the name of an action.
    """

    name: str
    when: str
    clear: str
    severity: str
    model: str
    stream: str
    min_interval_s: float
    max_per_hour: int
    do: tuple[str, ...]


class ActionSettings(NamedTuple):
    """What a rule can have done: of command, url and to exactly one is not empty, and `kind` says which."""

    command: list[str]
    url: str
    to: list[str]
    timeout_s: float
    on: str
    max_per_hour: int
    hmac_key_file: str
    token_file: str
    ca_file: str
    sender: str
    smtp_host: str
    smtp_port: int
    security: str
    username: str
    password_file: str

    def follows(self, state: str) -> bool:
        """Whether it is done when a rule is in this state: "fired" or "cleared"."""
        on = self.on if self.on != "auto" else "fired" if self.command else "both"
        return on in ("both", state)

    @property
    def kind(self) -> str:
        """ "exec", "webhook" or "email", as `do` writes it; "" for none."""
        return "exec" if self.command else "webhook" if self.url else "email" if self.to else ""


class LogSettings(NamedTuple):
    level: str
    format: str


class RemoteSettings(NamedTuple):
    """allow: dotted keys, a part "*" for any; see config.reach."""

    enabled: bool
    key_file: str
    allow: list[str]
    confirm_s: float


class FromAfar(NamedTuple):
    """What the remote hand changed of a configuration.

    revision: of the desired configuration that lies over the local file.  keys: dotted, those that it sets.
    problem: why it does not lie there, "" where it does.
    """

    revision: int
    keys: list[str]
    problem: str = ""


class Config(NamedTuple):
    """One accepted configuration.

    file: path as the user gave it.  hash: 16 hex digits; equal settings have an equal hash.
    models: by name; "*" holds what a model without a table of its own gets.  drift: what models
    start from; what holds for one is in its own settings.  actions, plugins: by name.
    afar: what of it came from afar, None for nothing.
    """

    file: str
    hash: str
    agent: AgentSettings
    ingest: IngestSettings
    system: SystemSettings
    models: dict[str, ModelSettings]
    drift: DriftSettings
    batch: BatchSettings
    spool: SpoolSettings
    ship: ShipSettings
    mqtt: MqttSettings
    s3: S3Settings
    metrics: MetricsSettings
    rules: list[RuleSettings]
    actions: dict[str, ActionSettings]
    log: LogSettings
    remote: RemoteSettings
    plugins: dict[str, PluginSettings]
    afar: FromAfar | None = None

    @property
    def has_notices(self) -> bool:
        """Whether a rule can have the shipper send a webhook or an e-mail."""
        return any(action.kind in ("webhook", "email") for action in self.actions.values())

    def model(self, name: str) -> ModelSettings:
        """The settings of the model of that name."""
        return self.models.get(name) or self.models["*"]

    @property
    def plugin_sink(self) -> PluginSettings:
        """The plugin that takes batches; there is one where `ship.sink` is "plugin"."""
        return next(plugin for plugin in self.plugins.values() if plugin.kind == "sink")
