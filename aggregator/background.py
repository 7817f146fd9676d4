"""Which background texts may be shown to the one who answers: short, about the question, not contradicted. All pure.

The three filters of Knowledge Card (2305.09955) without its models, since no encoder and no retriever live here:

length     whole sentences up to a number of words; a sentence that states an answer is no background
relevance  cosine of the text's and the question's words (TF-IDF over the texts at hand)
support    a sentence that another author repeats counts for both; a text is dropped for a sentence that two others,
           who agree with each other, contradict and that nobody repeats. One against one is left to the reader.

Two sentences speak of the same when their words overlap; they contradict each other when then their numbers differ,
only one of them negates, or both say what "the ... of ..." is and name different things. So do two that hold half
of the question's words and name different things or numbers. That is rough: it knows no synonyms, a true sentence about
another year may be dropped where two others give this year's figure, and one of several right names where two others
give the same one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt

from aggregator.config import KnowledgeOptions

EMPTY_WORDS = (
    "a about after all also an and any are as at be because been before being but by can could did do does each "
    "for from give had has have he her him his how i if in into is it its just may me more most much must my name "
    "of on one only or other our out over please say she should so some such than that the their them then there "
    "these they this those through to too under us was we were what when where which while who whom whose why "
    "will with would you your "
)
NEGATIONS = frozenset({"not", "no", "never", "cannot", "nobody", "nothing", "neither", "nor", "without"})
SAME_SUBJECT = 0.6
HALF = 0.5
MOST_CLAIMS = 12
"""Sentences of a text that are held against others'; bounds the work."""
NAMED_WORDS = 4
BYTES_PER_TOKEN = 3
_EMPTY = frozenset(EMPTY_WORDS.split())
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]+")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
_STATES_AN_ANSWER = re.compile(r"\b(?:final |correct |right |best )?(?:answer|option)\s*(?:is\b|:|=)", re.IGNORECASE)
_SAYS_WHAT = re.compile(r"\b(?:is|was|are|were|equals)\b")


@dataclass(frozen=True, slots=True)
class _Asked:
    """The question's words, and all words that somebody writes small: those are no names."""

    words: frozenset[str]
    small: frozenset[str]

    @classmethod
    def of(cls, question: str, texts: Sequence[str]) -> _Asked:
        small = (word for text in (question, *texts) for word in _WORD.findall(text) if word.islower())
        return cls(frozenset(_words(question)), frozenset(small) | _EMPTY)

    def replies(self, sentence: str) -> frozenset[str]:
        """Return the names and numbers by which a sentence that holds half of the question's words answers it."""
        if len(self.words & set(_words(sentence))) < max(2, HALF * len(self.words)):
            return frozenset()
        named = (word.casefold() for word in _WORD.findall(sentence) if word[0].isupper() or word[0].isdigit())
        return frozenset(word for word in named if word not in self.small and _singular(word) not in self.words)


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence as words: what it speaks of, and what can contradict another's."""

    author: str
    words: frozenset[str]
    numbers: frozenset[str]
    negated: bool
    subject: frozenset[str]
    named: frozenset[str]
    replies: frozenset[str]

    def same_subject(self, other: Claim) -> bool:
        """Say whether both speak of the same."""
        return _overlap(self.words, other.words) >= SAME_SUBJECT

    def contradicts(self, other: Claim) -> bool:
        """Say whether both cannot be right."""
        if self.subject and self.subject == other.subject and not self.named & other.named:
            return True
        if self.replies and other.replies and self.replies != other.replies:
            return not self.replies & other.replies
        if not self.same_subject(other):
            return False
        apart = self.numbers and other.numbers and not (self.numbers <= other.numbers or other.numbers <= self.numbers)
        return bool(apart) or self.negated != other.negated

    def agrees(self, other: Claim) -> bool:
        """Say whether both say the same."""
        return (bool(self.replies & other.replies) or self.same_subject(other)) and not self.contradicts(other)


@dataclass(frozen=True, slots=True)
class Screening:
    """`kept`: number and text of each passage that may be shown, best first; `dropped`: why not, by number."""

    kept: tuple[tuple[int, str], ...]
    dropped: Mapping[int, str]


