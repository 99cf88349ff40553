"""What runs, from start to stop?"""
