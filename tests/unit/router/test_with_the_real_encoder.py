"""What the default encoder and the shipped head really do; these load torch."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from statistics import median

import numpy as np
import pytest

from experts.errors import ConfigError
from experts.pocket import DOMAINS, generate
from experts.profile import SkillProfile
from experts.types import Message
from router import Encoder, Router, RoutingConfig, default_taxonomy
from router.artifacts import SHIPPED, load_head
from router.classifiers import CLASSIFIERS, Classifier, Ground
from router.config import EncoderConfig
from router.encoder import Embed, load_encoder
from router.types import Query
from tests.unit.router.chat_conversations import CONVERSATIONS, Topic
from tests.unit.router.chat_questions import QUESTIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SPECIALISTS = [SkillProfile(domain.replace(" ", "-"), domains=(domain,)) for domain in default_taxonomy().domains]


@pytest.fixture(scope="module")
def model() -> Embed:
    return load_encoder(EncoderConfig())


@pytest.fixture
async def encoder(model: Embed) -> AsyncIterator[Encoder]:
    async with Encoder(load=lambda config: model) as ready:
        yield ready


@pytest.fixture(params=sorted(CLASSIFIERS))
async def classifier(request: pytest.FixtureRequest, encoder: Encoder) -> Classifier:
    ground = Ground(RoutingConfig(), encoder, default_taxonomy(), SPECIALISTS)
    return await CLASSIFIERS[request.param](ground)


async def top_domain(classifier: Classifier, texts: Sequence[str]) -> str:
    messages: tuple[Message, ...] = tuple({"role": "user", "content": text} for text in texts)
    return (await classifier.classify(Query(messages))).ranked()[0][0]


def fits(domain: str, topic: Topic) -> bool:
    return topic is None or domain == topic or (isinstance(topic, tuple) and domain in topic)


async def test_short_questions_find_their_domain(classifier: Classifier) -> None:
    found = [await top_domain(classifier, [text]) == domain for domain, texts in QUESTIONS.items() for text in texts]

    assert np.mean(found) >= 0.85


@pytest.mark.parametrize("title", CONVERSATIONS)
async def test_every_turn_of_a_conversation_keeps_or_changes_the_topic(classifier: Classifier, title: str) -> None:
    turns = CONVERSATIONS[title]
    found = [await top_domain(classifier, [text for text, _ in turns[: place + 1]]) for place in range(len(turns))]

    assert [domain for domain, (_, topic) in zip(found, turns, strict=True) if not fits(domain, topic)] == []


async def test_the_pocket_experts_get_their_own_questions(encoder: Encoder) -> None:
    pool = tuple(
        SkillProfile(name, domains=(name,), examples=tuple(q.prompt for q in generate(name, "train", 10, seed=3)))
        for name in DOMAINS
    )
    router = await Router.create(RoutingConfig(budget_ms=30_000), pool, encoder=encoder)
    asked = [(name, q.prompt) for name in DOMAINS for q in generate(name, "heldout", 40, seed=11)]

    right = [
        (await router.route(Query(({"role": "user", "content": text},)), pool)).assignments[0].expert == name
        for name, text in asked
    ]

    assert router.classifier.name == "centroid"
    assert np.mean(right) >= 0.95


def test_the_shipped_head_fits_the_default_encoder_and_the_taxonomy() -> None:
    head, manifest = load_head(SHIPPED, encoder=EncoderConfig().model)

    assert set(head.domains) == set(default_taxonomy().domains)
    assert manifest.figures["dev"]["accuracy"] > 0.86
    assert manifest.figures["ood_dev"]["accuracy"] > 0.85
    assert manifest.figures["dev"]["ece"] < 0.04
    assert manifest.figures["ood_dev"]["out_of_scope_auroc"] > 0.85
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 2_000_000


async def test_the_default_encoder_gives_unit_vectors(encoder: Encoder) -> None:
    vectors = await encoder.encode(["one", "two words", ""])

    assert vectors.shape == (3, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-4)


async def test_a_vector_does_not_depend_on_its_company(encoder: Encoder) -> None:
    alone = encoder.encode_sync(["What is a monoid?"])
    together = encoder.encode_sync(["What is a monoid?", "a much longer text about something else " * 20])

    assert together[0] == pytest.approx(alone[0], abs=1e-4)


async def test_one_short_question_is_encoded_well_within_the_budget(encoder: Encoder) -> None:
    await encoder.warm_up()
    times = []
    for number in range(15):
        begun = time.perf_counter()
        await encoder.encode([f"What is the integral of x to the power of {number}?"])
        times.append(1000 * (time.perf_counter() - begun))

    assert median(times) < RoutingConfig().budget_ms


async def test_an_empty_folder_is_no_encoder(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("empty")
    async with Encoder(EncoderConfig(model=str(folder))) as encoder:
        with pytest.raises(ConfigError, match=r"routing\.encoder\.model: the encoder .* cannot be loaded"):
            await encoder.warm_up()
