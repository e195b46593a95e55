"""A table's rows as one hash: equal hashes mean equal rows in equal order."""

import hashlib

import pandas as pd


def hash_of(table: pd.DataFrame, before: str | None = None) -> str:
    """SHA-256, in hexadecimal, over the rows of a table of texts; ``before`` is hashed as a first line of its own."""
    rows = map("\t".join, zip(*(table[name].tolist() for name in table.columns), strict=True))
    lines = rows if before is None else (before, *rows)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
