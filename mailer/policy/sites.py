"""What mailbox providers take: which of them an MX host belongs to, and the limits they set for a sender.

The rules are data. A provider is known by the ends of its MX hosts' names, the longest one first, and is one
site however many domains it serves, so that a limit holds for all of them together. Rules limit, they do not
route: a recipient is offered to no other hosts than those of its own domain.

    [provider.example]
    mx = ["mx.example.net"]             # the host of that name, and every one below it
    connections = 5                     # at a time, over all workers
    messages_per_session = 50
    messages_per_hour = 2000            # or _second, _minute, _day; each of our addresses for itself
    connections_per_minute = 30         # new ones
    one_site = false                    # each MX set for itself; true where nothing is said
    tls = "required"                    # or "encrypted": what its hosts must prove (mailer/policy/tls.py)
    pool = "careful"                    # the pool its mail leaves from, where stream and tenant have none
    source = "https://postmaster.example.net/limits"    # or "assumed"

    [provider.example.together]         # over all our addresses and all its sites
    messages_per_day = 20000

A section [default], with the same limits and no mx, is for the sites that no provider's rule is for. An
overlay's section replaces the one of the same name as a whole; a section with `mx = []` takes it away.
A rule that was set by the API lies over all files in the same way.
Rules for single recipient domains stand in [domain."NAME"] (site_domains.py), rules on replies in [rule.NAME]
(automation.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mailer.policy import site_file
from mailer.policy.automation import Automation
from mailer.policy.classifier import Classifier, Judgement
from mailer.policy.outcome import Accepted, NotTried, Outcome, Refused
from mailer.policy.site_domains import DomainRules
from mailer.policy.site_file import ASSUMED, DEFAULT, Provider, SiteFile, SiteRuleError
from mailer.policy.tls import Wish

__all__ = ["API", "ASSUMED", "Provider", "SiteRuleError", "SiteRules"]

API = "api"  # place of a rule that stands in no file
_PROVIDER = "provider:"
_SET = "mx:"
_LONGEST_SET = 120


class SiteRules:
    """Safe from any thread. Whoever has it sees the rules that `take` laid in place of the earlier ones: each
    answer is from one whole set of rules, the old or the new one."""

    def __init__(
        self,
        providers: Sequence[Provider] = (),
        *,
        default: Provider | None = None,
        domains: DomainRules | None = None,
        automation: Automation | None = None,
    ) -> None:
        """default: the rule for sites that no provider's is for. automation: what follows from replies."""
        self._in_force = _RuleSet(providers, default, domains or DomainRules(), automation or Automation())

    @classmethod
    def parse(
        cls,
        files: Mapping[str, str],
        own: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        classifier: Classifier | None = None,
    ) -> SiteRules:
        """Rules from texts of files by name; later files lie over earlier ones.

        own         sections of providers by name that lie over all files; their place is "api"
        classifier  what refusals mean; None: by the shipped rules
        Raises SiteRuleError with all faults of all of them.
        """
        known = SiteFile()
        faults: list[str] = []
        for file, text in files.items():
            try:
                found = site_file.read(file, text)
            except SiteRuleError as error:
                faults += error.faults
                continue
            known.providers |= found.providers
            known.rules |= found.rules
            known.wishes |= found.wishes
        for name, values in (own or {}).items():
            provider, wrong = site_file.parse_provider(name, values, API)
            if provider is not None:
                known.providers[name] = provider
            faults += [f"{API}: {each.sentence}" for each in wrong]
        faults += _for_nobody(known)
        default = known.providers.pop(DEFAULT, None)
        providers = [provider for provider in known.providers.values() if provider.mx]
        faults += _claimed_twice(providers)
        if faults:
            raise SiteRuleError(faults)
        domains, automation = DomainRules(known.wishes), Automation(known.rules.values(), classifier)
        return cls(providers, default=default, domains=domains, automation=automation)

    def take(self, other: SiteRules) -> None:
        """From now on the rules of `other` are in force."""
        self._in_force = other._in_force  # one assignment: no thread sees half of each

    @property
    def edition(self) -> object:
        """Another object after each `take`, for those who keep what they made of the rules."""
        return self._in_force

    @property
    def providers(self) -> tuple[Provider, ...]:
        return self._in_force.providers

    @property
    def default(self) -> Provider | None:
        """The rule for the sites that no provider's is for."""
        return self._in_force.default

    @property
    def automation(self) -> Automation:
        """What follows from replies."""
        return self._in_force.automation

    @property
    def classifier(self) -> Classifier:
        """What refusals mean."""
        return self._in_force.automation.classifier

    def judge(self, outcome: Outcome, site: str | None) -> Judgement | None:
        """What an outcome at a site means; None: it was taken, or never tried."""
        if isinstance(outcome, (Accepted, NotTried)):
            return None
        if not isinstance(outcome, Refused):
            return self.classifier.of_trouble(outcome)
        provider = None if site is None else self.provider_name(site)
        return self.classifier.of_reply(outcome.reply, outcome.phase, provider)

    def tls_of(self, domain: str) -> Wish:
        """What is wanted of TLS for a recipient domain (A-label, lower case)."""
        return self._in_force.domains.tls_of(domain)

    def provider_of(self, host: str) -> Provider | None:
        """The provider that an MX host belongs to, by the longest end of its name."""
        return self._in_force.provider_of(host)

    def site(self, hosts: Sequence[str]) -> str:
        """The site of an MX set, its hosts in the order of preference, at least one.

        A provider's name where it is one site; else the set's: its best host, and how many stand behind it.
        """
        provider = self.provider_of(hosts[0])
        if provider is not None and provider.one_site:
            return f"{_PROVIDER}{provider.name}"
        more = len(set(hosts)) - 1
        return f"{_SET}{hosts[0][:_LONGEST_SET]}" + (f"+{more}" if more else "")

    def rule_of(self, site: str) -> Provider | None:
        """The rule that limits a site, a provider's or the default; None: there is none, as for routes."""
        return self._in_force.rule_of(site)

    def is_limited(self, site: str) -> bool:
        """Whether there are ceilings over time for what is sent to a site."""
        rule = self.rule_of(site)
        return rule is not None and bool(rule.rates or rule.together)

    def provider_name(self, site: str) -> str | None:
        """Whose rules on replies hold for a site."""
        rule = self.rule_of(site)
        return None if rule is None else rule.name

    def connections(self, site: str, most: int) -> int:
        """Connections that a site takes at a time; `most` where no rule asks for fewer."""
        rule = self.rule_of(site)
        return most if rule is None or rule.connections is None else min(rule.connections, most)

    def messages_per_session(self, site: str, most: int) -> int:
        """Messages after which a session to a site is ended; `most` where no rule asks for fewer."""
        rule = self.rule_of(site)
        limit = None if rule is None else rule.messages_per_session
        return most if limit is None else min(limit, most)


