"""The Batch API: clients' files, their batches, and what runs them expert by expert.

shelf, upload   files of clients             sheet       the lines of an input, checked
record          a batch as data              ledger      what is done of it, from its journal
answering       one line, in steps           run         all lines: route, ask by expert, fuse, once more
output          the files at the end         desk        orders, progress, cancelling, taking over
opening         how all that is built
"""

from gateway.batches.desk import Desk
from gateway.batches.opening import floor_of, opened_desk, settled

__all__ = ["Desk", "floor_of", "opened_desk", "settled"]
