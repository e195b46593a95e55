"""A finished model in the forms that programs of others run."""
