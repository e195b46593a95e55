"""What leaves the app, measured."""
