"""Promises of every classifier, over every entry of CLASSIFIERS, with an encoder that needs no model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experts.profile import SkillProfile
from experts.types import Message
from router.artifacts import Manifest, parameters, save_head
from router.classifiers import CLASSIFIERS, Classifier, Ground
from router.classifiers.blend import BlendHead
from router.config import RoutingConfig
from router.policies import POLICIES, PolicyContext
from router.taxonomy import default_taxonomy
from router.types import Query
from tests.fakes.encoder import DIMENSION, FakeEncoder, embed

POOL = (
    SkillProfile("math", domains=("math",)),
    SkillProfile("law", domains=("law",)),
    SkillProfile("history", domains=("history",)),
    SkillProfile("general"),
)
CONVERSATIONS: dict[str, tuple[Message, ...]] = {
    "a question": ({"role": "user", "content": "What is the derivative of x^2 * sin(x)?"},),
    "nothing": (),
    "an empty message": ({"role": "user", "content": ""},),
    "no content": ({"role": "assistant", "content": None, "tool_calls": []},),
    "an image alone": ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},),
    "a lone surrogate": ({"role": "user", "content": "\ud800 what?"},),
    "a long text": ({"role": "user", "content": "contract law " * 50_000},),
    "odd parts": ({"role": "user", "content": [None, 3, {"type": "text"}, {"type": "text", "text": 5}]},),
    "many turns": tuple({"role": "user", "content": f"treaty number {n}"} for n in range(50)),
}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("head")
    entries = [default_taxonomy().entries[name] for name in ("math", "law", "history")]
    texts = [text for entry in entries for text in entry.examples]
    labels = [entry.name for entry in entries for _ in entry.examples]
    head = BlendHead().fit(embed(texts), texts, labels)
    save_head(head, Manifest("fake", DIMENSION, head.domains, parameters=parameters(head)), folder)
    return folder


@pytest.fixture(params=sorted(CLASSIFIERS))
async def classifier(request: pytest.FixtureRequest, artifact: Path) -> Classifier:
    config = RoutingConfig(artifact=str(artifact), default="general")
    return await CLASSIFIERS[request.param](Ground(config, FakeEncoder(), default_taxonomy(), POOL))


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=list(CONVERSATIONS))
async def test_probabilities_sum_to_one_over_the_domains(classifier: Classifier, messages: tuple[Message, ...]) -> None:
    scores = await classifier.classify(Query(messages))

    assert tuple(scores.scores) == classifier.domains
    assert sum(scores.scores.values()) == pytest.approx(1.0)
    assert all(np.isfinite(value) and value >= 0 for value in scores.scores.values())
    assert 0 <= scores.familiarity <= 1
    assert scores.vector is None or pytest.approx(1.0, abs=1e-5) == float(np.linalg.norm(scores.vector))


async def test_the_same_question_gets_the_same_scores(classifier: Classifier) -> None:
    query = Query(CONVERSATIONS["a question"])

    first, second = await classifier.classify(query), await classifier.classify(query)

    assert first.scores == second.scores


@pytest.mark.parametrize("domain", ["math", "law", "history"])
async def test_an_example_of_a_domain_belongs_to_it(classifier: Classifier, domain: str) -> None:
    for text in default_taxonomy().entries[domain].examples:
        scores = await classifier.classify(Query(({"role": "user", "content": text},)))
        assert scores.ranked()[0][0] == domain, text


async def test_a_conversation_without_text_is_unfamiliar(classifier: Classifier) -> None:
    assert (await classifier.classify(Query(CONVERSATIONS["an image alone"]))).familiarity == 0.0


async def test_words_never_seen_are_less_familiar_than_an_example(classifier: Classifier) -> None:
    known = await classifier.classify(Query(CONVERSATIONS["a question"]))
    strange = await classifier.classify(Query(({"role": "user", "content": "zyx wvut srqp onml kjih"},)))

    assert strange.familiarity < known.familiarity


async def test_an_answer_of_an_expert_does_not_lead_the_routing(classifier: Classifier) -> None:
    asked = CONVERSATIONS["a question"]
    answered = (*asked, {"role": "assistant", "content": "Which court may strike down a state law?"})

    assert (await classifier.classify(Query(answered))).scores == (await classifier.classify(Query(asked))).scores


async def test_an_expert_registered_later_is_routed_to_without_training(classifier: Classifier) -> None:
    newcomer = SkillProfile("counsel", domains=("law",))
    query = Query(({"role": "user", "content": default_taxonomy().entries["law"].examples[0]},))
    experts = (POOL[0], POOL[2], POOL[3], newcomer)

    scores = await classifier.classify(query)
    decision = POLICIES["profile"].decide(query, scores, experts, PolicyContext(default="general"))

    assert decision.assignments[0].expert == "counsel"


async def test_a_question_has_the_vector_of_its_text(classifier: Classifier) -> None:
    scores = await classifier.classify(Query(CONVERSATIONS["a question"]))

    assert scores.vector is not None
    assert pytest.approx(embed(["What is the derivative of x^2 * sin(x)?"])[0], abs=1e-6) == scores.vector
