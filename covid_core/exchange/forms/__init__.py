"""A finished model in the forms that programs of others run, with what a reader needs to use it."""
