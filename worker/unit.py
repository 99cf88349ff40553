"""How do the effects of a batch become one transaction?"""
