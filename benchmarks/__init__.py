"""How fast is the worker beside others? `make bench-quick` says."""
