"""Numbers to sentences, tables, JSON and HTML: the same words on a page, in a report and on the command line."""
