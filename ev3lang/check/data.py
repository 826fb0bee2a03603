"""Data blocks: fields, splits and batches, all without reading anything."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ev3lang.catalog.index import SOURCES
from ev3lang.check import declarations, errors, expressions, operators, typed, types
from ev3lang.check.arguments import counted, known_number, whole
from ev3lang.check.checking import Checking
from ev3lang.syntax import tree

USES = ("explore", "assess", "adapt", "report")
DEFAULT_SHARES = {"explore": 0.6, "assess": 0.15, "adapt": 0.15, "report": 0.1}
DEFAULT_BATCH = 128


def data(checking: Checking, declaration: tree.Data) -> typed.DataInfo | None:
    """A data block; None where it is at fault or can't be read yet."""
    options = types.source_options(checking, declaration)
    origin = declaration.origin
    name = origin.function.text if isinstance(origin, tree.Call) else origin.span.text
    entry = SOURCES.get(name)
    fields = {
        symbol.name: declarations.field(checking, symbol, declaration.name)
        for symbols in checking.names.fields.values()
        for symbol in symbols
        if symbol.data == declaration.name.text
    }
    rows = None
    is_endless = False
    if entry is not None and options is not None:
        drawn = dict(options).get(entry.rows_option) if entry.rows_option else entry.rows
        assert drawn is None or isinstance(drawn, int)
        rows, is_endless = drawn, drawn is None
    normalized: list[typed.NormalizeInfo] = []
    split: typed.SplitInfo | None = None
    split_item: tree.SplitItem | None = None
    batch_item: tree.Batch | None = None
    for item in declaration.items:
        match item:
            case tree.FieldItem():
                if entry is not None:
                    checking.report(errors.field_of_file(item.span, entry.name))
            case tree.RowsItem():
                if entry is not None:
                    checking.report(errors.field_of_file(item.span, entry.name))
                else:
                    rows = _rows(checking, item)
            case tree.SplitItem():
                if split_item is not None:
                    checking.report(
                        errors.duplicate_statement(item.span, split_item.span, "`split`")
                    )
                    continue
                split_item = item
                if is_endless:
                    checking.report(errors.split_of_endless(item.span))
                else:
                    split = _split(checking, declaration, item)
            case tree.NormalizeItem():
                normalized.extend(_normalize(checking, declaration, item))
            case tree.AugmentItem():
                _own_field(checking, declaration, item.field)
                checking.report(errors.not_built_yet(item.span, "augmenting data"))
            case tree.DeriveItem():
                pass
            case tree.KnownItem():
                _own_field(checking, declaration, item.field)
                if item.mask is not None:
                    _own_field(checking, declaration, item.mask)
                if item.amount is not None:
                    counted(checking, item.amount, "examples", "a count of examples")
                checking.report(errors.not_built_yet(item.span, "a field known for some examples"))
            case tree.Batch():
                if batch_item is not None:
                    checking.report(
                        errors.duplicate_statement(item.span, batch_item.span, "`batch`")
                    )
                batch_item = item
    batch = batch_size(checking, batch_item)
    if options is None or entry is None or batch is None or None in fields.values():
        return None
    known = {key: info for key, info in fields.items() if info is not None}
    if not is_endless and split_item is None:
        split = typed.SplitInfo(DEFAULT_SHARES, _stratum(known), 0)
    if not is_endless and split is None:
        return None
    if split is not None and rows is not None:
        place = split_item.span if split_item is not None else declaration.name.span
        for use in USES:
            if split.shares[use] * rows < 1:
                checking.report(errors.empty_share(place, use, rows))
                return None
    return typed.DataInfo(
        name=declaration.name.text,
        source=entry.name,
        options=options,
        fields=known,
        split=split,
        normalized=tuple(normalized),
        rows=rows,
        batch=batch,
    )


def batch_size(checking: Checking, item: tree.Batch | None) -> int | None:
    """The examples of a batch; None, reported, where they are no whole number."""
    if item is None:
        return DEFAULT_BATCH
    if item.parts is not None:
        checking.report(errors.not_built_yet(item.span, "a batch in parts"))
    return whole(checking, item.size, "a batch size")


def check_batch(checking: Checking, info: typed.DataInfo, batch: int, place: tree.Node) -> None:
    """Report a batch that the explore split can't fill."""
    if info.split is None or info.rows is None:
        return
    rows = int(info.split.shares["explore"] * info.rows)
    if batch > rows:
        checking.report(errors.batch_too_large(place.span, batch, rows))


def batch_place(declaration: tree.Data) -> tree.Node:
    """Where a data block states its batch, else its name."""
    stated = [item for item in declaration.items if isinstance(item, tree.Batch)]
    return stated[0].size if stated else declaration.name


def _stratum(fields: Mapping[str, typed.FieldInfo]) -> str | None:
    """The field that a split without words keeps the proportions of: the only label there is."""
    labels = [
        name for name, info in fields.items() if info.type.kind == "class" and info.value is None
    ]
    return labels[0] if len(labels) == 1 else None


