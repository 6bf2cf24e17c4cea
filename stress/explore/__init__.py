"""The verb `explore`."""
