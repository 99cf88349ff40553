"""What can be set, and is it right?"""
