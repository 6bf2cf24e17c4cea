"""Pictures: looks, axes, sheets and panels, each drawn from values alone."""
