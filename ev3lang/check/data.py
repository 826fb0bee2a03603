"""Data blocks: fields, splits and batches, all without reading anything."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ev3lang.catalog.index import AUGMENTATIONS
from ev3lang.catalog.signature import DataSource, Type
from ev3lang.check import (
    declarations,
    errors,
    expressions,
    operations,
    operators,
    seeds,
    typed,
    types,
)
from ev3lang.check.amounts import counted, whole
from ev3lang.check.arguments import known_number
from ev3lang.check.checking import Checking, only
from ev3lang.syntax import tree

DEFAULT_SHARES = {"explore": 0.6, "assess": 0.15, "adapt": 0.15, "report": 0.1}
DEFAULT_BATCH = 128


def data(checking: Checking, declaration: tree.Data) -> typed.DataInfo | None:
    """A data block; None where it is at fault."""
    options = types.source_options(checking, declaration)
    entry = types.source_of(declaration)
    fields = {
        symbol.name: declarations.field(checking, symbol, declaration.name)
        for symbols in checking.names.fields.values()
        for symbol in symbols
        if symbol.data == declaration.name.text
    }
    rows = {} if options is None else _rows(checking, declaration, entry, dict(options))
    is_endless = entry is not None and not entry.declares_fields and not rows
    normalized: list[typed.NormalizeInfo] = []
    known: list[tree.KnownItem] = []
    augmented: list[typed.AugmentInfo] = []
    for item in declaration.items:
        match item:
            case tree.FieldItem():
                if entry is not None and not entry.declares_fields:
                    checking.report(errors.field_of_file(item.span, entry.name))
            case tree.NormalizeItem():
                normalized.extend(_normalize(checking, declaration, item))
            case tree.AugmentItem():
                info = _augment(checking, declaration, item)
                if info is not None:
                    augmented.append(info)
            case tree.KnownItem():
                known.append(item)
                _known(checking, declaration, item)
            case tree.RowsItem() | tree.SplitItem() | tree.DeriveItem() | tree.Batch():
                pass
    _mixed_once(checking, declaration)
    unmeasured = [each for each in normalized if each.mean is None or each.std is None]
    if is_endless and unmeasured:
        item = next(e for e in declaration.items if isinstance(e, tree.NormalizeItem))
        checking.report(errors.normalize_endless(item.span, unmeasured[0].field))
    split_item = only(checking, declaration.items, tree.SplitItem, "`split`")
    batch = batch_of(checking, only(checking, declaration.items, tree.Batch, "`batch`"))
    split = _split_of(checking, declaration, split_item, fields, is_endless, rows)
    if split is not None and split_item is not None and entry and not entry.declares_fields:
        part = next((each.part for each in split_item.shares if each.part is not None), None)
        if part is not None:
            checking.report(errors.part_of_known_source(part, entry.name))
    if options is None or entry is None or batch is None or None in fields.values():
        return None
    if not is_endless and split is None:
        return None
    whole = typed.DataInfo(
        name=declaration.name.text,
        source=entry.name,
        options=options,
        fields={key: each for key, each in fields.items() if each is not None},
        split=split,
        normalized=tuple(normalized),
        rows=rows,
        batch=batch.size,
        parts=batch.parts,
        augmented=tuple(augmented),
    )
    place = split_item.span if split_item is not None else declaration.name.span
    for use in typed.SPLITS if split is not None else ():
        if whole.examples(use) == 0:
            checking.report(errors.empty_share(place, use, sum(rows.values())))
            return None
        if whole.examples(use) == 1 and use in ("assess", "report"):
            checking.report(errors.lone_example(place, use, sum(rows.values())))
    return attrs.evolve(whole, known=tuple(_known_info(checking, whole, each) for each in known))


def batch_of(checking: Checking, item: tree.Batch | None) -> typed.BatchInfo | None:
    """The examples of a batch and its parts; None, reported, where they are no whole numbers."""
    if item is None:
        return typed.BatchInfo(DEFAULT_BATCH)
    size = whole(checking, item.size, "a batch size")
    if item.parts is None:
        return None if size is None else typed.BatchInfo(size)
    parts = counted(checking, item.parts, "parts", "a count of parts, such as `4 parts`")
    if size is None or parts is None:
        return None
    if size % int(parts):
        checking.report(errors.uneven_parts(item.parts.span, size, int(parts)))
        return None
    return typed.BatchInfo(size, int(parts))


def check_batch(checking: Checking, info: typed.DataInfo, batch: int, place: tree.Node) -> None:
    """Report a batch that the explore split can't fill."""
    rows = info.examples("explore")
    if rows is not None and batch > rows:
        checking.report(errors.batch_too_large(place.span, batch, rows))


