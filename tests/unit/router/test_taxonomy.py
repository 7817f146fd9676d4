"""Domains, groups, and domains of an operator's own."""

from __future__ import annotations

from router.taxonomy import DomainEntry, Taxonomy, default_taxonomy


def test_sixteen_domains_ship_each_with_a_sentence_and_a_dozen_examples() -> None:
    entries = default_taxonomy().entries

    assert len(entries) == 16
    assert all(entry.description.endswith(".") for entry in entries.values())
    assert all(12 <= len(set(entry.examples)) <= 20 for entry in entries.values())


def test_no_example_belongs_to_two_domains() -> None:
    texts = [text for entry in default_taxonomy().entries.values() for text in entry.examples]

    assert len(texts) == len(set(texts))


def test_every_group_is_made_of_known_domains() -> None:
    taxonomy = default_taxonomy()

    assert {name for members in taxonomy.groups.values() for name in members} <= set(taxonomy.domains)


def test_groups_expand_in_order_and_each_domain_once() -> None:
    assert default_taxonomy().expand(["physics", "science", "law"]) == ("physics", "chemistry", "biology", "law")


def test_an_unknown_name_means_itself() -> None:
    assert default_taxonomy().expand(["geography"]) == ("geography",)


def test_a_domains_name_wins_over_a_groups() -> None:
    taxonomy = Taxonomy({"a": DomainEntry("a")}, {"a": ("b", "c")})

    assert taxonomy.expand(["a"]) == ("a",)


def test_a_new_domain_joins_a_group_and_leaves_the_original_alone() -> None:
    before = default_taxonomy()

    after = before.with_domain(DomainEntry("geology", "Rocks.", ("What is basalt?",)), group="science")

    assert after.expand(["science"]) == ("physics", "chemistry", "biology", "geology")
    assert after.examples("geology") == ("What is basalt?",)
    assert "geology" not in before.domains


def test_a_known_domain_gets_examples_added() -> None:
    after = default_taxonomy().with_domain(DomainEntry("math", examples=("What is a monoid?",)))

    assert after.examples("math")[-1] == "What is a monoid?"
    assert len(after.examples("math")) == len(default_taxonomy().examples("math")) + 1
    assert after.entries["math"].description == default_taxonomy().entries["math"].description