class _RuleSet:
    """One edition of the rules. Immutable."""

    def __init__(
        self,
        providers: Sequence[Provider],
        default: Provider | None,
        domains: DomainRules,
        automation: Automation,
    ) -> None:
        self.providers = tuple(providers)
        self.default = default
        self.domains = domains
        self.automation = automation
        self._by_name = {provider.name: provider for provider in providers}
        self._by_end = {end: provider for provider in providers for end in provider.mx}

    def provider_of(self, host: str) -> Provider | None:
        name = host.lower().rstrip(".")
        while name:
            if name in self._by_end:
                return self._by_end[name]
            _, _, name = name.partition(".")
        return None

    def rule_of(self, site: str) -> Provider | None:
        if site.startswith(_PROVIDER):
            return self._by_name.get(site.removeprefix(_PROVIDER), self.default)
        if site.startswith(_SET):
            return self.provider_of(site.removeprefix(_SET).partition("+")[0]) or self.default
        return None


def _claimed_twice(providers: Sequence[Provider]) -> list[str]:
    owner: dict[str, Provider] = {}
    faults = []
    for provider in providers:
        for end in provider.mx:
            first = owner.setdefault(end, provider)
            if first is not provider:
                faults.append(f"{provider.place}: {end} belongs to provider.{first.name} ({first.place})")
    return faults


def _for_nobody(known: SiteFile) -> list[str]:
    return [
        f"{rule.place}: there is no provider.{rule.provider}"
        for rule in known.rules.values()
        if rule.provider is not None and rule.provider not in known.providers
    ]
