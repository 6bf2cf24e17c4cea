"""The kinds of result: the record of each, what is said of it, and its views."""
