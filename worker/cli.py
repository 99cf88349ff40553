"""What can be asked of the worker on the command line?"""
