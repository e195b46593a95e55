"""A finished model in the formats that programs of others read, with what a reader needs to use it."""
