"""A run on disk and on its way: its folder and lock, what is owed, a record's journey, assembly."""