def screened(written: Sequence[tuple[str, str]], question: str, options: KnowledgeOptions) -> Screening:
    """Return which of the (author, text) may be shown, numbered as given; better supported ones come first."""
    texts = [shortened(text, options.max_words) for _, text in written]
    near = relevances(texts, question)
    dropped = {
        number: "nothing short enough" if not text else "not about the question"
        for number, text in enumerate(texts)
        if not text or near[number] < options.min_relevance
    }
    asked = _Asked.of(question, texts)
    claims = {n: _claims(author, texts[n], asked) for n, (author, _) in enumerate(written) if n not in dropped}
    everybodys = [claim for said in claims.values() for claim in said]
    dropped |= {n: "contradicts the others" for n, said in claims.items() if any(_alone(c, everybodys) for c in said)}
    left = [number for number in claims if number not in dropped]
    backing = {number: sum(_backed(claim, everybodys) for claim in claims[number]) for number in left}
    first = sorted(left, key=lambda number: (-backing[number], -near[number], number))
    return Screening(tuple((number, texts[number]) for number in first), dict(sorted(dropped.items())))


def shortened(text: str, max_words: int) -> str:
    """Return the first whole sentences that have no more words together, without those that state an answer."""
    kept, words = list[str](), 0
    for sentence in _SENTENCE_ENDS.split(text):
        words += len(_WORD.findall(sentence))
        if words > max_words:
            break
        if sentence.strip() and not _STATES_AN_ANSWER.search(sentence):
            kept.append(sentence.strip())
    return " ".join(kept)


def relevances(texts: Sequence[str], question: str) -> list[float]:
    """Return the cosine (0..1) of each text with the question."""
    bags = [Counter(_words(text)) for text in (question, *texts)]
    spread = Counter(word for bag in bags for word in bag)
    rare = {word: log(1 + len(bags) / count) for word, count in spread.items()}
    vectors = [{word: (1 + log(count)) * rare[word] for word, count in bag.items()} for bag in bags]
    return [_cosine(vectors[0], vector) for vector in vectors[1:]]


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text has: three bytes make one, on the high side for English."""
    return -(-len(text.encode(errors="replace")) // BYTES_PER_TOKEN)


def _words(text: str) -> list[str]:
    return [_singular(word) for word in _WORD.findall(text.casefold()) if word not in _EMPTY]


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _claims(author: str, text: str, asked: _Asked) -> list[Claim]:
    sentences = [sentence for sentence in _SENTENCE_ENDS.split(text) if sentence.strip()]
    return [_claim(author, sentence, asked) for sentence in sentences[:MOST_CLAIMS]]


def _claim(author: str, spelled: str, asked: _Asked) -> Claim:
    sentence = spelled.casefold()
    numbers = frozenset(number.replace(",", "") for number in _NUMBER.findall(sentence))
    said = frozenset(word for word in _words(sentence) if not word[0].isdigit())
    negated = bool(said & NEGATIONS) or "n't" in sentence or "n’t" in sentence
    before, *after = _SAYS_WHAT.split(sentence, maxsplit=1)
    named = frozenset(_words(after[0])) if after and before.startswith("the ") and " of " in before else frozenset()
    says_what = 0 < len(named) <= NAMED_WORDS
    subject = frozenset(_words(before)) if says_what else frozenset()
    named = named if says_what else frozenset()
    return Claim(author, said - NEGATIONS, numbers, negated, subject, named, asked.replies(spelled))


def _backed(claim: Claim, others: Sequence[Claim]) -> int:
    """Return how many other authors say the same."""
    return len({other.author for other in others if other.author != claim.author and claim.agrees(other)})


def _alone(claim: Claim, others: Sequence[Claim]) -> bool:
    """Say whether nobody repeats a claim and two others, who agree with each other, contradict it."""
    against = [other for other in others if other.author != claim.author and claim.contradicts(other)]
    agreeing = any(a.author != b.author and a.agrees(b) for a in against for b in against)
    return agreeing and _backed(claim, others) == 0


def _overlap(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / sqrt(len(a) * len(b)) if a and b else 0.0


def _cosine(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    product = sum(weight * b[word] for word, weight in a.items() if word in b)
    length = sqrt(sum(w * w for w in a.values()) * sum(w * w for w in b.values()))
    return product / length if length else 0.0
