"""Every operation of the API as a `Call`: what is sent, what comes back, whether it may be repeated."""
