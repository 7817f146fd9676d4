"""The live registry: which experts there are, changed while the gateway runs, the same in every process.

records.py       what is written about an expert, and which of file and store holds (pure)
references.py    who names whom (pure)              measured.py   what was measured, laid over (pure)
catalogue.py     file and store together -> the registry, kept up to date
consequences.py  what follows beside the requests   registrar.py  the changes that may be made
rereading.py     the file's half follows the file
"""

from gateway.catalogue.catalogue import Catalogue
from gateway.catalogue.consequences import Consequences
from gateway.catalogue.records import Entry
from gateway.catalogue.registrar import Registrar, Removed
from gateway.catalogue.rereading import FileReader

__all__ = ["Catalogue", "Consequences", "Entry", "FileReader", "Registrar", "Removed"]