def batch_place(declaration: tree.Data) -> tree.Node:
    """Where a data block states its batch, else its name."""
    stated = [item for item in declaration.items if isinstance(item, tree.Batch)]
    return stated[0].size if stated else declaration.name


def with_batch(info: typed.DataInfo, batch: typed.BatchInfo | None) -> typed.DataInfo:
    """The block with the batch that `explore` asks for instead of its own."""
    return info if batch is None else attrs.evolve(info, batch=batch.size, parts=batch.parts)


def _own_field(
    checking: Checking, declaration: tree.Data, name: tree.Name
) -> typed.FieldInfo | None:
    """A field of this very block; None, reported, where it has none of that name."""
    symbols = checking.names.fields.get(name.text, ())
    own = next((each for each in symbols if each.data == declaration.name.text), None)
    if own is None:
        if not checking.names.has_unknown_fields:
            checking.report(errors.unknown_field(name, checking.fields_of(declaration.name.text)))
        return None
    return declarations.field(checking, own, name)


# ---------------------------------------------------------------- rows and shares


def _rows(
    checking: Checking,
    declaration: tree.Data,
    entry: DataSource | None,
    options: Mapping[str, object],
) -> dict[str | None, int]:
    """The examples of each part, as source or spec state them; empty where nobody does."""
    stated = only(checking, declaration.items, tree.RowsItem, "`rows`")
    if entry is not None and not entry.declares_fields:
        if stated is not None:
            checking.report(errors.field_of_file(stated.span, entry.name))
        count = options.get(entry.rows_option) if entry.rows_option else entry.rows
        return {None: count} if isinstance(count, int) else {}
    rows: dict[str | None, int] = {}
    for each in stated.counts if stated is not None else ():
        count = whole(checking, each.count, "a count of rows")
        part = each.part.text if each.part is not None else None
        if part in rows:
            checking.report(errors.part_twice(each.span, part))
        elif count is not None:
            rows[part] = count
    return rows


def _split_of(
    checking: Checking,
    declaration: tree.Data,
    item: tree.SplitItem | None,
    fields: Mapping[str, typed.FieldInfo | None],
    is_endless: bool,
    rows: Mapping[str | None, int],
) -> typed.SplitInfo | None:
    if is_endless:
        if item is not None:
            checking.report(errors.split_of_endless(item.span))
        return None
    if item is not None:
        return _split(checking, declaration, item, rows)
    shares = {use: typed.ShareInfo(None, share) for use, share in DEFAULT_SHARES.items()}
    stratum = _stratum(fields)
    return typed.SplitInfo(shares, None if stratum is None else "stratified", stratum, 0)


def _stratum(fields: Mapping[str, typed.FieldInfo | None]) -> str | None:
    """The field that a split without words keeps the proportions of: the only label there is."""
    labels = [
        name
        for name, info in fields.items()
        if info is not None and info.type.kind == "class" and info.value is None
    ]
    return labels[0] if len(labels) == 1 else None


