"""Four ways a model fools you, each as a lesson: images drawn for it, runs trained on them, and what these teach.

A lesson has a workspace of its own (``workspaces``), so that no list, cache or comparison of the user ever holds its
images and runs, and all of it can be removed at once.
"""
