"""What does the worker need around it, on one machine and without Docker?"""
