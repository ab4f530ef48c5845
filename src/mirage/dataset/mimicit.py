"""MIMIC-IT datasets held against their rules: every entry, every key of the training file, every
image of the store. All of it in one run, with the ids that were seen on disk.
"""

from __future__ import annotations

from pathlib import Path

from mirage.config.data import SourceConfig
from mirage.dataset.conversion import Progress
from mirage.dataset.stores import examine
from mirage.dataset.verification import STEP, Report, Verification
from mirage.formats import shape
from mirage.formats.shape import Reading, among
from mirage.places import RemotePath, place
from mirage.sources.mimicit import open_files
from mirage.sources.mimicit_files import datasets

NAME = "mimic-it"


def verify(
    source: SourceConfig,
    *,
    base: Path,
    report: Report,
    progress: Progress = lambda rows: None,
) -> Verification | None:
    """Look at every entry of the datasets at a path, and `report` whatever breaks a rule; None
    where there are no files of MIMIC-IT. `progress` is told now and then how many entries and
    images were looked at.

    An entry's place is its file and its number there, whether it is in the training set or not; a
    store is looked at once, however many datasets share it. Raises ValueError where a file cannot
    be read as a whole.
    """
    asked = source.format == NAME
    path = place(base, source.path)
    if isinstance(path, RemotePath):
        return None
    if not asked and (source.format or not datasets(path, asked=False)):
        return None
    rows = open_files(source, base, 0, whole=True)
    if rows is None:
        return None
    files, found, form = rows.format, Verification(NAME), shape(NAME)
    for span in rows.rest(()):
        entries = rows.root / span.file in files.instructions
        for record in rows.read(span):
            found.rows += entries
            if entries and not found.rows % STEP:
                progress(found.rows)
            reading = Reading(among(None, given=False))
            if record.fault is not None:
                reading.fault(record.fault.kind, record.fault.message)
            else:
                form.read(record.values, reading)
            for fault in reading.faults:
                found.tell(record.place, fault, report)
    stores = [dataset.store for dataset in files.instructions.values()]
    for store in {store.path: store for store in stores if store is not None}.values():
        examine(store, found, report, progress)
    return found
