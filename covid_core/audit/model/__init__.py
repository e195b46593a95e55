"""What a finished model reads: the lungs, or the frame around them? And do its heat maps show what it learned?"""
