"""Second Look's core: everything that computes, nothing that shows.

The order in which data travels is the order of the packages::

    folder / zip / Kaggle / phantom
        |  data.importing
        v
    Dataset ------------> data.summary                what is here?
        |  data.split                                 who is in which part, with a hash
        v
    TrainingSpec -------> runs.jobs, runs.worker      one process per run
        |  nets.trunk, nets.training                  frozen part once per film, then only what learns
        v
    run folder ---------> evaluation, report          which run is better, by how much
        |
        v
    inference.Predictor   one film -> scores and heat map, without TensorFlow

``lessons`` goes this way four times, on films drawn for it in workspaces of its own, to show how a model fools its
user.

Rules that hold the house (tests/test_architecture.py keeps them): the core knows no Streamlit; TensorFlow is
imported only in ``nets``, and ``nets`` only in worker processes; ``evaluation`` sees arrays and tables only; only
``runs.store`` knows the files of a run; only ``images.raster`` and ``images.dicom`` open image files.
"""
