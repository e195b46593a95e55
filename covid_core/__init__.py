"""Second Look's core: everything that computes, nothing that shows. ``docs/architecture.md`` tells the whole.

Its packages, from the ground up; each imports only what stands above it in this list::

    images        one file -> grey pixels
    evaluation    arrays and tables -> measures, intervals, tests, calibration
    synthetic     drawn chest X-rays
    data          folder, archive, Kaggle -> data set, split, pixels in memory
    runs          the files of runs and studies, and what reads them
    inference     a finished run and an image -> scores, checks, heat map; without TensorFlow
    nets          TensorFlow, and only here; only worker processes import it
    audit         what is wrong with a data set, and what a model reads
    figures       numbers -> Plotly
    reports       numbers -> sentences, JSON, CSV, LaTeX, HTML
    jobs          long work: queue, kinds, worker
    lessons       four ways a model fools you
    commands      the command line

The files beside them come before all packages, but ``weights`` and ``presets``, which come after ``runs``.
"""

__version__ = "0.2.0"
