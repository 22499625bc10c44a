"""What the API answers, as values, one module for each group of routes.

Members that a newer server adds are passed over.
"""
