"""Is the candidate better on feedback that nothing was ever trained on?"""
