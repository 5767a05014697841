"""`python -m tests.prose` lowers the ratchet; with files, it lists their faults."""

import sys
from pathlib import Path

from tests.prose.faults import faults_of
from tests.prose.ratchet import allowed, counted, lowered, write

for name in sys.argv[1:]:
    for fault in faults_of(Path(name)):
        print(f"{name}:{fault.line}: {fault.kind}: {fault.text}")
if not sys.argv[1:]:
    write(lowered(allowed(), counted()))
