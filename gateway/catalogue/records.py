"""What is written about an expert, in the file or in the store, and which of the two holds. Pure.

A record is an expert's configuration as its operator wrote it, so that `${VAR}` in a key stays `${VAR}` at rest and on
the wire; what it stands for is filled in when the record is read. A stored record holds over one of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from pydantic import ValidationError

from experts.config import ExpertConfig
from experts.errors import ConfigError
from experts.registry import Expert, Registry
from experts.store import ABSENT, Body, Document
from experts.types import ExpertName
from gateway.configuration import VARIABLE, GatewayConfig, filled
from gateway.errors import InvalidRequest

PREFIX = "experts/"
HIDDEN = "***"
"""Shown instead of a key; sent back, it stands for the key that is there."""
FILE: Literal["file"] = "file"
REGISTERED: Literal["registered"] = "registered"
CHANGED: Literal["file, changed"] = "file, changed"
Source: TypeAlias = Literal["file", "registered", "file, changed"]
Written: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One expert as it stands: its configuration, the text of it, who wrote that, and the stored record's version.

    `version` is `ABSENT` where only the file speaks of it.
    """

    config: ExpertConfig
    written: Written = field(repr=False)
    source: Source
    version: int = ABSENT
    drained: bool = False

    @property
    def name(self) -> ExpertName:
        return self.config.name


def key_of(name: ExpertName) -> str:
    """Return the store's key of an expert's record."""
    return PREFIX + name


def body_of(written: Written, drained: bool) -> Body:
    """Return a record as it is stored."""
    return {"config": dict(written), "drained": drained}


def file_entries(config: GatewayConfig) -> dict[ExpertName, Entry]:
    """Return what the file says, in its order.

    Raises:
        ConfigError: two experts share a name, or one names nobody as its fallback or base.
    """
    Registry(Expert(expert, expert.profile(), ()) for expert in config.experts)
    texts: Sequence[Written] = config.texts or [{}] * len(config.experts)
    pairs = zip(config.experts, texts, strict=True)
    return {expert.name: Entry(expert, written_of(expert, text), FILE) for expert, text in pairs}


def stored_entry(document: Document, environment: Mapping[str, str]) -> Entry:
    """Return what a stored record says.

    Raises:
        InvalidRequest: it cannot be used here: another version wrote it, or a variable is not set.
    """
    written, drained = document.body.get("config"), document.body.get("drained", False)
    if not isinstance(written, dict) or not isinstance(drained, bool):
        raise InvalidRequest("It has no config, or drained is neither true nor false.")
    config = expert_config(written, environment)
    if document.key != key_of(config.name):
        raise InvalidRequest(f"It is about '{config.name}'.")
    return Entry(config, written, REGISTERED, document.version, drained)


def laid_over(file: Mapping[ExpertName, Entry], stored: Iterable[Entry]) -> dict[ExpertName, Entry]:
    """Return every expert: the file's first and in its order, each as the store has it where it does."""
    entries = dict(file)
    for entry in stored:
        entries[entry.name] = replace(entry, source=CHANGED) if entry.name in file else entry
    return entries


def expert_config(written: Written, environment: Mapping[str, str]) -> ExpertConfig:
    """Return the checked configuration, its secrets filled in from the environment.

    Raises:
        InvalidRequest: a field is wrong, or a variable is not set; `param` names the field.
    """

    def fill(text: str, where: str) -> str:
        try:
            return str(filled(text, where, environment))
        except ConfigError as error:
            raise InvalidRequest(str(error), param=where) from error

    try:
        return ExpertConfig.model_validate(with_secrets(written, fill))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = "unknown field" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise InvalidRequest(f"{where}: {what}." if where else f"{what}.", param=where or None) from error


def with_secrets(written: Written, change: Callable[[str, str], str]) -> dict[str, Any]:
    """Return the record with every text that may be a secret changed: the keys of replicas, the values of launch.env.

    `change` is given the text and the path of its field.
    """
    found = dict(written)
    if isinstance(replicas := written.get("replicas"), list):
        found["replicas"] = [_changed(each, f"replicas.{n}", {"api_key"}, change) for n, each in enumerate(replicas)]
    launch = written.get("launch")
    if isinstance(launch, Mapping) and isinstance(env := launch.get("env"), Mapping):
        found["launch"] = {**launch, "env": _changed(env, "launch.env", env.keys(), change)}
    return found


def _changed(value: Any, where: str, keys: Iterable[str], change: Callable[[str, str], str]) -> Any:
    if not isinstance(value, Mapping):
        return value
    texts = {key: value[key] for key in keys if isinstance(value.get(key), str)}
    return {**value, **{key: change(text, f"{where}.{key}") for key, text in texts.items()}}


def written_of(config: ExpertConfig, text: Written) -> dict[str, Any]:
    """Return a record that says what `config` does; secrets as `text`, the file's own words, has them."""
    dumped = config.model_dump(mode="json", exclude_unset=True)
    known = secrets(text)
    for number, replica in enumerate(config.replicas):
        known.setdefault(f"replicas.{number}.api_key", replica.api_key.get_secret_value())
    return with_secrets(dumped, lambda words, where: known.get(where, words))


def secrets(written: Written) -> dict[str, str]:
    """Return the texts that may be secrets, by the path of their field."""
    found: dict[str, str] = {}
    with_secrets(written, lambda words, where: found.setdefault(where, words))
    return found


def shown_secret(text: str) -> str:
    """Return what is shown of a secret: a variable's name, else nothing of it."""
    whole = VARIABLE.fullmatch(text)
    return text if not text or (whole is not None and not whole["default"]) else HIDDEN


def restored(written: Written, former: Written) -> dict[str, Any]:
    """Return the record with `***` replaced by the secrets that `former` has at the same URL or variable.

    Raises:
        InvalidRequest: there is none there.
    """
    kept = {_lasting(former, where): words for where, words in secrets(former).items()}

    def restore(words: str, where: str) -> str:
        if words != HIDDEN:
            return words
        if (found := kept.get(_lasting(written, where))) is None:
            raise InvalidRequest(
                f"{where}: '{HIDDEN}' stands for a key that is there already; there is none.", param=where
            )
        return found

    return with_secrets(written, restore)


def _lasting(written: Written, where: str) -> str:
    """Return a secret's place in words that survive a new order of the replicas: their URL."""
    place, _, last = where.partition(".")
    if place != "replicas":
        return where
    return f"{written['replicas'][int(last.partition('.')[0])].get('base_url')}"


def merged(target: Any, patch: Any) -> Any:
    """Return `target` with a JSON merge patch applied (RFC 7386): null removes, objects merge, all else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    found = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found
