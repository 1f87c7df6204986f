"""x"""
def measure(image): return None
