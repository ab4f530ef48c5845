"""Images: found where a record says, recognised by their bytes, guarded, shown to a model.

A value of the source becomes an `Image` by `locate`; `picture` makes what a model sees of it. The
original is never altered. `archives` (over `members`) finds images inside archives, `web` (over
`fetch`) brings those that are elsewhere; they are loaded where there are such images. `sniff` and
`guard` are shared by all, and Pillow is loaded only where a copy has to be made.
"""

from mirage.media.guard import Size, guard
from mirage.media.locate import file_state, locate, recognise
from mirage.media.picture import picture
from mirage.media.sniff import extension, sniff

__all__ = [
    "Size",
    "extension",
    "file_state",
    "guard",
    "locate",
    "picture",
    "recognise",
    "sniff",
]
