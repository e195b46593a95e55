"""Images one by one: measures, and the findings that follow from them."""
