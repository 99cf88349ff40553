"""How does an operator see how the worker is?"""
