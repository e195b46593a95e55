"""The course report: one document of the seven parts of the assignment, and its renderers."""
