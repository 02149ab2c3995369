"""The keys of [[rules]] and [actions]."""

from __future__ import annotations

from edgemon.config.conditions import Addresses, Command, Condition, Doing
from edgemon.config.keys import LIST, NAMED, Key, Section
from edgemon.config.settings import ActionSettings, RuleSettings
from edgemon.config.values import PLAIN, Choice, Duration, Integer, Path, Text

_URL = r"|https?://(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[1-9][0-9]{0,4})?([/?][!-~]{0,2000})?"
_PATTERN = r"[^\0-\x1f\x7f]{1,128}"

# A table: rows stand as they read best.
# fmt: off
RULES = Section(
    "rules",
    RuleSettings,
    "What is to be told or done, and when; the language and the figures are in rules.md. One [[rules]] a rule.",
    (
        Key("name", Text(PLAIN, "at most 200 printable characters"), "",
            "Its name in events, notifications and `edgemon status`; each another.", implied="the text of `when`"),
        Key("when", Condition(), "",
            'The condition, such as "drift.d > 0.2 for 5m", "latency.p99 > 250ms" or "silence > 2m".',
            implied="none, it must be given"),
        Key("clear", Condition(), "",
            'What ends it, such as "drift.d < 0.15 for 10m"; between the two nothing changes.',
            implied="that the condition does not hold any more"),
        Key("severity", Choice("info", "warning", "alarm"), "warning",
            'How grave it is; an "alarm" starts a burst of the shipper.'),
        Key("model", Text(_PATTERN, "a name of 1 to 128 characters, * for anything"), "*",
            "Models that it holds for."),
        Key("stream", Text(_PATTERN, "a name of 1 to 128 characters, * for anything"), "*",
            'Streams that it holds for, such as "latency" or "f:amount".'),
        Key("min_interval", Duration("0s", "31d"), "5m",
            "Between two that are told of one model, stream or series; others wait, and are counted."),
        Key("max_per_hour", Integer(1, 1000), 20,
            "That are told of the rule in an hour, whomever they are about; others wait, and are counted."),
        Key("do", Doing(), ["event", "log"], "What follows when it begins and when it is over."),
    ),
    LIST,
)

ACTIONS = Section(
    "actions",
    ActionSettings,
    "What rules can have done beside events and log lines, by name: a command, a webhook, or an e-mail. Never "
    "taken from anywhere but this file.",
    (
        Key("command", Command(), [],
            "A program and its arguments, run by the agent without a shell; what it is about stands in its "
            "environment, EDGEMON_RULE and so on."),
        Key("url",
            Text(_URL, "https:// or http://, a host without a password, and perhaps a port and a path"), "",
            "Where a webhook is posted, as JSON, by the shipper."),
        Key("to", Addresses(16), [], "Whom an e-mail goes to, by the shipper."),
        Key("timeout", Duration("100ms", "5m"), "10s",
            "How long it may take; a command is killed then."),
        Key("on", Choice("auto", "fired", "cleared", "both"), "auto",
            'Whether it is done when a rule fires, when that is over, or both; "auto" is "fired" for a command and '
            '"both" for the others.'),
        Key("max_per_hour", Integer(1, 1000), 60,
            "Webhooks or e-mails of this name in an hour; more wait."),
        Key("hmac_key_file", Path("file"), "",
            "File whose first line is a key: a webhook then has the header X-Edgemon-Signature with the "
            "HMAC-SHA256 of its body."),
        Key("token_file", Path("file"), "",
            "File whose first line is a token, sent with a webhook as `Authorization: Bearer`."),
        Key("ca_file", Path("file"), "", "Certificates that vouch for the server.",
            implied="those of the system"),
        Key("sender", Text(r"|[^\s@<>,;]{1,64}@[^\s@<>,;]{1,255}", "an address, or empty"), "",
            "Whom an e-mail is from."),
        Key("smtp_host",
            Text(r"[A-Za-z0-9._:%-]{0,253}", "a host name or an address, without a scheme or port"), "",
            "The server that takes e-mails."),
        Key("smtp_port", Integer(0, 65535), 0, "Its port.", implied="587, 465 or 25, by `security`"),
        Key("security", Choice("starttls", "tls", "none"), "starttls",
            "How the connection to it is encrypted."),
        Key("username", Text(PLAIN, "at most 200 printable characters"), "",
            "User name at that server."),
        Key("password_file", Path("file"), "",
            "File whose first line is the password; else EDGEMON_SMTP_PASSWORD in the shipper's environment."),
    ),
    NAMED,
)
# fmt: on
