"""By which ways does a notification leave?

Each module in here is a sink, found by its name (`SINKS=log,broadcast`). It has one function:
`opened(options)`, an async context manager that yields `send(notice)`. To send is to have been
taken by the other side; whatever is raised means "not yet", and the notice is sent again later
under the same id.
"""
