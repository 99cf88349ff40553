"""What do bytes on the socket mean?"""
