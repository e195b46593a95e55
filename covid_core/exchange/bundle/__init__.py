"""Finished runs in one file, for another workspace: ``packing`` makes it, ``opening`` reads a stranger's.

A bundle is a zip archive whose files are stored as they are, laid out as a workspace:

=====================  ===================================================================================
bundle.json            format, when and by which version it was made, the licence of the data, hashes of all files
runs/ID/...            the files of a run that ``runs.store`` carries
trunks/KEY.tflite      exported networks that runs share
datasets/ID/...        only where images were asked for: their table, decisions without authors, and the files
=====================  ===================================================================================

Without images it holds no pixels. Hashes of patients are made under the key of one workspace, so no two workspaces'
bundles tell whether they hold the same patient.
"""
