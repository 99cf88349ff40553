"""Does what we send come back, and what is done if it does not?"""
