"""An image store as a whole: written as another kind of store, or held against its rules."""

from __future__ import annotations

from pathlib import Path

from mirage import atomic
from mirage.dataset.conversion import Conversion, Progress
from mirage.dataset.refusals import Refusals, settled
from mirage.dataset.verification import STEP, Report, Verification, decoded
from mirage.errors import MediaError, RecordError, SourceError
from mirage.formats.shape import Fault, Reading, among
from mirage.media import sniff
from mirage.record import Image
from mirage.sources.mimicit_files import datasets
from mirage.store import FLAWS, NOTES, Finding, ImageStore, StoreWriter, open_store, unpacked

STORE = "image-store"


def convert(path: Path, target: Path, progress: Progress = lambda rows: None) -> Conversion:
    """Write the image store at `path` as another one: JSON or Parquet, as the target's name says.

    The bytes of images stay as they are, their base64 becomes canonical. An entry that cannot be
    read, or whose key stood before, is listed in `<target>.failed.jsonl`. Raises ValueError where
    there is no store, RunError where something else is in the way.
    """
    done = Conversion(STORE, STORE)
    with opened(path) as source, atomic.workspace(target.absolute().parent) as room:
        listed = room / "failed.jsonl"
        with listed.open("wb") as failures, StoreWriter(target) as store:
            refusals = Refusals(failures, done.causes)

            def lost(finding: Finding) -> None:
                done.read += 1
                refusals.add(finding.place, SourceError(finding.rule, finding.message))

            for entry in source.entries(lost):
                done.read += 1
                place = source.where(entry)
                try:
                    store.add(entry.key, unpacked(source.text(entry))[0], place)
                    done.written += 1
                except RecordError as error:
                    refusals.add(place, error)
                if done.read % STEP == 0:
                    progress(done.read)
        done.failures = settled(listed, done.causes, target)
    return done


def verify(path: Path, report: Report, progress: Progress = lambda images: None) -> Verification:
    """Look at every key, text and image of a store, and `report` whatever breaks a rule;
    `progress` is told now and then how many images were looked at.

    Raises ValueError where there is no store.
    """
    found = Verification(STORE)
    with opened(path) as store:
        found.rows = examine(store, found, report, progress)
    return found


def examine(store: ImageStore, found: Verification, report: Report, progress: Progress) -> int:
    """Report what breaks a rule in a store to `found`, and say how many entries it has."""
    entries = 0

    def tell(finding: Finding) -> None:
        found.tell(finding.place, Fault(finding.rule, finding.message, finding.note), report)

    for finding in store.faults():
        tell(finding)
    for entry in store.entries(tell):
        entries += 1
        reading = Reading(among(None, given=False))
        try:
            data, flaws = unpacked(store.text(entry))
            for flaw in flaws:
                told = reading.note if flaw in NOTES else reading.fault
                told(flaw, FLAWS[flaw])
            found.images += 1
            decoded(Image(entry.key, data=data), reading)
        except MediaError as error:
            rule = error.kind if error.kind == "base64" else f"image-{error.kind}"
            reading.fault(rule, error.message)
        for fault in reading.faults:
            found.tell(f"{store.where(entry)}: {entry.key:.120}", fault, report)
        if not entries % STEP:
            progress(found.rows + found.images)
    for finding in store.duplicates():
        tell(finding)
    return entries


def recognised(path: Path) -> bool:
    """Whether a dataset can only be an image store: keys and texts, the first one an image."""
    if datasets(path, asked=False):
        return False  # the store stands beside its instructions
    try:
        with open_store(path) as store:
            if store.further:
                return False
            first = next(store.entries(), None)
            return first is not None and bool(sniff(unpacked(store.text(first))[0]))
    except (ValueError, OSError, MediaError):
        return False


def opened(path: Path) -> ImageStore:
    try:
        return open_store(path)
    except OSError as exc:
        raise ValueError(f"{path} cannot be read: {exc.strerror or exc}") from exc
