"""How long pages and clicks take."""
