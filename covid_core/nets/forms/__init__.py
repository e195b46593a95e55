"""A finished model in the formats that programs of others read."""
