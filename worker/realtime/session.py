"""Which frame is due, and what state is each channel in?"""
