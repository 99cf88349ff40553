"""Which event does a frame carry?"""
