"""How does the worker say what happened?"""
