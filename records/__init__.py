"""Which tables does this deployment work with? One module each."""
