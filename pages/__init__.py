"""The pages: widgets and words, no computation."""
