"""What rules and their actions must agree on."""

from __future__ import annotations

import os
import re

from edgemon.config.locate import KeyPath
from edgemon.config.private import exposed
from edgemon.config.settings import ActionSettings, Config, RuleSettings
from edgemon.config.toml import literal, nearest
from edgemon.std.collections.abc import Iterator

Found = tuple[tuple[KeyPath, ...], str]

# Keys that have a meaning for one kind of action only.
_ONLY = {
    "webhook": ("hmac_key_file", "token_file"),
    "email": ("sender", "smtp_host", "smtp_port", "username", "password_file"),
}
# Streams that are no feature's.
_STREAMS = ("output", "confidence", "entropy", "class", "latency", "error", "truth")
_LOOPBACK = re.compile(r"(localhost|127\.[0-9.]+|\[?::1\]?)(:[0-9]+)?", re.ASCII)


def rules(config: Config) -> Iterator[Found]:
    """Faults of [[rules]]; what has no legal `when` has been told already."""
    if not config.rules:
        return
    names: dict[str, int] = {}
    for index, rule in enumerate(config.rules):
        at: KeyPath = ("rules", index)
        if not rule.when:
            yield ((*at, "when"),), "a rule must have a condition"
            continue
        if rule.name in names:
            yield (
                ((*at, "name"), (*at, "when")),
                f"the rule {literal(rule.name)} stands twice; give each a name of its own",
            )
        names[rule.name] = index
        for key, problem in _scopes(rule):
            yield ((*at, key),), problem
        for doing in rule.do:
            kind, _, name = doing.partition(":")
            if not name:
                continue
            action = config.actions.get(name)
            if action is None:
                guess = nearest(name, config.actions)
                hint = f'; did you mean "{kind}:{guess}"?' if guess else ""
                yield ((*at, "do"),), f"there is no table [actions.{name}]{hint}"
            elif action.kind and action.kind != kind:
                yield (
                    ((*at, "do"),),
                    f'[actions.{name}] is for "{action.kind}:{name}", not for {literal(doing)}',
                )


def _scopes(rule: RuleSettings) -> Iterator[tuple[str, str]]:
    from edgemon.rules.expression import parse
    from edgemon.rules.figures import DEVICE, SCOPES, STREAM

    when = parse(rule.when)
    if rule.clear:
        clear = parse(rule.clear)
        if SCOPES.index(clear.scope) > SCOPES.index(when.scope):
            yield "clear", f"is about each {clear.scope}, but `when` is about each {when.scope}"
        elif clear.wild not in ("", when.wild):
            yield "clear", f"{clear.wild} must stand in `when` as well"
    if rule.model != "*" and when.scope == DEVICE:
        yield "model", "no figure of the rule belongs to a model"
    if rule.stream != "*" and when.scope != STREAM:
        yield "stream", "no figure of the rule belongs to a stream"
    elif not _may_be_a_stream(rule.stream):
        yield (
            "stream",
            f"there can be no stream {literal(rule.stream)}: a feature's is {literal('f:' + rule.stream)}, the "
            f"others are {', '.join(_STREAMS)}",
        )


def _may_be_a_stream(pattern: str) -> bool:
    """Whether some stream could match: those of every model have their names, those of features begin with "f:"."""
    from edgemon.flow.names import any_of

    matches = any_of([pattern])
    begins = re.split(r"[*?]", pattern)[0]
    return (
        any(map(matches, _STREAMS))
        or begins.startswith("f:")
        or (begins != pattern and "f:".startswith(begins))
    )


def actions(config: Config) -> Iterator[Found]:
    """Faults of [actions.*]."""
    for name, action in config.actions.items():
        at: KeyPath = ("actions", name)
        given = [key for key in ("command", "url", "to") if getattr(action, key)]
        if len(given) != 1:
            concerned = given[1:] or ["command", "url", "to"]
            yield tuple((*at, key) for key in concerned), "an action has one of command, url and to"
            continue
        for kind, keys in _ONLY.items():
            for key in keys:
                if getattr(action, key) and action.kind != kind:
                    yield ((*at, key),), f"is for {kind} actions, this one has {given[0]}"
        yield from _secrets(at, action)
        if action.kind == "email":
            for key in ("sender", "smtp_host"):
                if not getattr(action, key):
                    yield ((*at, key), (*at, "to")), f"an e-mail needs {key}"
            if action.password_file and not action.username:
                yield ((*at, "password_file"),), "needs username beside it"
            if (
                action.username
                and action.security == "none"
                and not _LOOPBACK.fullmatch(action.smtp_host)
            ):
                yield (
                    ((*at, "security"), (*at, "username")),
                    "a password must not travel unencrypted",
                )
        host = action.url.partition("://")[2].partition("/")[0]
        if action.token_file and action.url.startswith("http:") and not _LOOPBACK.fullmatch(host):
            yield (
                ((*at, "url"), (*at, "token_file")),
                "a token must not travel unencrypted: use https",
            )


def _secrets(at: KeyPath, action: ActionSettings) -> Iterator[Found]:
    for key in ("hmac_key_file", "token_file", "password_file"):
        path = getattr(action, key)
        try:
            if path and (problem := exposed(path, os.stat(path))):
                yield ((*at, key),), problem
        except OSError:
            continue  # hidden from this user, perhaps not from the one who will read it
