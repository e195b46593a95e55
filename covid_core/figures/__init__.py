"""Numbers to Plotly figures. Nothing here computes a result, and nothing here knows the screen."""
