"""Requests about limits over time and the rules for providers."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from mailer.client.answers.limiting import LimitList, ProviderRule, ProviderRuleList
from mailer.client.call import Call, changing

_LIMITS = "/v1/limits"
_RULES = "/v1/provider-rules"


def limits() -> Call[LimitList]:
    return Call(method="GET", path=_LIMITS, answer=LimitList, repeatable=True)


def set_limit(
    tenant: str, *, of: str | None, stream: str | None, rates: Mapping[str, int | None]
) -> Call[LimitList]:
    given = {"tenant": tenant, "of": of, "stream": stream, **rates}
    wanted = {key: value for key, value in given.items() if value is not None}
    return changing("PUT", _LIMITS, LimitList, wanted, repeatable=True)


def remove_limit(tenant: str, *, of: str | None, stream: str | None) -> Call[LimitList]:
    given = {"tenant": tenant, "of": of, "stream": stream}
    whose = {key: value for key, value in given.items() if value is not None}
    return Call(method="DELETE", path=f"{_LIMITS}?{urlencode(whose)}", answer=LimitList, repeatable=True)


def provider_rules() -> Call[ProviderRuleList]:
    return Call(method="GET", path=_RULES, answer=ProviderRuleList, repeatable=True)


def provider_rule(name: str) -> Call[ProviderRule]:
    return Call(method="GET", path=f"{_RULES}/{name}", answer=ProviderRule, repeatable=True)


def set_provider_rule(name: str, rule: Mapping[str, object]) -> Call[ProviderRule]:
    return changing("PUT", f"{_RULES}/{name}", ProviderRule, rule, repeatable=True)


def remove_provider_rule(name: str) -> Call[ProviderRule]:
    """Not repeatable: the second answer would be that there is none."""
    return Call(method="DELETE", path=f"{_RULES}/{name}", answer=ProviderRule)
