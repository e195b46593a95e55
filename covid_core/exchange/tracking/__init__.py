"""Finished runs written where others follow theirs. ``record`` is what of a run leaves, no pixel of an image among it;
``mlflow_server`` and ``event_files`` write it."""
