"""One file per kind of `outputs` entry: what happens to a record on its way."""
