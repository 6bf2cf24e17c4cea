"""What to run: orderings and scenarios as TOML, and the loader that checks them."""
