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


def compose(text: str, where: str) -> yaml.Node | None:
    """Parse YAML without making anything of it; its nodes know file and line.

    Args:
        text: YAML.
        where: name of the file, for messages.

    Raises:
        RecipeError: the text is no YAML.
    """
    try:
        loader = yaml.SafeLoader(text)
        loader.name = where
        found: yaml.Node | None = loader.get_single_node()
    except yaml.YAMLError as error:
        raise RecipeError(f"{where}: not YAML ({' '.join(str(error).split())})") from error
    return found


def lay_over(below: yaml.Node | None, above: yaml.Node | None) -> yaml.Node | None:
    """Return a mapping with some of its keys changed: mappings are laid over each other, all else is replaced."""
    if not (isinstance(below, yaml.MappingNode) and isinstance(above, yaml.MappingNode)):
        return above
    pairs = list(below.value)
    known = {key.value: index for index, (key, _) in enumerate(pairs)}
    for key, value in above.value:
        index = known.pop(key.value, None)  # a key that stands twice above is added, and refused by the reader
        if index is None:
            pairs.append((key, value))
        else:
            pairs[index] = (key, lay_over(pairs[index][1], value))
    return yaml.MappingNode(above.tag, pairs, above.start_mark, above.end_mark)


def read_strict(source: str | yaml.Node | None, kind: type[T], where: str) -> T:
    """Read YAML into a dataclass.

    Args:
        source: YAML, one mapping; its text, or what `compose` made of it.
        kind: a dataclass, its fields typed with numbers, strings, `Literal`, `tuple[x, ...]`, `dict[str, x]`, `| None`,
            dataclasses.
        where: name of the file, for messages.

    Returns:
        An instance; keys that are missing take the field's default.

    Raises:
        RecipeError: the text is no YAML mapping, a key is unknown, repeated or missing, or a value is of the wrong
            type; names file, line, key and the nearest key that is known.
    """
    node = compose(source, where) if isinstance(source, str) else source
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
        if origin is dict:
            return self._read_mapping(node, get_args(kind)[1], key)
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

    def _read_mapping(self, node: Any, kind: Any, key: str) -> Any:
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, key, "must be a mapping", getattr(node, "value", "nothing"))
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            path = f"{key}.{key_node.value}"
            if str(key_node.value) in values:
                raise self._error(key_node, path, "stands twice")
            values[str(key_node.value)] = self.read(value_node, kind, path)
        return values

    def _scalar(self, node: Any, key: str, kind: Any) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, key, f"must be {_describe(kind)}, not a list or mapping")
        loader = yaml.SafeLoader("")
        value = loader.construct_object(node)
        return _read_exponent(value) if kind is float else value

    def _error(self, node: Any, key: str, problem: str, value: Any = None) -> RecipeError:
        place = self.where if node is None else node.start_mark.name
        line = node.start_mark.line + 1 if node is not None else 1
        found = "" if value is None else f", found {value!r}"
        return RecipeError(f"{place}:{line}: {repr(key) if key else 'the recipe'} {problem}{found}")


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
