"""SyntaxTree to ResolvedProgram: what each name of the file stands for, and which parts it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TypeAlias, TypeVar

import attrs

from ev3lang.catalog.index import SOURCES
from ev3lang.catalog.signature import Type
from ev3lang.check import errors
from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.source import Span
from ev3lang.syntax import tree

Declared: TypeAlias = (
    tree.Param
    | tree.Data
    | tree.Model
    | tree.Group
    | tree.Let
    | tree.Loss
    | tree.Objective
    | tree.Metric
    | tree.Optimizer
    | tree.Archive
    | tree.Extern
)

Part = TypeVar("Part", bound=tree.Declaration)


@attrs.frozen
class FieldSymbol:
    """A field that a data block offers.

    item  where the spec declares or derives it, None for a field that the source brings along
    type  of a field that the source brings along, else None
    """

    data: str
    name: str
    item: tree.FieldItem | tree.DeriveItem | None
    type: Type | None


@attrs.frozen
class ResolvedProgram:
    """A file's names and parts. A part that is missing is None, and reported.

    has_unknown_fields  whether a data block is missing, or has a source that nobody knows, so
                        that any name may be one of its fields
    """

    declared: Mapping[str, Declared]
    fields: Mapping[str, tuple[FieldSymbol, ...]]
    has_unknown_fields: bool
    experiment: tree.Experiment | None
    explore: tree.Explore | None
    assess: tree.Assess | None
    adapt: tree.Adapt | None
    report: tree.Report | None
    sweep: tree.Sweep | None


def resolve(syntax_tree: tree.SyntaxTree) -> tuple[ResolvedProgram, tuple[Diagnostic, ...]]:
    """Gather names and parts; report what stands twice and what every experiment needs."""
    found: list[Diagnostic] = []
    declared: dict[str, Declared] = {}
    fields: dict[str, tuple[FieldSymbol, ...]] = {}
    for declaration in syntax_tree.declarations:
        if not isinstance(declaration, Declared):
            continue
        earlier = declared.setdefault(declaration.name.text, declaration)
        if earlier is not declaration:
            found.append(errors.duplicate_name(declaration.name, earlier.name.span))
    for declaration in declared.values():
        if isinstance(declaration, tree.Data):
            found.extend(_add_fields(declaration, fields))
    for name, symbols in fields.items():
        clash = declared.get(name)
        if clash is not None:
            owner = declared[symbols[0].data]
            place = symbols[0].item or owner
            found.append(errors.name_of_a_field(clash.name, symbols[0].data, place.name.span))

    def only(kind: type[Part]) -> Part | None:
        parts = [each for each in syntax_tree.declarations if isinstance(each, kind)]
        found.extend(
            errors.duplicate_part(again.keyword_span, parts[0].keyword_span) for again in parts[1:]
        )
        return parts[0] if parts else None

    missing = [
        kind.__name__.lower()
        for kind in (tree.Data, tree.Model, tree.Explore, tree.Assess, tree.Adapt)
        if not any(isinstance(each, kind) for each in syntax_tree.declarations)
    ]
    if missing:
        found.append(errors.missing_parts(missing, syntax_tree.span))
    sources = [each.origin for each in declared.values() if isinstance(each, tree.Data)]
    program = ResolvedProgram(
        declared=MappingProxyType(declared),
        fields=MappingProxyType(fields),
        has_unknown_fields=not sources or not all(_is_known(each) for each in sources),
        experiment=only(tree.Experiment),
        explore=only(tree.Explore),
        assess=only(tree.Assess),
        adapt=only(tree.Adapt),
        report=only(tree.Report),
        sweep=only(tree.Sweep),
    )
    return program, tuple(found)


def definitions(names: ResolvedProgram, syntax_tree: tree.SyntaxTree) -> Mapping[Span, Span]:
    """Where each name that the file uses is declared, by the place of its use.

    A built-in is declared nowhere. A field that a source brings along is declared by its source.
    """
    found: dict[Span, Span] = {}
    for declaration in syntax_tree.declarations:
        own: dict[str, Span] = {}
        if isinstance(declaration, tree.Loss):
            own = {each.name.text: each.name.span for each in declaration.parameters}
        for node in tree.walk(declaration):
            if isinstance(node, tree.Call):
                _arguments(names, node, found)
            if isinstance(node, tree.Name) and node.span not in found:
                place = own.get(node.text) or _definition(names, node)
                if place is not None:
                    found[node.span] = place
    return found


def _definition(names: ResolvedProgram, name: tree.Name) -> Span | None:
    declared = names.declared.get(name.text)
    if declared is not None:
        return declared.name.span
    symbols = names.fields.get(name.text, ())
    if len(symbols) != 1:
        return None
    owner = names.declared[symbols[0].data]
    assert isinstance(owner, tree.Data), "fields are of data blocks"
    return owner.origin.span if symbols[0].item is None else symbols[0].item.name.span


def _arguments(names: ResolvedProgram, call: tree.Call, found: dict[Span, Span]) -> None:
    """`T` in `soft(T: 4)` is the parameter of `soft`, whatever else may be called T."""
    loss = names.declared.get(call.function.text)
    places = (
        {each.name.text: each.name.span for each in loss.parameters}
        if isinstance(loss, tree.Loss)
        else {}
    )
    for argument in call.arguments:
        if argument.name is not None:
            found[argument.name.span] = places.get(argument.name.text, argument.name.span)


def _is_known(origin: tree.Expression) -> bool:
    name = origin.function if isinstance(origin, tree.Call) else origin
    return isinstance(name, tree.Name) and name.text in SOURCES


def _add_fields(
    data: tree.Data, fields: dict[str, tuple[FieldSymbol, ...]]
) -> Iterator[Diagnostic]:
    own: dict[str, FieldSymbol] = {}
    if isinstance(data.origin, tree.Call) and data.origin.function.text in SOURCES:
        for name, type_ in SOURCES[data.origin.function.text].fields:
            own[name] = FieldSymbol(data.name.text, name, None, type_)
    for item in data.items:
        if isinstance(item, (tree.FieldItem, tree.DeriveItem)):
            earlier = own.get(item.name.text)
            if earlier is not None:
                place = earlier.item.name.span if earlier.item else data.origin.span
                yield errors.duplicate_name(item.name, place)
            else:
                own[item.name.text] = FieldSymbol(data.name.text, item.name.text, item, None)
    for name, symbol in own.items():
        fields[name] = (*fields.get(name, ()), symbol)
