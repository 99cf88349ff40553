"""How does what was heard become a file, and a file become events again?"""
