"""What can be wrong with the data of a run, or too much for its device."""

from __future__ import annotations

from ev3lang.outcome import Fault

LESS_MEMORY = "use a smaller batch or `batch … in 4 parts`, a smaller model, or another --device"


class DataError(Fault):
    """Data that can't be used as the spec says.

    help            what to do
    is_spec_fault   whether the spec asks for what the data can't give, rather than the data
                    being broken
    field           the field it is about, None where it is about all
    row             the example it is about, counted from 1, None where it is about all
    The message names file, field and row itself.
    """

    def __init__(
        self,
        message: str,
        help: str,
        *,
        is_spec_fault: bool = False,
        field: str | None = None,
        row: int | None = None,
    ) -> None:
        super().__init__(_one_line(message), _one_line(help))
        self.is_spec_fault = is_spec_fault
        self.field = field
        self.row = row


def _one_line(text: str) -> str:
    """The text without what would end its line or move the cursor: files hold any characters."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


class MemoryFault(Fault):
    """A run that needs more memory than its device has."""

    def __init__(self, message: str, help: str = LESS_MEMORY) -> None:
        super().__init__(message, help)


class WeightsError(Fault):
    """Weights that can't be read, aren't those of the model they are for, or are no numbers."""


class InputError(Fault, ValueError):
    """Values that a model can't take: missing, of another type or shape, or unknown words."""
