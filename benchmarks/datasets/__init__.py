"""Import, and what the audit finds in a data set."""