def _split(
    checking: Checking,
    declaration: tree.Data,
    item: tree.SplitItem,
    rows: Mapping[str | None, int],
) -> typed.SplitInfo | None:
    shares: dict[str, typed.ShareInfo] = {}
    places: dict[str, tree.Share] = {}
    is_whole = True
    for share in item.shares:
        use = share.use.text
        if use not in typed.SPLITS:
            checking.report(errors.unknown_choice(share.use, "use of data", typed.SPLITS))
            is_whole = False
            continue
        if use in places:
            checking.report(errors.split_use_twice(share.use.span, places[use].use.span, use))
            is_whole = False
            continue
        places[use] = share
        info = _share(checking, share, rows)
        is_whole = is_whole and info is not None
        if info is not None:
            shares[use] = info
    pooled = [share for share in item.shares if share.part is not None and _is_all(share, rows)]
    apart = next((share for share in item.shares if share not in pooled), None)
    if pooled and apart is not None:
        checking.report(errors.partly_pooled(apart.span, pooled[0].span))
        is_whole = False
    missing = [use for use in typed.SPLITS if use not in places]
    if missing and all(share.use.text in typed.SPLITS for share in item.shares):
        checking.report(errors.missing_share(item.span, missing))
        is_whole = False
    for part in {share.part for share in shares.values()}:
        total = sum(share.fraction for share in shares.values() if share.part == part)
        if total > 1 + 1e-9:
            checking.report(errors.split_too_large(item.span, 100 * total, part))
            is_whole = False
    by = _split_method(checking, declaration, item)
    units = _units(checking, item, rows)
    if by is not None and item.method == "ordered" and item.units is None:
        assert item.by is not None, "an order is by a field"
        checking.report(errors.independent_in_time(item.by.span, by))
    seed = 0 if item.seed is None else seeds.seed_of(checking, item.seed)
    if seed is None:
        return None
    if not is_whole or units is None or (item.method is not None and by is None):
        return None
    return typed.SplitInfo(
        shares, item.method, by, seed, units.block, units.groups, units.largest, bool(pooled)
    )


@attrs.frozen
class _Units:
    """What is stated of the groups or blocks that count as one example."""

    block: int | None = None
    groups: int | None = None
    largest: int | None = None


def _units(
    checking: Checking, item: tree.SplitItem, rows: Mapping[str | None, int]
) -> _Units | None:
    """What counts as one example; None, reported, where the words fit nothing."""
    whole = None if any(share.part is not None for share in item.shares) else rows.get(None)
    match item.units:
        case None:
            return _Units()
        case tree.Blocks(size=size):
            if item.method != "ordered":
                checking.report(errors.unfit_units(item.units.span, "blocks", "ordered by"))
                return None
            block = counted(checking, size, "examples", "a size of blocks, such as `50 examples`")
            return None if block is None else _Units(block=int(block))
        case tree.Groups(count=count, largest=largest):
            if item.method != "grouped":
                checking.report(errors.unfit_units(item.units.span, "groups", "grouped by"))
                return None
            groups = counted(checking, count, "groups", "a count of groups, such as `300 groups`")
            words = "the size of the largest group, such as `40 examples`"
            most = None if largest is None else counted(checking, largest, "examples", words)
            if groups is None or (largest is not None and most is None):
                return None
            if whole is not None and not groups <= whole <= groups * (most or whole):
                checking.report(
                    errors.impossible_groups(
                        item.units.span, int(groups), None if most is None else int(most), whole
                    )
                )
                return None
            return _Units(groups=int(groups), largest=None if most is None else int(most))


ALL_PARTS = "all"
"""What a share writes in the place of a part to be drawn from all of them as one."""


def _is_all(share: tree.Share, rows: Mapping[str | None, int]) -> bool:
    """Whether a share is of all parts of a file; not where the spec has a part of that name."""
    return share.part is not None and share.part.text == ALL_PARTS and ALL_PARTS not in rows


def _share(
    checking: Checking, share: tree.Share, rows: Mapping[str | None, int]
) -> typed.ShareInfo | None:
    part = None if share.part is None or _is_all(share, rows) else share.part.text
    # A count of the whole file says nothing of its parts, which are compared when it is read.
    stated = [name for name in rows if name is not None]
    if share.part is not None and part is not None and stated and part not in stated:
        checking.report(errors.part_without_rows(share.part, stated))
        return None
    if share.amount is None:
        if part is not None:
            return typed.ShareInfo(part, 1.0)
        checking.report(
            errors.wrong_type(
                share.span, f"a share for `{share.use.text}`, such as `10%`", "nothing"
            )
        )
        return None
    amount = counted(checking, share.amount, "ratio", "a share, such as `60%`")
    return None if amount is None else typed.ShareInfo(part, float(amount))


