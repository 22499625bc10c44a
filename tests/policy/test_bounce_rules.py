"""Files of rules on refusals: an operator's over the shipped ones, and what may be wrong with one."""

from __future__ import annotations

import pytest

from mailer.policy.bouncerules import BounceRuleError
from mailer.policy.classifier import Classifier, Said, shipped, shipped_files

END = 'class = "moved"\nsource = "s"\n'
OWN = """
[words]
ours = ["our own words"]

[rule.no-such-mailbox]
text = ["no such user"]
provider = "mine"
class = "policy-block"
source = "agreed"

[rule.quota]
text = ["quota of example"]
class = "rate-limited"
action = "suspend"
blame = "our-ip"
source = "assumed"

[rule.greylisted]
class = ""
"""


def test_an_operators_rule_comes_first_and_replaces_or_removes_the_shipped_one_of_its_name() -> None:
    found = Classifier.parse(shipped_files(), {"own.toml": OWN})

    own = found.classify(Said("552 5.2.2 over the quota of example"))
    assert (own.bounce_class, own.action, own.blame) == ("rate-limited", "suspend", "our-ip")
    assert (own.rule, own.place, own.source) == ("quota", "own.toml:11", "assumed")
    assert found.classify(Said("550 no such user", provider="mine")).bounce_class == "policy-block"
    assert found.classify(Said("550 no such user")).bounce_class == "undetermined"
    assert found.classify(Said("450 4.2.0 Greylisted")).bounce_class == "recipient-refused"


def test_every_shipped_rule_names_its_source_and_place() -> None:
    assert [
        rule for rule in shipped().rules if not rule.written.source or ":" not in rule.written.place
    ] == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[rule.a]\n", "own.toml:1: rule.a needs one of text, code, status, phase"),
        (
            '[rule.a]\ntext = ["x"]\nclass = "nice"\nsource = "s"\n',
            "own.toml:1: class of rule.a must be one of",
        ),
        ('\n[rule.a]\ntext = ["x"]\nclass = "moved"\n', "own.toml:2: rule.a needs source"),
        ('[rule.a]\ntext = "x"\n' + END, "text of rule.a must be a list"),
        (
            '[rule.a]\ncode = [5]\nregex = "x"\n' + END,
            "needs text or status beside it",
        ),
        (
            '[rule.a]\ntext = ["x"]\nregex = "("\n' + END,
            "must be a regular expression",
        ),
        ('[rule.a]\nstatus = ["5"]\n' + END, "status of rule.a must be a list"),
        ("[rule.a]\ncode = [9]\n" + END, "code of rule.a must be a list"),
        ('[rule.a]\nphase = ["x"]\n' + END, "phase of rule.a must be a list of"),
        (
            '[rule.a]\ntext = ["@none"]\n' + END,
            "own.toml:1: there is no list 'none'",
        ),
        ('[rule.a]\ntext = ["12"]\n' + END, "'12' has no word to look for"),
        ('[rule.a]\ntext = ["ab*"]\n' + END, "'ab*' needs 3 letters before its *"),
        ('[rule.a]\ntext = ["x"]\ncolour = 1\n' + END, "colour is not known"),
        (
            '[rule.A]\ntext = ["x"]\n' + END,
            "'A' must be a name of lower-case letters",
        ),
        ("[rules.a]\n", "there is no section 'rules'"),
        ("[words]\na = 1\n", "words.a must be a list of phrases"),
        ('[class.moved]\naction = "run"\nblame = "us"\n', "action of class.moved must be one of: fail"),
        ("[provider]\ncolours = []\n", "[provider] has names and signs"),
        ("[rule.a\n", "own.toml: "),
        ("x = " + "[" * 100_000, "own.toml: "),
    ],
)
def test_every_fault_of_a_file_is_told_with_its_place(text: str, fault: str) -> None:
    with pytest.raises(BounceRuleError) as caught:
        Classifier.parse(shipped_files(), {"own.toml": text})

    assert fault in str(caught.value)
    assert all(each.startswith("own.toml") for each in caught.value.faults)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(BounceRuleError) as caught:
        Classifier.parse(shipped_files(), {"a.toml": "[rule.a]\n", "b.toml": "[rule.b]\n[rule.c]\n"})

    places = {fault.partition(": ")[0] for fault in caught.value.faults}
    assert places == {"a.toml:1", "b.toml:1", "b.toml:2"}


def test_no_two_shipped_rules_have_one_name() -> None:
    """An operator's rule replaces the one of its name."""
    names = [rule.written.name for rule in shipped().rules]

    assert [name for name in names if names.count(name) > 1] == []
