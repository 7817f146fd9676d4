"""Write the output of a batch, once, at its end, in the input's order; lines that ended in an error also apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import orjson

from gateway.batches.ledger import Ledger
from gateway.batches.run import unfinished_line
from gateway.batches.sheet import Sheet


def write_output(
    sheet: Sheet, ledger: Ledger, out: BinaryIO, errors: BinaryIO, unfinished: tuple[str, str] | None = None
) -> int:
    """Write one line for each of the input, and return how many of them are errors; call it in a thread.

    Args:
        sheet: the input.
        ledger: how each line ended; its journal is synced.
        out: gets every line that ended.
        errors: gets those that ended in an error.
        unfinished: code and sentence of lines that have not ended; without it they are left out.
    """
    failed = 0
    for line in sheet.lines:
        written: tuple[Mapping[str, Any], bool] | None = ledger.out(line)
        if written is None and unfinished is not None:
            written = unfinished_line(line, *unfinished), False
        if written is None:
            continue
        text = orjson.dumps(written[0], option=orjson.OPT_APPEND_NEWLINE)
        out.write(text)
        if not written[1]:
            failed += 1
            errors.write(text)
    return failed
