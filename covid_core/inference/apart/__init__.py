"""Networks in files of others, run in a process of their own: never in that of the pages."""
