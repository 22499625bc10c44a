"""A proving ground: providers that behave by scripts, and a sender that keeps to our policy.

    script     what a provider does and when, from TOML; pure
    behaviour  each kind of it: rate limits, greylisting, blocks, storms, tarpits, caps; pure
    provider   one provider's answer to one message, phase by phase
    world      all providers in virtual time: send n messages from an IP to a provider now, hear the replies
    courier    the sender in virtual time: the product's own rules, learner and retry schedule, no other
    run        days of a courier's work in seconds, as figures by the hour
    sink       the same providers as real SMTP listeners on loopback, for a running product
    plot       figures as a PNG

Policy never reads a script: it learns what providers do from their replies, here as in the field. What a
courier does by policy is what the product does by it, since both call policy/governor.py; what the product
does besides (permits, sessions, claims) is met by pointing a running one at the sink.
"""
