"""A place is one name for an IP of ours and a site, and is taken apart again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.policy.places import parts_of, place_name, site_in

SITES = st.tuples(st.sampled_from(["mx:", "provider:", "route:", "domain:"]), st.text()).map("".join)


@pytest.mark.parametrize("egress", ["203.0.113.5", "2001:db8::5"])
def test_an_ip_and_a_site_make_a_place(egress: str) -> None:
    assert place_name(egress, "provider:google") == f"ip:{egress}|provider:google"


def test_where_the_system_chooses_the_place_is_called_like_the_site() -> None:
    assert place_name("", "provider:google") == "provider:google"


@given(egress=st.ip_addresses().map(str) | st.just(""), site=SITES)
def test_a_place_tells_its_ip_and_its_site(egress: str, site: str) -> None:
    place = place_name(egress, site)

    assert parts_of(place) == (egress, site)
    assert site_in(place) == site
