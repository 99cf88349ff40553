"""What does this deployment do about events? One module for each reaction."""