def _rows(checking: Checking, item: tree.RowsItem) -> int | None:
    counts = [whole(checking, each.count, "a count of rows") for each in item.counts]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _own_field(
    checking: Checking, declaration: tree.Data, name: tree.Name
) -> typed.FieldInfo | None:
    """A field of this very block; None, reported, where it has none of that name."""
    symbols = checking.names.fields.get(name.text, ())
    own = next((each for each in symbols if each.data == declaration.name.text), None)
    if own is None:
        checking.report(errors.unknown_field(name, checking.fields_of(declaration.name.text)))
        return None
    return declarations.field(checking, own, name)


def _split(
    checking: Checking, declaration: tree.Data, item: tree.SplitItem
) -> typed.SplitInfo | None:
    shares: dict[str, float] = {}
    places: dict[str, tree.Share] = {}
    is_whole = True
    for share in item.shares:
        use = share.use.text
        if use not in USES:
            checking.report(errors.unknown_choice(share.use, "use of data", USES))
            is_whole = False
            continue
        if use in places:
            checking.report(errors.split_use_twice(share.use.span, places[use].use.span, use))
            is_whole = False
            continue
        places[use] = share
        is_whole = is_whole and share.part is None
        if share.amount is None:
            if share.part is None:
                checking.report(
                    errors.wrong_type(share.span, f"a share for `{use}`, such as `10%`", "none")
                )
            is_whole = False
            continue
        amount = counted(checking, share.amount, "ratio", "a share, such as `60%`")
        if amount is None:
            is_whole = False
        else:
            shares[use] = float(amount)
    of_file = next((share for share in item.shares if share.part is not None), None)
    if of_file is not None:
        checking.report(errors.not_built_yet(of_file.span, "a split of the file's own"))
    missing = [use for use in USES if use not in places]
    if missing and all(share.use.text in USES for share in item.shares):
        checking.report(errors.missing_share(item.span, missing))
        is_whole = False
    # Parts of a file are shared out one by one; their sums are checked when files can be read.
    total = sum(shares.values())
    if total > 1 + 1e-9 and all(share.part is None for share in item.shares):
        checking.report(errors.split_too_large(item.span, 100 * total))
        is_whole = False
    by = _split_method(checking, declaration, item)
    seed = 0
    if item.seed is not None:
        if not isinstance(item.seed.value, int) or item.seed.unit is not None:
            checking.report(
                errors.wrong_type(item.seed.span, "a whole number as the seed", item.seed.span.text)
            )
            return None
        seed = item.seed.value
    if not is_whole or (item.method is not None and by is None):
        return None
    return typed.SplitInfo(shares, by, seed)


def _split_method(checking: Checking, declaration: tree.Data, item: tree.SplitItem) -> str | None:
    if item.method is None:
        return None
    assert item.by is not None
    info = _own_field(checking, declaration, item.by)
    if item.method != "stratified":
        checking.report(
            errors.not_built_yet(item.by.span, f"a split that is {item.method} by a field")
        )
        return None
    if info is None:
        return None
    if info.type.kind not in ("class", "bool"):
        checking.report(errors.wrong_type(item.by.span, "a field of labels", str(info.type)))
        return None
    return item.by.text


def _normalize(
    checking: Checking, declaration: tree.Data, item: tree.NormalizeItem
) -> list[typed.NormalizeInfo]:
    found: list[typed.NormalizeInfo] = []
    for name in item.fields:
        info = _own_field(checking, declaration, name)
        if info is None:
            continue
        if operators.scalar(info.type) is None and not info.type.is_tensor:
            checking.report(errors.wrong_type(name.span, "a field of numbers", str(info.type)))
            continue
        if info.type.kind in ("class", "bool", "int"):
            checking.report(errors.wrong_type(name.span, "a field of numbers", str(info.type)))
            continue
        channels = info.type.dimensions[-1] if info.type.dimensions else 1
        given = [_statistics(checking, each, channels) for each in (item.mean, item.std)]
        if (item.mean is not None and given[0] is None) or (
            item.std is not None and given[1] is None
        ):
            continue
        if item.std is not None and given[1] is not None and min(given[1]) <= 0:
            checking.report(
                errors.out_of_range(item.std.span, "a standard deviation", "above 0", min(given[1]))
            )
            continue
        found.append(typed.NormalizeInfo(name.text, given[0], given[1]))
    return found


def _statistics(
    checking: Checking, expression: tree.Expression | None, channels: int | str
) -> tuple[float, ...] | None:
    if expression is None:
        return None
    items = expression.items if isinstance(expression, tree.ListOf) else (expression,)
    numbers: list[float] = []
    for item in items:
        expr = expressions.constant(checking, item, "a statistic of the data")
        number = None if expr is None else known_number(checking, expr)
        if number is None:
            return None
        numbers.append(float(number))
    if len(numbers) not in (1, channels):
        checking.report(
            errors.wrong_type(
                expression.span,
                f"1 number or one for each of {channels} channels",
                f"{len(numbers)}",
            )
        )
        return None
    return tuple(numbers)


def with_batch(info: typed.DataInfo, batch: int | None) -> typed.DataInfo:
    """The block with the batch size that `explore` asks for instead of its own."""
    return info if batch is None else attrs.evolve(info, batch=batch)
