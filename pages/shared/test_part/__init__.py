"""What pages show of the test part beside its figures: how often it was viewed, and its subgroups."""
