"""What an installation calls `tdx_stress`: the four rooms lie in it, and in site-packages it owns this name alone."""
