"""A proving ground: providers that behave by scripts, and a sender that keeps to our policy.

    script     what a provider does and when, from TOML; pure
    behaviour, standing
               each kind of it: rate limits, greylisting, blocks, storms, tarpits, caps; pure
    provider   one provider's answer to one message, phase by phase
    world      all providers in virtual time: send n messages from an IP to a provider now, hear the replies
    courier    the sender in virtual time: the product's own rules, learner and retry schedule, no other
    run        days of a courier's work in seconds, as figures by the hour
    harbour    IPs and pools as rows of a database of their own
    sender     streams, conduct and rules of one with several of them
    fleet      such a sender in virtual time: dispatcher, warm-up and brake of the product
    public     whom mail goes to: unknown recipients, and people who complain
    warmed     a warm-up of weeks, as figures by the day
    sink       the same providers as real SMTP listeners on loopback, for a running product
    plot       figures as a PNG

Policy never reads a script: it learns what providers do from their replies, here as in the field. What a
courier or a fleet does by policy is what the product does by it, since both call the same functions; what the
product does besides (permits, sessions, claims) is met by pointing a running one at the sink.
"""
