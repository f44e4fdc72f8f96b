"""Strict YAML: text to frozen dataclasses; an unknown key or an ill-typed value is refused, with its line."""

from __future__ import annotations

import dataclasses
import difflib
import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from moodreel.errors import RecipeError

T = TypeVar("T")


def read_strict(text: str, kind: type[T], where: str) -> T:
    """Read YAML into a dataclass.

    Args:
        text: YAML, one mapping.
        kind: a dataclass, its fields typed with numbers, strings, `Literal`, `tuple[x, ...]`, `| None`, dataclasses.
        where: name of the file, for messages.

    Returns:
        An instance; keys that are missing take the field's default.

    Raises:
        RecipeError: the text is no YAML mapping, a key is unknown, repeated or missing, or a value is of the wrong
            type; names file, line, key and the nearest key that is known.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise RecipeError(f"{where}: not YAML ({' '.join(str(error).split())})") from error
    result: T = _Reader(where).read(node, kind, "")
    return result


class _Reader:
    def __init__(self, where: str) -> None:
        self.where = where

    def read(self, node: Any, kind: Any, key: str) -> Any:
        if is_dataclass(kind):
            return self._read_dataclass(node, kind, key)
        origin = get_origin(kind)
        if origin in (Union, types.UnionType):
            return self._read_optional(node, kind, key)
        if origin is tuple:
            return self._read_tuple(node, get_args(kind)[0], key)
        value = self._scalar(node, key, kind)
        if origin is Literal:
            if value not in get_args(kind):
                raise self._error(node, key, f"must be one of {', '.join(map(str, get_args(kind)))}", value)
            return value
        return self._convert(node, key, kind, value)

    def _convert(self, node: Any, key: str, kind: Any, value: Any) -> Any:
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            raise self._error(node, key, f"must be {_describe(kind)}", value)
        return value

    def _read_dataclass(self, node: Any, kind: Any, key: str) -> Any:
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, key, "must be a mapping", getattr(node, "value", "nothing"))
        hints = get_type_hints(kind)
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name = str(key_node.value)
            self._check_key(key_node, name, hints, values, key)
            values[name] = self.read(value_node, hints[name], f"{key}.{name}" if key else name)
        needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
        missing = [name for name in needed if name not in values]
        if missing:
            raise self._error(node, key, f"lacks the key {missing[0]!r}")
        return kind(**values)

    def _check_key(self, node: Any, name: str, hints: Any, values: Any, parent: str) -> None:
        path = f"{parent}.{name}" if parent else name
        if name in values:
            raise self._error(node, path, "stands twice")
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(hints)}"
            raise self._error(node, path, f"is unknown; {hint}")

    def _read_optional(self, node: Any, kind: Any, key: str) -> Any:
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            return None
        chosen = next(part for part in get_args(kind) if part is not type(None))
        return self.read(node, chosen, key)

    def _read_tuple(self, node: Any, kind: Any, key: str) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            raise self._error(node, key, "must be a list", getattr(node, "value", "nothing"))
        return tuple(self.read(item, kind, f"{key}[{index}]") for index, item in enumerate(node.value))

    def _scalar(self, node: Any, key: str, kind: Any) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, key, f"must be {_describe(kind)}, not a list or mapping")
        loader = yaml.SafeLoader("")
        value = loader.construct_object(node)
        return _read_exponent(value) if kind is float else value

    def _error(self, node: Any, key: str, problem: str, value: Any = None) -> RecipeError:
        line = node.start_mark.line + 1 if node is not None else 1
        found = "" if value is None else f", found {value!r}"
        return RecipeError(f"{self.where}:{line}: {repr(key) if key else 'the recipe'} {problem}{found}")


def _read_exponent(value: Any) -> Any:
    """YAML 1.1 takes `1e-6` for text, for it has no point; people write it all the same."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _describe(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(kind, str(kind))


def format_recipe(recipe: Any) -> str:
    """Return a recipe, a dataclass, as YAML that reads back as the same."""
    plain = _plain(dataclasses.asdict(recipe))
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
