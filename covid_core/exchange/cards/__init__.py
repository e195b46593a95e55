"""Cards: what files show of a run or a data set, and of the items of reporting guidelines."""