def _split_method(checking: Checking, declaration: tree.Data, item: tree.SplitItem) -> str | None:
    if item.method is None:
        return None
    assert item.by is not None
    info = _own_field(checking, declaration, item.by)
    if info is None:
        return None
    fits = {
        "stratified": info.type.kind in ("class", "bool"),
        "grouped": info.type.kind in ("id", "class", "text", "i32", "int"),
        "ordered": operators.scalar(info.type) is not None and info.type.kind != "class",
    }
    expected = {
        "stratified": "a field of labels",
        "grouped": "a field that names groups, such as an `id`",
        "ordered": "a field of numbers, such as a time",
    }
    if not fits[item.method]:
        checking.report(errors.wrong_type(item.by.span, expected[item.method], str(info.type)))
        return None
    return item.by.text


# ---------------------------------------------------------------- what is done to fields


def _known(checking: Checking, declaration: tree.Data, item: tree.KnownItem) -> None:
    _own_field(checking, declaration, item.field)
    if item.mask is not None:
        info = _own_field(checking, declaration, item.mask)
        if info is not None and info.type.kind != "bool":
            checking.report(
                errors.wrong_type(item.mask.span, "a field of true and false", str(info.type))
            )


def _mixed_once(checking: Checking, declaration: tree.Data) -> None:
    """Report a second `mixup`: an example has one partner, and so has its label."""
    mixing = [
        written
        for item in declaration.items
        if isinstance(item, tree.AugmentItem)
        for written in item.operations
        if (written.function if isinstance(written, tree.Call) else written).span.text == "mixup"
    ]
    for again in mixing[1:]:
        checking.report(errors.duplicate_statement(again.span, mixing[0].span, "`mixup`"))


def _known_info(checking: Checking, info: typed.DataInfo, item: tree.KnownItem) -> typed.KnownInfo:
    mask = None if item.mask is None else item.mask.text
    if item.amount is None:
        return typed.KnownInfo(item.field.text, None, mask)
    count = counted(checking, item.amount, "examples", "a count of examples")
    rows = info.examples("explore")
    if count is not None and rows is not None and count > rows:
        checking.report(errors.known_too_many(item.amount.span, int(count), rows))
    return typed.KnownInfo(item.field.text, None if count is None else int(count), mask)


def _augment(
    checking: Checking, declaration: tree.Data, item: tree.AugmentItem
) -> typed.AugmentInfo | None:
    info = _own_field(checking, declaration, item.field)
    found: list[typed.OperationInfo] = []
    for written in item.operations:
        operation = operations.operation(checking, written, AUGMENTATIONS, "augmentation")
        if operation is None:
            continue
        is_image = info is not None and info.type.is_tensor and len(info.type.dimensions) == 3
        if info is not None and operation.name not in ("gaussian_noise", "mixup") and not is_image:
            checking.report(errors.augments_images(written.span, operation.name, info.type))
        found.append(operation)
    return typed.AugmentInfo(item.field.text, tuple(found)) if found else None


def _normalize(
    checking: Checking, declaration: tree.Data, item: tree.NormalizeItem
) -> list[typed.NormalizeInfo]:
    found: list[typed.NormalizeInfo] = []
    for name in item.fields:
        info = _own_field(checking, declaration, name)
        if info is None:
            continue
        is_number = operators.scalar(info.type) is not None or info.type.is_tensor
        if not is_number or info.type.kind in ("class", "bool", "int"):
            checking.report(errors.wrong_type(name.span, "a field of numbers", str(info.type)))
            continue
        mean = _statistics(checking, item.mean, info.type)
        std = _statistics(checking, item.std, info.type)
        if (item.mean is not None and mean is None) or (item.std is not None and std is None):
            continue
        if item.std is not None and std is not None and min(std) <= 0:
            checking.report(
                errors.out_of_range(item.std.span, "a standard deviation", "above 0", min(std))
            )
            continue
        found.append(typed.NormalizeInfo(name.text, mean, std))
    return found


def _statistics(
    checking: Checking, expression: tree.Expression | None, type_: Type
) -> tuple[float, ...] | None:
    if expression is None:
        return None
    channels = type_.dimensions[-1] if type_.dimensions else 1
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
